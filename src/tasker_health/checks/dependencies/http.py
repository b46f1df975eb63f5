"""The check of a service that is asked over HTTP: does it answer one request as it should?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Unpack

from tasker_health.checks.dependencies import Dependency, Terms, client_of, tls_of
from tasker_health.checks.dependencies.place import http_host_of
from tasker_health.errors import CheckFailed, ConfigurationError
from tasker_health.model import Reason

METHODS = ("GET", "HEAD", "OPTIONS")
"""Those that change nothing (RFC 9110 section 9.2.1)."""

_SUCCESS = range(200, 300)
_STATUSES = range(100, 600)
_REDIRECTS = range(300, 400)
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "tasker-health", "connection": "close"}
_BY_STATUS = {
    401: Reason.AUTHENTICATION_FAILED,
    403: Reason.AUTHENTICATION_FAILED,
    407: Reason.AUTHENTICATION_FAILED,
    404: Reason.MISSING,
    410: Reason.MISSING,
}


class HttpCheck(Dependency):
    """Sends one request over a new connection, so that name, certificate and listener are looked at each time.

    A redirect is an answer and is not followed. Proxies and credentials of the environment are not used.

    Args:
        name: The name of the check.
        url: Where to, `http` or `https`, without a user.
        method: GET, HEAD or OPTIONS.
        expected_status: Which codes are well; empty: 200 to 299.
        headers: What is sent; no value is ever logged.
        proxy: URL of a proxy to go through.
        ca_file: PEM file of who signs its certificate; `None`: who the machine trusts.
        terms: See `Terms`.

    Raises:
        ConfigurationError: The URL or something else is none, the file cannot be read, or httpx is not installed.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        method: str = METHODS[0],
        expected_status: Iterable[int] = (),
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        given = dict(headers or {})
        super().__init__(name, [url, proxy, *given.values()], **terms)
        self._host = http_host_of(name, url)
        client_of(name, "httpx", "httpx", "http")
        if method not in METHODS:
            raise ConfigurationError(f"check {name}: method = {method!r}: allowed are {', '.join(METHODS)}")
        self._expected = frozenset(expected_status)
        _require_proxy(name, proxy)
        if not self._expected <= set(_STATUSES):
            raise ConfigurationError(f"check {name}: expected_status: allowed are codes from 100 to 599")
        self._request = (method, url, {**_HEADERS, **{key.lower(): value for key, value in given.items()}})
        self._tls = tls_of(name, ca_file)
        self._proxy = proxy
        _require_sendable(name, given)

    async def _look(self) -> None:
        from tasker_health.checks.dependencies.http_exchange import status_of

        if self._proxy is None:
            await self._resolver.resolve(self._host)
        status = await status_of(*self._request, tls=self._tls, proxy=self._proxy)
        if status in (self._expected or _SUCCESS):
            return
        raise CheckFailed(reason_of_status(status), f"it answers {status}")

    def _reason(self, error: Exception) -> Reason:
        from tasker_health.checks.dependencies.http_exchange import reason_of_exchange

        return reason_of_exchange(error)


def reason_of_status(status: int) -> Reason:
    """Return the reason that an answer with *status*, which is not the one expected, stands for."""
    return Reason.INVALID if status in _REDIRECTS else _BY_STATUS.get(status, Reason.ERROR)


def _require_sendable(name: str, headers: Mapping[str, str]) -> None:
    """Refuse *headers* that would be more, or other ones, on the wire."""
    for key, value in headers.items():
        if not key.isascii() or not key.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError(f"check {name}: headers: {key!r}: the name of a header, such as x-api-key")
        if key.lower() in {"content-length", "transfer-encoding"}:
            raise ConfigurationError(f"check {name}: headers: {key!r}: nothing is sent that it could be true of")
        if not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"check {name}: headers: {key} = '***': printable ASCII in one line")


def _require_proxy(check: str, proxy: str | None) -> None:
    """Refuse a *proxy* of another kind: it would look like an outage in each run."""
    scheme, _, host = (proxy or "http://any").partition("://")
    if scheme.lower() not in {"http", "https"} or not host:
        raise ConfigurationError(f"check {check}: proxy = '***': not a proxy; write it as http://host:port")
