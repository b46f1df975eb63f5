"""Health in Flask: a blueprint.

`app.wsgi_app = health.wsgi(app.wsgi_app)` needs nothing of this, and stands before everything.
"""

from __future__ import annotations

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import require_health, require_plain
from tasker_health.health import Health

try:
    from flask import Blueprint, current_app, request
    from flask.blueprints import BlueprintSetupState
    from werkzeug import Response
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install flask") from None

_ENDPOINT = "probe"


def blueprint(health: Health, name: str = "tasker_health") -> Blueprint:
    """Return a blueprint that answers every path of *health*: `app.register_blueprint(blueprint(health))`.

    Args:
        health: What answers.
        name: Of the blueprint, so that one application may have several.

    Raises:
        SettingsError: A caller has a certificate that cannot be told for sure behind WSGI.
    """
    require_health(health, "blueprint(health)")
    made = Blueprint(name, __name__)
    made.record(_Probes(health).register)
    return made


class _Probes:
    """Hands what *health* claims to its WSGI skin."""

    def __init__(self, health: Health) -> None:
        self._prefix = health.settings.server.prefix
        self._claims = health.endpoints.claims
        self._at_once = health.endpoints.at_once
        self._paths = health.endpoints.paths
        self._skin = health.wsgi()

    def register(self, state: BlueprintSetupState) -> None:
        """Answer the paths of ours in the application of *state*."""
        root = state.url_prefix or ""
        require_plain(root, "blueprint(health)")
        endpoint = f"{state.name_prefix}.{state.name}.{_ENDPOINT}".lstrip(".")

        def probe(below: str = "") -> Response:  # noqa: ARG001 -- the path is read as it was sent
            return self._answer(_path_below(root) or "")

        def whatever_else_is_claimed() -> Response | None:
            """Answer what no rule leads to: Flask would redirect a doubled slash, and answer OPTIONS itself."""
            path = None if request.endpoint == endpoint else _path_below(root)
            if path is None or not self._claims(path.encode("latin-1").decode("utf-8", "replace")):
                return None
            return self._answer(path)

        # Those that are known are found sooner by a rule without a variable.
        for rule in (*self._paths, f"{self._prefix}/health/<path:below>"):
            state.add_url_rule(rule, _ENDPOINT, probe, methods=["GET"], provide_automatic_options=False)
        state.app.before_request_funcs.setdefault(None, []).append(whatever_else_is_claimed)

    def _answer(self, path: str) -> Response:
        """Return what was answered before and still serves, or ask."""
        environ = request.environ
        accept = environ.get("HTTP_ACCEPT")
        headers = () if accept is None else ((b"accept", accept.encode("latin-1", "replace")),)
        answer = self._at_once(environ["REQUEST_METHOD"], path, headers, environ.get("QUERY_STRING", ""))
        if answer is not None:
            return current_app.response_class([answer.body], answer.status, answer.text_headers)  # bytes set a length
        return current_app.response_class.from_app(self._skin, {**environ, "PATH_INFO": path})


def _path_below(root: str) -> str | None:
    """Return the path of the request below *root* as the server gave it; `None`: it is elsewhere."""
    path: str = request.environ.get("PATH_INFO", "")
    mounted = root.rstrip("/").encode().decode("latin-1")
    return path[len(mounted) :] if path.startswith(f"{mounted}/") else None
