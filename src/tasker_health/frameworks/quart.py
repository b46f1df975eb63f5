"""Quart: the endpoints as a blueprint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import require_health, require_plain
from tasker_health.health import Health
from tasker_health.web.asgi import AsgiSkin, Message, below
from tasker_health.web.endpoints import Endpoints

try:
    from quart import Blueprint, Response, request
    from quart.blueprints import BlueprintSetupState
    from werkzeug.datastructures import Headers
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install quart") from None


def blueprint(health: Health, name: str = "tasker_health") -> Blueprint:
    """Return the endpoints as a blueprint: `app.register_blueprint(blueprint(health))`, with `url_prefix` or without.

    It answers before a request is routed, so that no rule redirects a path of ours or forbids a method. Functions of
    the application's own `before_request` that were added earlier come first.

    Args:
        health: Started and stopped with the application.
        name: Of the blueprint; a second one in the same application needs another.
    """
    require_health(health, "blueprint(health)")
    made = Blueprint(name, __name__)
    skin = health.asgi()
    endpoints = health.endpoints

    def register(state: BlueprintSetupState) -> None:
        inner = (state.url_prefix or "").rstrip("/")
        require_plain(inner, "blueprint(health)")

        async def answer() -> Response | None:
            scope: Any = request.scope
            outer = scope.get("root_path", "").rstrip("/")
            path = below(outer, scope["path"])
            if not path.startswith(f"{inner}/") or not endpoints.claims(path[len(inner) :]):
                return None
            known = _known(endpoints, scope, path[len(inner) :])
            if known is not None:
                return known
            if inner:
                scope = {**scope, "path": outer + path, "root_path": outer + inner}
            return await _answered(skin, scope)

        # Rules that nobody comes to are cheaper than a search in vain, and are listed in the application's map.
        view: Any = answer
        for path in endpoints.paths:
            state.add_url_rule(path, "probe", view, provide_automatic_options=False)
        state.app.before_request(answer)

    made.record(register)
    made.before_app_serving(skin.begin)
    made.after_app_serving(skin.end)
    return made


def _known(endpoints: Endpoints, scope: Any, path: str) -> Response | None:
    """Return what was answered before and still serves; who drains has a header more to send."""
    if endpoints.is_draining():
        return None
    answer = endpoints.at_once(scope["method"], path, scope["headers"], scope["query_string"])
    if answer is None:
        return None
    return _response(answer.status, answer.text_headers, b"" if scope["method"] == "HEAD" else answer.body)


async def _answered(skin: AsgiSkin, scope: Any) -> Response:
    """Return what *skin* answers, which asks for no body, as a response of the framework's."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise RuntimeError("the body of a probe is not read")

    await skin(scope, receive, send)
    start, body = sent
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    return _response(start["status"], headers, body["body"])


def _response(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Response:
    response = Response(body, status=status)
    response.headers = Headers(headers)  # afterwards, or the length would be that of the body of HEAD
    return response
