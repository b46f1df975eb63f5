"""An `httpGet` probe as the kubelet asks it (Kubernetes: pkg/probe/http, pkg/kubelet/prober)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urljoin, urlsplit

import h11

from kubelet.connection import Connection, Head

BODY_LIMIT_BYTES = 10 * 1024
MOST_REDIRECTS = 10
MOST_TRIES = 3
USER_AGENT = "kube-probe/1.37"
_FOLLOWED = {301, 302, 303, 307, 308}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Outcome(Enum):
    """What one probe has found. Of `UNKNOWN` the kubelet learns nothing: the state stays what it was."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Found:
    """An outcome, and what the event of it says."""

    outcome: Outcome
    message: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it counts as a success: a warning does."""
        return self.outcome in {Outcome.SUCCESS, Outcome.WARNING}


@dataclass(frozen=True)
class HttpGet:
    """Whom a probe asks.

    Attributes:
        path: With its query.
        port: Of the pod's address.
        scheme: `http`, or `https`, whose certificate nobody looks at.
        host: Another one than the pod; empty: the pod.
        headers: More of them, or others; an empty `Accept` is left out.
    """

    path: str
    port: int
    scheme: str = "http"
    host: str = ""
    headers: dict[str, str] = field(default_factory=dict)


async def probe(get: HttpGet, address: str, timeout_seconds: float) -> Found:
    """Return what *get* finds at a pod's *address*; an answer whose body breaks off is asked for again at once."""
    for _ in range(MOST_TRIES):
        found = await _once(get, address, timeout_seconds)
        if found.outcome is not Outcome.UNKNOWN:
            break
    return found


async def _once(get: HttpGet, address: str, timeout_seconds: float) -> Found:
    host = get.host or address
    url = f"{get.scheme}://{f'[{host}]' if ':' in host else host}:{get.port}{get.path}"
    head: Head | None = None
    try:
        async with asyncio.timeout(timeout_seconds), contextlib.AsyncExitStack() as stack:
            connection, head = await _follow(url, get.headers, stack)
            body = await connection.body(BODY_LIMIT_BYTES)
    except TimeoutError:
        said = f"no answer within {timeout_seconds:g} s"
        return Found(Outcome.FAILURE, said) if head is None else Found(Outcome.UNKNOWN, said)
    except (OSError, h11.RemoteProtocolError, _TooManyRedirectsError) as error:
        return Found(Outcome.FAILURE if head is None else Outcome.UNKNOWN, str(error))
    return _judged(head.code, body)


def _judged(code: int, body: bytes) -> Found:
    if 200 <= code < 300:
        return Found(Outcome.SUCCESS)
    if 300 <= code < 400:
        words = body.decode(errors="replace")
        return Found(Outcome.WARNING, f"Probe terminated redirects, Response body: {words}")
    return Found(Outcome.FAILURE, f"HTTP probe failed with statuscode: {code}")


async def _follow(url: str, headers: dict[str, str], stack: contextlib.AsyncExitStack) -> tuple[Connection, Head]:
    """Ask *url* and where it leads to on the same host; another host is not asked, and the redirect is the answer."""
    first = urlsplit(url).hostname
    for _ in range(MOST_REDIRECTS):
        parts = urlsplit(url)
        tls = _trusting() if parts.scheme == "https" else None
        connection = await Connection.open(parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme], tls)
        stack.push_async_callback(connection.close)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        head = await connection.ask(target, _headers(parts.netloc, headers))
        location = head.headers.get("location")
        if head.code not in _FOLLOWED or not location:
            return connection, head
        url = urljoin(url, location)
        if urlsplit(url).hostname != first:
            return connection, head
    raise _TooManyRedirectsError(f"stopped after {MOST_REDIRECTS} redirects")


class _TooManyRedirectsError(Exception):
    """A pod that leads in circles."""


def _headers(authority: str, own: dict[str, str]) -> dict[str, str]:
    given = {"Host": authority, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for name, value in own.items():
        given[name.title()] = value
    return {name: value for name, value in given.items() if value or name != "Accept"}


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
