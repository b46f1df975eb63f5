"""One project asked through the wrapped form and through its URLs; prints what differs, as JSON.

Run as a program: the first argument is `wsgi` or `asgi`.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys

import django
from django.conf import settings

from callers import ByHeader
from fakes import FakeClock, settings_of
from tasker_health.health import Health

PATHS = [
    *("/tasker/health/live", "/tasker/health/ready", "/tasker/health/ready/ill", "/tasker/health/ready/nope"),
    *("/tasker/health/startup", "/tasker/health/status", "/tasker/health", "/tasker/health/", "/tasker/health/live/"),
    *("/tasker//health/live", "/Tasker/Health/Live", "/tasker/health/../health/live", "/x/../tasker/health/live"),
    *("/tasker/health/caf\xe9", "/tasker/health/live\n", "/tasker/metrics/", "/tasker/openapi.json", "/tasker", "/x"),
]
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PROPFIND")
QUERIES = ("", "format=health")
PLACES = (("", ""), ("", "/app"), ("/deep/er", ""), ("/deep/er", "/app"))
"""Where the URLs are included, and where the server has mounted the project."""

urlpatterns = []


def health_of():
    """Return a health whose answers are the same each time, and whose status has two challenges."""
    kinds = ["callers.ByHeader", f"{__name__}.Another"]
    asks = {"authentication_enabled": True, "authenticator_class": kinds, "failures_per_minute": 100_000}
    health = Health(settings_of(auth=asks, health={"status_requires_authentication": True}), clock=FakeClock())
    health.check("well")(lambda: None)
    health.check("ill")(lambda: False)
    return health


class Another(ByHeader):
    """Another way in."""

    challenge = 'Another realm="tasker_health"'


def ask_wsgi(app, method, path, query, script):
    """Return code, headers and body."""
    raw = path.encode().decode("latin-1")
    environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": script, "PATH_INFO": raw, "QUERY_STRING": query}
    environ |= {"SERVER_NAME": "x", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1", "wsgi.input": io.BytesIO()}
    environ |= {"wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "SERVER_PROTOCOL": "HTTP/1.1"}
    started = []
    answer = app(environ, lambda *given: started.append(given))
    body = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    ((status, headers, *_),) = started
    return int(status.split()[0]), [tuple(pair) for pair in headers], body


async def ask_asgi(app, method, path, query, script):
    """Return code, headers and body."""
    sent, asked = [], []

    async def send(message):
        sent.append(message)

    async def receive():
        if asked:
            await asyncio.get_running_loop().create_future()
        asked.append(True)
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": method, "path": script + path, "root_path": script, "headers": []}
    scope |= {"query_string": query.encode(), "client": ("127.0.0.1", 1), "server": ("x", 80), "scheme": "http"}
    await app(scope, receive, send)
    start, *bodies = sent
    headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return start["status"], headers, b"".join(each.get("body", b"") for each in bodies)


def differences(ask, wrapped, own):
    """Yield every request that is not answered alike; an answer of Django's own is told by its code."""
    for path in PATHS:
        for method in METHODS:
            for query in QUERIES:
                expected = told(ask(wrapped, method, path, query, ""))
                for root, script in PLACES:
                    found = told(ask(own, method, root + path, query, script))
                    if found != expected:
                        yield [method, root + path, query, script, repr(expected), repr(found)]


def told(answer):
    """Return *answer*, of one of Django's only the code."""
    return answer if any(name == "cache-control" for name, _ in answer[1]) else answer[0]


def main():
    """Compare."""
    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)
    django.setup()
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path

    from tasker_health.frameworks.django import probe_urls

    urls = probe_urls(health_of())
    urlpatterns.extend([*urls, path("deep/er/", include(urls))])
    if sys.argv[1] == "wsgi":
        application = get_wsgi_application()
        found = list(differences(ask_wsgi, health_of().wsgi(application), application))
    else:
        application = get_asgi_application()
        wrapped = health_of().asgi(application)
        with asyncio.Runner() as runner:
            found = list(differences(lambda *words: runner.run(ask_asgi(*words)), wrapped, application))
    print(json.dumps(found))  # noqa: T201 -- what the test reads


if __name__ == "__main__":
    main()
