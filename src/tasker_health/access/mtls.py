"""Client certificates that a proxy has verified, told in two headers that only proxies of the settings are believed.

TLS ends at the proxy, so all that reaches us is its word. It is worth as much as the proxy's habit of removing what a
client sends under the same names; nobody else's word is taken.
"""

from __future__ import annotations

import logging
import time

from tasker_health.access.credentials import MOST_CHARACTERS, only
from tasker_health.access.limiter import is_trusted
from tasker_health.access.principal import Principal, Roles
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request
from tasker_health.settings import AuthSettings

log = logging.getLogger(__name__)

_VALID = "SUCCESS"
_NO_CERTIFICATE = {"", "NONE"}
_QUIET_SECONDS = 60.0


class MtlsAuthenticator:
    """Knows callers by the subject of their certificate.

    Whoever is no trusted proxy and sends one of the two headers is refused, not ignored: honest callers have no use
    for them, and a proxy that is missing in the settings shows at once.
    """

    challenge = 'ClientCertificate realm="tasker_health"'

    def __init__(self, settings: AuthSettings, callers: dict[str, Principal]) -> None:
        self._verify_header = settings.mtls.verify_header
        self._subject_header = settings.mtls.subject_header
        self._proxies = settings.trusted_proxies
        self._callers = callers
        self._silent_until = 0.0

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> MtlsAuthenticator:
        """Return one that knows the callers of `auth.mtls`.

        Raises:
            SettingsError: Nobody is trusted, or everybody; nobody is known, or two alike; a role is not there.
        """
        mtls, roles = settings.mtls, Roles(settings.roles)
        if not settings.trusted_proxies:
            allowed = "needs auth.trusted_proxies: the addresses of the proxies whose word is taken"
            raise SettingsError("auth.authenticator_class", "'mtls'", allowed)
        for network in settings.trusted_proxies:
            if not network.prefixlen:
                allowed = "with mtls everybody would be believed to be a proxy; name the proxies' own networks"
                raise SettingsError("auth.trusted_proxies", str(network), allowed)
        if _variable(mtls.verify_header) == _variable(mtls.subject_header):
            raise SettingsError("auth.mtls.subject_header", repr(mtls.subject_header), "two headers, not one")
        if not mtls.callers:
            raise SettingsError("auth.authenticator_class", "'mtls'", "needs a caller in auth.mtls.callers")
        callers: dict[str, Principal] = {}
        for name, caller in mtls.callers.items():
            key = f"auth.mtls.callers.{name}"
            roles.require(caller.roles, f"{key}.roles")
            subject = caller.subject
            if not (subject.isascii() and subject.isprintable()) or subject != subject.strip():
                raise SettingsError(f"{key}.subject", ascii(subject), "printable ASCII, as a header carries it")
            if len(subject) > MOST_CHARACTERS:
                raise SettingsError(f"{key}.subject", f"{subject[:20]}...", f"at most {MOST_CHARACTERS} characters")
            if subject in callers:
                raise SettingsError(f"{key}.subject", repr(subject), "another caller has it already")
            callers[subject] = roles.principal(name, caller.roles)
        return cls(settings, callers)

    async def authenticate(self, request: Request) -> Principal | None:
        """Return whose certificate the proxy has verified; `None`: nobody showed one.

        Raises:
            AuthenticationError: It is not valid, or not known, or no proxy of ours says so.
        """
        if not request.headers(self._verify_header) and not request.headers(self._subject_header):
            return None
        if not is_trusted(request.client, self._proxies):
            self._tell(request)
            raise AuthenticationError("headers of a certificate came from an address that is no trusted proxy")
        verified, subject = only(request, self._verify_header), only(request, self._subject_header)
        if (verified or "") in _NO_CERTIFICATE and not subject:
            return None
        # Without a certificate a subject is the client's own word, which the proxy has let through.
        caller = self._callers.get(subject) if verified == _VALID and subject else None
        if caller is None:
            raise AuthenticationError("the certificate is not valid, or its subject is none of auth.mtls.callers")
        return caller

    def _tell(self, request: Request) -> None:
        """Log who sent the headers, not more often than once a minute: anybody can."""
        now = time.monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + _QUIET_SECONDS
        log.warning(
            "headers of a verified certificate came from %s, which is not in auth.trusted_proxies: refused",
            ascii(request.client)[:100] if request.client else "a peer without an address",
        )


def require_no_comma(settings: AuthSettings) -> None:
    """Pass when every subject can be told for sure where a header sent twice arrives as one with a comma (WSGI).

    Raises:
        SettingsError: One has a comma, so a client could add the rest of it to a shorter one.
    """
    if "mtls" not in settings.authenticator_class:
        return
    for name, caller in settings.mtls.callers.items():
        if "," in caller.subject:
            allowed = (
                "no comma behind WSGI, where it could be a header that was sent twice; have the proxy send a form"
                " without one, such as nginx's $ssl_client_s_dn_legacy or $ssl_client_fingerprint"
            )
            raise SettingsError(f"auth.mtls.callers.{name}.subject", repr(caller.subject), allowed)


def _variable(header: str) -> str:
    """Return *header* as WSGI has it: `-` and `_` are one."""
    return header.replace("-", "_")
