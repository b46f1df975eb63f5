"""The page for those who may not see the status: who is let in, and how. It tells nothing about the service."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.web.page.elements import text
from tasker_health.web.page.frame import framed
from tasker_health.web.render import Answer

_WORDS = {
    401: ("Not signed in", "The status is shown to those who are known here. You sent no credentials, or bad ones."),
    403: ("Not permitted", "The status is shown to those with the permission tasker.health_status:index."),
    500: ("Access cannot be decided", "Who may see the status cannot be decided now, so nobody is let in."),
}

_REMEDIES = {
    401: "Who runs the service gives access; <code>tasker-health doctor access</code> says why somebody is refused.",
    403: "Who runs the service grants it; <code>tasker-health doctor access</code> says why somebody is refused.",
    500: "The log of the service says why, and <code>tasker-health doctor access</code> tries it step by step.",
}

_FORM = """<form id="sign-in" hidden>
<label for="token">Token</label>
<input id="token" type="password" autocomplete="off" autocapitalize="none" spellcheck="false" required \
aria-describedby="token-help">
<button type="submit">Sign in</button>
<p id="token-help" class="quiet">It is kept in this tab only, and sent to this server only.</p>
<p id="token-said" role="alert"></p>
</form>"""

_ASK = """<p>Without a script, ask with the token in a header:</p>
<pre tabindex="0" id="ask"><code>curl -H "Authorization: Bearer $TOKEN" -H "Accept: text/html" ADDRESS</code></pre>"""

_WAYS = {
    "basic": "A user and a password: the browser asks for them when this page is loaded again.",
    "bearer": "A bearer token, in the header Authorization.",
    "cookie": "The session of the application: sign in there, then come back.",
    "clientcertificate": "A client certificate, which the proxy before this service asks for.",
}


def refused(status: int, answer: Answer, challenges: Sequence[str]) -> Answer:
    """Return *answer*, a refusal with the code *status*, as a page with the same headers beside those of a page.

    Args:
        status: 401, 403 or 500.
        answer: What everybody else gets.
        challenges: What credentials are taken.
    """
    title, cause = _WORDS[status]
    schemes = [challenge.partition(" ")[0].lower() for challenge in challenges]
    ways = "".join(f"<li>{text(_WAYS[each])}</li>" for each in dict.fromkeys(schemes) if each in _WAYS)
    takes_token = "bearer" in schemes and status != 500  # noqa: PLR2004 -- the code of a fault
    body = [
        f"<h1>{text(title)}</h1>\n<p>{text(cause)}</p>\n<p>{_REMEDIES[status]}</p>",
        f"<h2>What lets you in</h2>\n<ul>{ways}</ul>" if ways else "",
        f"{_FORM}\n<noscript>{_ASK}</noscript>" if takes_token else "",
    ]
    kept = [pair for pair in answer.headers if pair[0] == b"www-authenticate"]
    return framed(status, title, body, {"status": "", "refused": str(status)}, headers=kept)
