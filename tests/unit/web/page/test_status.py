"""The page for people: who gets it, what stands on it, and that it can do nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
import pytest

from callers import ByHeader, as_user
from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.access.roles import RolesCoordinator
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason
from tasker_health.web.page.frame import framed

PAGE = "/tasker/health"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}
CANARY = "secret detail of the fault"  # of the fake source
EMPTY = {"meta", "link", "br", "input"}
LOCKED = {
    "health": {"status_requires_authentication": True},
    "auth": {"authentication_enabled": True, "authorization_enabled": True},
}


class Parsed(HTMLParser):
    """What is on a page: elements with their attributes, and its text; every element is closed.

    Attributes:
        elements: Name and attributes of each, in order.
        text: All text but that of the style sheet and the script, with single spaces.
        style: The style sheet.
        script: The script.
    """

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self._open, self._words, self.style, self.script = [], [], [], "", ""
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag, attrs):
        """Keep it, and expect its end."""
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Keep it; in SVG it is closed."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """It is the one that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data):
        """Keep it."""
        if "style" in self._open:
            self.style += data
        elif "script" in self._open:
            self.script += data
        else:
            self._words.append(data)

    def having(self, tag):
        """Return the attributes of every *tag*."""
        return [attributes for name, attributes in self.elements if name == tag]


def health_of(source=None, authenticator=None, coordinator_class=None, **options):
    """Return a health with a source and an optional check that is not well."""
    health = Health(
        settings_of(**options), clock=FakeClock(), authenticator=authenticator, coordinator_class=coordinator_class
    )
    health.add_source(source or FakeSource())

    @health.check("payment_api", critical=False)
    async def payment_api():
        raise CheckFailed(Reason.REFUSED, "canary of the check")

    return health


def unreadable():
    """Return a source that cannot be read."""
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    return source


def ask(health, headers=BROWSER, path=PAGE, method="GET", times=1):
    """Return the last of the responses of *health* to the same request."""

    async def play():
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            for _ in range(times):
                response = await client.request(method, path, headers=headers)
            await health.stop()
            return response

    return asyncio.run(play())


