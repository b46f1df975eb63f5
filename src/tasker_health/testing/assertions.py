"""Assertions about what is answered, by whatever test client the framework has.

A client has a method `get(path)`. One that waits by itself (of Starlette, FastAPI, Litestar, Flask, Django, httpx) is
asked as it is; where `get` is to be awaited (httpx.AsyncClient, Quart, aiohttp), the assertion is too.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, overload

__tracebackhide__ = True  # pytest shows the line of the test, and none of this module

_OK, _UNAVAILABLE = 200, 503

Body = dict[str, Any]
Headers = Mapping[str, str] | None


class AsyncClient(Protocol):
    """A test client that is awaited."""

    @property
    def get(self) -> Callable[..., Awaitable[Any]]:
        """Ask for a path."""


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...


class Client(Protocol):
    """A test client that waits by itself."""

    @property
    def get(self) -> Callable[..., _Response]:
        """Ask for a path."""


class _Answer(NamedTuple):
    path: str
    code: int
    content: bytes


Judge = Callable[[_Answer], Body]


@overload
def assert_alive(client: AsyncClient, *, prefix: str = ..., headers: Headers = ...) -> Coroutine[Any, Any, Body]: ...
@overload
def assert_alive(client: Client, *, prefix: str = ..., headers: Headers = ...) -> Body: ...
def assert_alive(client: Any, *, prefix: str = "/tasker", headers: Headers = None) -> Any:
    """Pass when the process is to be left running; return the body of the answer.

    Args:
        client: A test client; see the top of this module.
        prefix: The setting `server.prefix`.
        headers: What else is sent.

    Raises:
        AssertionError: It is not; the message has the reason and the body.
    """
    return _judged(client, f"{prefix}/health/live", headers, _alive)


@overload
def assert_ready(
    client: AsyncClient, check: str | None = ..., *, prefix: str = ..., headers: Headers = ...
) -> Coroutine[Any, Any, Body]: ...
@overload
def assert_ready(client: Client, check: str | None = ..., *, prefix: str = ..., headers: Headers = ...) -> Body: ...
def assert_ready(client: Any, check: str | None = None, *, prefix: str = "/tasker", headers: Headers = None) -> Any:
    """Pass when the service is ready, or its check or group *check* is; return the body of the answer.

    See `assert_alive` for the other arguments.

    Raises:
        AssertionError: It is not; the message has the checks that are not well, their reasons, and the body.
    """
    return _judged(client, _ready_path(prefix, check), headers, _ready)


@overload
def assert_not_ready(
    client: AsyncClient,
    check: str | None = ...,
    *,
    failed: Sequence[str] | None = ...,
    prefix: str = ...,
    headers: Headers = ...,
) -> Coroutine[Any, Any, Body]: ...
@overload
def assert_not_ready(
    client: Client,
    check: str | None = ...,
    *,
    failed: Sequence[str] | None = ...,
    prefix: str = ...,
    headers: Headers = ...,
) -> Body: ...
def assert_not_ready(
    client: Any,
    check: str | None = None,
    *,
    failed: Sequence[str] | None = None,
    prefix: str = "/tasker",
    headers: Headers = None,
) -> Any:
    """Pass when the service is not ready; return the body of the answer.

    Args:
        client: A test client; see the top of this module.
        check: Asks for one check or group only.
        failed: The critical checks that have failed, these and no others, in any order; `None`: whichever.
        prefix: The setting `server.prefix`.
        headers: What else is sent.

    Raises:
        AssertionError: It is ready, or others have failed; the message has them, their reasons, and the body.
    """
    return _judged(client, _ready_path(prefix, check), headers, lambda answer: _not_ready(answer, failed))


@overload
def assert_healthy(client: AsyncClient, *, prefix: str = ..., headers: Headers = ...) -> Coroutine[Any, Any, Body]: ...
@overload
def assert_healthy(client: Client, *, prefix: str = ..., headers: Headers = ...) -> Body: ...
def assert_healthy(client: Any, *, prefix: str = "/tasker", headers: Headers = None) -> Any:
    """Pass when the status is `healthy`: neither degraded nor unhealthy; return the body of the answer.

    *headers* may carry the credentials. See `assert_alive` for the arguments.

    Raises:
        AssertionError: It is not, or may not be read; the message has the reasons and the body.
    """
    return _judged(client, f"{prefix}/health/status", headers, _healthy)


def _alive(answer: _Answer) -> Body:
    body = _body(answer)
    _require(answer, answer.code == _OK and body.get("alive") is True, f"not alive: {_said(body)}")
    return body


def _ready(answer: _Answer) -> Body:
    body = _body(answer)
    _require(answer, answer.code == _OK and body.get("ready") is True, f"not ready: {_trouble(body)}")
    return body


def _not_ready(answer: _Answer, failed: Sequence[str] | None) -> Body:
    body = _body(answer)
    _require(answer, answer.code == _UNAVAILABLE and body.get("ready") is False, "ready, or no answer about that")
    if failed is not None:
        found = sorted(body.get("failed_checks", ()))
        said = f"failed are {', '.join(found) or 'none'}, not {', '.join(sorted(failed)) or 'none'}: {_trouble(body)}"
        _require(answer, found == sorted(failed), said)
    return body


def _healthy(answer: _Answer) -> Body:
    body = _body(answer)
    reasons = ", ".join(body.get("reasons", ())) or _said(body)
    said = f"not healthy but {body.get('status', body.get('error'))}: {reasons}"
    _require(answer, answer.code == _OK and body.get("status") == "healthy", said)
    return body


def _trouble(body: Body) -> str:
    """Return the checks that are not well, each with its status and its reason."""
    found = [
        f"{name}: {check.get('status')} ({check.get('reason')})"
        for name, check in body.get("checks", {}).items()
        if check.get("status") != "ok"
    ]
    return "; ".join(found) or _said(body)


def _said(body: Body) -> Any:
    """Return the reason that *body* has, or the message of a refusal."""
    return body.get("reason", body.get("message", "it does not say why"))


def _body(answer: _Answer) -> Body:
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    _require(answer, isinstance(body, dict), "this is no answer of Tasker Health; is it before or in the application?")
    found: Body = body
    return found


def _require(answer: _Answer, passes: bool, said: str) -> None:
    if not passes:
        text = answer.content.decode(errors="replace")
        raise AssertionError(f"{said}\nGET {answer.path} answered {answer.code}: {text}")


def _ready_path(prefix: str, check: str | None) -> str:
    path = f"{prefix}/health/ready"
    return path if check is None else f"{path}/{check}"


def _judged(client: Any, path: str, headers: Headers, judge: Judge) -> Any:
    response = client.get(path) if headers is None else client.get(path, headers=dict(headers))
    if inspect.isawaitable(response):
        return _later(response, path, judge)
    return judge(_Answer(path, response.status_code, _content(response)))


async def _later(asked: Awaitable[Any], path: str, judge: Judge) -> Body:
    response = await asked
    content = _content(response)
    if inspect.isawaitable(content):
        content = await content
    code = getattr(response, "status_code", None)
    return judge(_Answer(path, response.status if code is None else code, content))  # `status` is aiohttp's


def _content(response: Any) -> Any:
    """Return the body, or what is awaited for it."""
    content = getattr(response, "content", None)
    if isinstance(content, bytes):
        return content  # of httpx, and all that are made from it, and of Django
    return response.get_data() if hasattr(response, "get_data") else response.read()  # Flask and Quart; aiohttp
