"""Callables without a framework, and mounting as the specifications describe it."""

from __future__ import annotations

import json

from frameworks.healths import MOUNTED, healths, mounted_health


async def asgi_application(scope, receive, send):
    """Answer `/orders`."""
    assert scope["type"] == "http"
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    code = 200 if scope["path"].removeprefix(scope.get("root_path", "")) == "/orders" else 404
    await send({"type": "http.response.start", "status": code, "headers": [(b"content-type", b"application/json")]})
    body = b"" if scope["method"] == "HEAD" else json.dumps({"method": scope["method"], "bytes": size}).encode()
    await send({"type": "http.response.body", "body": body})


def wsgi_application(environ, start_response):
    """Answer `/orders`."""
    size = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    code = "200 OK" if environ["PATH_INFO"] == "/orders" else "404 Not Found"
    body = json.dumps({"method": environ["REQUEST_METHOD"], "bytes": size}).encode()
    start_response(code, [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def wrapped_asgi(application):
    """Return *application* behind every health."""
    for health in healths():
        application = health.asgi(application)
    return application


def wrapped_wsgi(application):
    """Return *application* behind every health."""
    for health in healths():
        application = health.wsgi(application)
    return application


def with_mounted_asgi(application, mounted=None):
    """Return *application* with a second one mounted beside it."""
    mounted = mounted or mounted_health().asgi()

    async def choose(scope, receive, send):
        root = scope.get("root_path", "")
        path = scope.get("path", "").removeprefix(root)  # hypercorn's has none of it, as if a proxy had taken it off
        if path.startswith(f"{MOUNTED}/"):
            root = f"{root}{MOUNTED}"
            await mounted({**scope, "root_path": root, "path": f"{root}{path.removeprefix(MOUNTED)}"}, receive, send)
        else:
            await application(scope, receive, send)

    return choose


def with_mounted_wsgi(application, mounted=None):
    """Return *application* with a second one mounted beside it."""
    mounted = mounted or mounted_health().wsgi()

    def choose(environ, start_response):
        if not environ["PATH_INFO"].startswith(f"{MOUNTED}/"):
            return application(environ, start_response)
        name, path = environ.get("SCRIPT_NAME", "") + MOUNTED, environ["PATH_INFO"].removeprefix(MOUNTED)
        return mounted({**environ, "SCRIPT_NAME": name, "PATH_INFO": path}, start_response)

    return choose


def asgi():
    """`health.asgi(app)`."""
    return with_mounted_asgi(wrapped_asgi(asgi_application))


def wsgi():
    """`health.wsgi(app)`."""
    return with_mounted_wsgi(wrapped_wsgi(wsgi_application))