def test_a_browser_gets_a_page_and_everybody_else_the_status():
    """At the same address, by `Accept`; `Vary` says so in both."""
    page, status = ask(health_of()), ask(health_of(), {"Accept": "*/*"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert status.headers["content-type"] == "application/json"
    assert page.headers["vary"] == status.headers["vary"] == "Accept"
    assert (page.status_code, status.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("query", "media_type"),
    [
        ("?format=json", "application/json"),
        ("?format=health", "application/health+json"),
        ("?x=1", "text/html; charset=utf-8"),
    ],
)
def test_a_browser_can_ask_for_json(query, media_type):
    """By the query, which decides before `Accept`."""
    assert ask(health_of(), path=PAGE + query).headers["content-type"] == media_type


def test_the_page_is_only_at_its_address():
    """The endpoints for machines answer machines."""
    for path in ("/live", "/ready", "/startup", "/status"):
        assert ask(health_of(), path=PAGE + path).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("source", "code", "word", "said"),
    [
        (
            FakeSource(),
            200,
            "healthy",
            "Check payment_api : refused It is there and takes no connections. It does not decide readiness. Start it",
        ),
        (
            FakeSource(facts_of(blocked=2)),
            200,
            "degraded",
            "Status : blocked_tasks Tasks are blocked: they cannot move by themselves. Look at",
        ),
        (
            unreadable(),
            503,
            "unhealthy",
            "Status : source_unreadable A source cannot be read now; its last figures are shown with their true age.",
        ),
    ],
)
def test_the_page_says_how_it_is_with_the_code_of_the_status(source, code, word, said):
    """In a word, with a sign and a sentence; the same code as the status has."""
    response = ask(health_of(source))
    page = Parsed(response.text)
    assert response.status_code == code
    assert re.search(rf"^{word}: tasker .*tasker : [✓!✗] {word} 2025-06-18 15:30:00 UTC", page.text)
    assert said in page.text


def test_nothing_wrong_is_said_too():
    """When nothing is."""
    health = Health(settings_of(), clock=FakeClock())
    health.add_source(FakeSource())
    assert "Nothing is wrong." in Parsed(ask(health).text).text


def test_the_figures_are_on_the_page_and_null_is_unknown():
    """Each by its name, none invented."""
    text = Parsed(ask(health_of(FakeSource(facts_of(retry_queue=None, step_time=None)))).text).text
    for words in (
        "total tasks 1,250",
        "pending tasks 45",
        "retry queue size unknown",
        "in backoff 1",
        "avg task completion time 2,340 ms",
        "avg step completion time unknown",
        "retry success rate 0.87",
        "active connections 5",
        "connection ratio 0.05",
        "cached no",
        "cache expires at 2025-06-18 15:30:15 UTC",
        "age seconds 0",
        "payment_api ✗ error refused 0 ms",
        "configuration ✓ ok - -",
        "shop ✓ healthy - 1,250 12 13 2025-06-18 15:30:00 UTC",
    ):
        assert words in text, words


def test_without_a_cache_no_expiry_is_shown_as_unknown():
    """Nothing expires, which is known."""
    response = ask(health_of(health={"cache_duration_seconds": 0}))
    page = Parsed(response.text)
    assert "cache expires at - " in page.text
    assert {"http-equiv": "refresh", "content": "15"} in page.having("meta")


@pytest.mark.parametrize(("seconds", "refresh"), [(15, "15"), (60, "60"), (1, "5")])
def test_it_is_fetched_anew_when_the_status_can_have_changed(seconds, refresh):
    """Every cache duration, but slowly enough to be read."""
    response = ask(health_of(health={"cache_duration_seconds": seconds}))
    assert {"http-equiv": "refresh", "content": refresh} in Parsed(response.text).having("meta")


def test_the_page_can_do_nothing_but_ask_its_own_server():
    """Nothing from elsewhere; the policy permits its own style sheet, its own script and questions to its server."""
    response = ask(health_of())
    page = Parsed(response.text)
    policy = response.headers["content-security-policy"].split("; ")
    assert policy == [
        "default-src 'none'",
        f"style-src 'sha256-{digest_of(page.style)}'",
        f"script-src 'sha256-{digest_of(page.script)}'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types tasker-health",
    ]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert not {"form", "img", "iframe", "link", "object"} & {name for name, _ in page.elements}
    assert len(page.having("script")) == 1
    attributes = {name for _, found in page.elements for name in found}
    assert not {name for name in attributes if name.startswith("on") or name in {"style", "src"}}
    assert [found["href"] for _, found in page.elements if "href" in found] == ["#main"]
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert not re.search(r"eval|innerHTML|localStorage|sessionStorage|document\.cookie|https?:", page.script)


def digest_of(text):
    """Return the digest of *text* as a policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_no_status_is_told_by_colour_alone():
    """Every coloured mark has its word, and a screen reader hears the word only."""
    response = ask(health_of(FakeSource(facts_of(blocked=2))))
    marks = re.findall(r'<span class="mark (\w+)"><span aria-hidden="true">(.)</span> ([^/]+\w)<', response.text)
    assert {("good", "✓", "ok"), ("warn", "!", "degraded"), ("bad", "✗", "error")} <= set(marks)
    assert len(marks) == response.text.count('class="mark')
    page = Parsed(response.text)
    assert page.having("html") == [{"lang": "en"}]
    assert all("scope" in attributes for attributes in page.having("th"))
    assert "prefers-color-scheme: dark" in page.style


def test_what_is_shown_cannot_become_markup():
    """Names and texts are escaped, wherever they come from."""
    hostile = "<script>alert(1)</script>&\"'"

    class Hostile(FakeSource):
        async def read(self, deadline_seconds):
            from tasker_health.errors import SourceFault

            raise SourceFault(Reason.ERROR, hostile)

    health = health_of(Hostile(name=f"a{hostile}"), ByHeader(), health={"service_name": hostile})
    response = ask(health, as_user("reader", **BROWSER))
    page = Parsed(response.text)
    assert response.text.count("<script") == len(page.having("script")) == 1
    assert page.text.count(hostile) >= 6  # title, heading, trouble, source, and its detail: name and error


@pytest.mark.parametrize("times", [1, 2])
def test_detail_is_shown_to_those_who_have_the_permission(times):
    """As on the status: nobody else sees what the database said."""
    for user, may in ((None, False), ("anybody", False), ("reader", True), ("admin", True)):
        text = ask(health_of(unreadable(), ByHeader()), as_user(user, **BROWSER), times=times).text
        assert (CANARY in text) == may
        assert ("Details" in text) == may
        assert "canary" not in text


@pytest.mark.parametrize(
    ("user", "code", "error"),
    [
        (None, 401, "Unauthorized"),
        ("bad", 401, "Unauthorized"),
        ("anybody", 403, "Forbidden"),
        ("broken", 500, "Authentication Configuration Error"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_may_not_see_it_is_told_so_as_everywhere(user, code, error, method):
    """With the code and the headers of the status, on a page in place of its JSON, which tells no more."""
    plain = ask(health_of(None, ByHeader(), RolesCoordinator, **LOCKED), as_user(user, Accept="*/*"), method=method)
    page = ask(health_of(None, ByHeader(), RolesCoordinator, **LOCKED), as_user(user, **BROWSER), method=method)
    assert (plain.status_code, page.status_code) == (code, code)
    assert page.headers.get("www-authenticate") == plain.headers.get("www-authenticate")
    assert ("www-authenticate" in page.headers) == (code == 401)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert len(page.headers.raw) == len({name for name, _ in page.headers.raw})
    assert page.headers["vary"] == plain.headers["vary"] == "Accept"
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    if method == "GET":
        assert plain.json()["error"] == error
        parsed = Parsed(page.text)
        assert parsed.having("h1")
        assert not re.search("shop|payment_api|total|canary|tasker:", parsed.text)
        assert "http-equiv" not in page.text  # it would ask in vain, and be counted as one who guesses
        assert parsed.having("form") == []  # no bearer token is taken here


@pytest.mark.parametrize("challenge", ['Bearer realm="x"', 'Basic realm="x"'])
def test_a_form_is_there_where_a_token_lets_in(challenge):
    """Hidden until the script shows it; without a script there is a line to copy."""

    class Taker(ByHeader):
        pass

    Taker.challenge = challenge
    page = Parsed(ask(health_of(None, Taker(), RolesCoordinator, **LOCKED)).text)
    takes_token = challenge.startswith("Bearer")
    assert [found.get("id") for found in page.having("form")] == (["sign-in"] if takes_token else [])
    assert all("hidden" in found and "action" not in found for found in page.having("form"))
    assert all("name" not in found for found in page.having("input"))
    assert ("curl -H" in page.text) == takes_token
    assert ("A bearer token" in page.text, "A user and a password" in page.text) == (takes_token, not takes_token)


def test_who_may_see_it_does():
    """With both switches on."""
    page = ask(health_of(None, ByHeader(), RolesCoordinator, **LOCKED), as_user("reader", **BROWSER))
    assert page.status_code == 200
    assert "total tasks" in Parsed(page.text).text


def test_head_has_the_headers_of_get():
    """And no body."""
    health = health_of()
    get, head = ask(health, times=2), ask(health, method="HEAD")
    assert {**head.headers, "content-length": ""} == {**get.headers, "content-length": ""}
    assert head.content == b""
    assert int(get.headers["content-length"]) == len(get.content)


def test_other_methods_are_405():
    """As everywhere, also for a browser."""
    response = ask(health_of(), method="POST")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_one_rendering_serves_all_who_get_the_same():
    """As long as nothing changed; and nobody sees what was made for somebody else."""

    async def play():
        health = health_of(unreadable(), ByHeader())
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            users = ("reader", None, "reader", "anybody", None)
            bodies = [(await client.get(PAGE, headers=as_user(user, **BROWSER))).text for user in users]
        await health.stop()
        return [CANARY in body for body in bodies], bodies

    seen, bodies = asyncio.run(play())
    assert seen == [True, False, True, False, False]
    assert bodies[1] == bodies[3] == bodies[4]


def test_many_browsers_at_once_cost_one_rendering(monkeypatch):
    """Were each to render its own, a probe would wait for a piece of every page."""
    made = []

    def counted(*args, **options):
        made.append(args)
        return framed(*args, **options)

    monkeypatch.setattr("tasker_health.web.page.status.framed", counted)

    async def play():
        health = health_of()
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            await client.get("/tasker/health/ready")
            await client.get("/tasker/health/status")
            found = await asyncio.gather(*(client.get(PAGE, headers=BROWSER) for _ in range(20)))
        await health.stop()
        return {response.content for response in found}

    assert len(asyncio.run(play())) == len(made) == 1


def test_without_history_the_page_shows_the_present_only():
    """Nothing speaks of an hour that nobody remembers."""
    text = Parsed(ask(health_of(history={"enabled": False})).text).text
    assert "last hour" not in text.lower()
    assert "total tasks 1,250" in text


def test_the_last_hour_is_on_the_page():
    """What is remembered of it, or that it is nothing yet; every chart is one picture."""
    page = Parsed(ask(health_of()).text)
    assert "The last hour" in page.text
    assert {found.get("role") for found in page.having("svg")} == {"img"}
