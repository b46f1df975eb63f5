"""FastAPI: its own idiom beside `health.asgi(app)`. The servers are asked in the table of all skins."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import warnings
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request

from idioms import (
    Kept,
    Refusing,
    ask,
    assert_database_closed,
    assert_started_and_stopped,
    codes,
    differences,
    health_of,
    serving,
    with_database,
)
from server import PATIENCE_SECONDS, free_port, wait_until
from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import fastapi as ours
from tasker_health.frameworks.fastapi import router


def application(*routers, prefix="", **options):
    """Return one with a route of its own after *routers*."""
    app = FastAPI(**options)
    for each in routers:
        app.include_router(each, prefix=prefix)

    @app.get(f"{prefix}/orders/{{number}}")
    async def orders(number: int):
        return number

    return app


@pytest.mark.parametrize("prefix", ["", "/tasker", "/deep/er"])
@pytest.mark.parametrize("root", ["", "/root"])
def test_the_router_answers_what_the_wrapped_application_answers(prefix, root):
    """Code, headers and body, also of what is nearly ours; nothing is redirected."""
    settings = {"server": {"prefix": prefix}}
    idiom = application(router(health_of(**settings)), openapi_url=None)  # or both would have one, without a prefix
    wrapped = health_of(**settings).asgi(application(openapi_url=None))
    assert asyncio.run(differences(idiom, wrapped, [prefix], root=root)) == []


@pytest.mark.parametrize("root", ["", "/root"])
def test_it_is_included_with_a_prefix(root):
    """That is no part of the path, nor are those of routers around it."""
    idiom = application(router(health_of()), prefix="/api")
    wrapped = health_of(server={"prefix": "/api/tasker"}).asgi(application(prefix="/api"))
    documents = ("/api/tasker/openapi.json",)  # it tells the prefix of the settings, without that of the application
    found = asyncio.run(differences(idiom, wrapped, ["/api/tasker"], root=root))
    assert [each for each in found if each[1] not in documents or each[0] not in {"GET", "HEAD"}] == []

    inner = APIRouter(prefix="/inner")
    inner.include_router(router(health_of()), prefix="/most")
    nested = application(inner, prefix="/outer")
    asked = ["/outer/inner/most/tasker/health/live", "/tasker/health/live", "/outer/inner/tasker/health/live"]
    assert asyncio.run(codes(nested, *asked)) == [200, 404, 404]


def test_a_mounted_application_answers_below_its_mount():
    """Its lifespan is not run by FastAPI; the first question starts what it needs."""
    app = FastAPI()
    app.mount("/inner", application(router(health_of())))
    assert asyncio.run(codes(app, "/inner/tasker/health/ready", "/tasker/health/ready")) == [200, 404]


def test_the_lifespan_starts_and_stops_however_often():
    """Every connection of a check is closed at the end."""
    kept = Kept()
    asyncio.run(assert_started_and_stopped(application(router(health_of(kept))), kept))


def test_the_connection_to_the_database_is_closed(tmp_path):
    """No descriptor of it stays."""
    asyncio.run(assert_database_closed(application(router(with_database(tmp_path))), tmp_path))


def test_the_test_client_of_the_framework_leaves_nothing():
    """Each `with TestClient(app)` has an event loop of its own, and is a start and a stop."""
    with warnings.catch_warnings():  # Starlette would rather have another httpx
        warnings.simplefilter("ignore")
        from fastapi.testclient import TestClient
    kept = Kept()
    app = application(router(health_of(kept)))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/tasker/health/ready").json()["ready"] is True
    assert kept.notes == ["opened", "closed"] * 2


def test_the_applications_own_lifespan_is_composed():
    """It begins before ours and ends after, as FastAPI has it; its state is the application's."""
    kept = Kept()
    health = health_of(kept)

    @asynccontextmanager
    async def own(app):
        kept.notes.append("own begins")
        yield {"shop": "open"}
        kept.notes.append("own ends")

    app = application(router(health), lifespan=own)

    @app.get("/state")
    async def state(request: Request):
        await health.ready()
        return request.state.shop

    async def run():
        async with serving(app) as found:
            return await ask(app, "GET", "/state", state=found)

    assert asyncio.run(run())[2] == b'"open"'
    assert kept.notes == ["own begins", "opened", "closed", "own ends"]


def test_middleware_comes_before_the_router_and_not_before_the_wrapped():
    """What the page says of both."""
    idiom, inner = application(router(health_of())), application()
    idiom.add_middleware(Refusing)
    inner.add_middleware(Refusing)
    asked = ["/tasker/health/live", "/tasker/health/live/", "/orders/7"]
    assert asyncio.run(codes(idiom, *asked)) == [418, 418, 418]
    assert asyncio.run(codes(health_of().asgi(inner), *asked)) == [200, 404, 418]


def test_dependencies_and_the_document_of_the_application_leave_it_out():
    """A dependency that refuses refuses no probe, and nobody reads of probes in `/docs`."""

    async def refuse():
        raise HTTPException(418)

    app = FastAPI(dependencies=[Depends(refuse)])
    app.include_router(router(health_of()), dependencies=[Depends(refuse)])

    @app.get("/orders/{number}")
    async def orders(number: int):
        return number

    assert asyncio.run(codes(app, "/tasker/health/live", "/orders/7")) == [200, 418]
    assert list(app.openapi()["paths"]) == ["/orders/{number}"]


def test_a_route_that_takes_everything_stands_after_it():
    """Routers are asked in their order, as the page says."""
    app = application(router(health_of()))

    @app.api_route("/{path:path}", methods=["GET"])
    async def page(path: str):
        return path

    async def run():
        return [await ask(app, "GET", path) for path in ("/tasker/health/live", "/tasker/health/Live", "/tasker/page")]

    assert [(code, body[:9]) for code, _, body in asyncio.run(run())] == [
        (200, b'{"alive":'),
        (404, b'{"error":'),
        (200, b'"tasker/p'),
    ]


def test_two_healths_in_one_application():
    """Each answers for itself below its prefix, and both are started and stopped."""
    first, second = Kept("first"), Kept("second")
    app = application(router(health_of(first)), router(health_of(second, server={"prefix": "/other"})))
    paths = ["/tasker/health/ready/first", "/other/health/ready/second"]
    asyncio.run(assert_started_and_stopped(app, first, second, paths=paths))
    assert asyncio.run(codes(app, "/tasker/health/ready/second", "/other/health/ready/first")) == [404, 404]


def test_a_version_that_would_drop_the_routes_is_told_of(monkeypatch):
    """Older ones include routes of their own kind only, and say nothing."""

    def drop(self, router):
        pass

    monkeypatch.setattr(ours.APIRouter, "include_router", drop)
    with pytest.raises(ConfigurationError, match=r"take health\.asgi\(app\)"):
        router(health_of())


RELOADED = """
from fastapi import FastAPI

from tasker_health import Health
from tasker_health.frameworks.fastapi import router

health = Health()
health.check("round_ROUND")(lambda: None)
app = FastAPI()
app.include_router(router(health))
"""


def in_session(leader):
    """Return the processes of the session that *leader* leads, by what they are."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found[int(stat.parent.name)] = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@pytest.fixture
def reloading(tmp_path):
    """An application under `uvicorn --reload` with a guard: its process, its URL, the guard's URL and its file."""
    port, guard = free_port(), free_port()
    file = tmp_path / "orders.py"
    file.write_text(RELOADED.replace("ROUND", "0"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    environment |= {"TASKER_GUARD__ENABLED": "true", "TASKER_GUARD__PORT": str(guard)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "orders:app", "--port", str(port), "--reload", "--reload-delay", "0.05"],
            cwd=tmp_path,
            env={**environment, "TASKER_SERVER__DRAIN_SECONDS": "0"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{guard}", file
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def checks_at(url):
    """Return the names of the checks that are answered at *url*."""
    with contextlib.suppress(httpx.TransportError, KeyError):
        return list(httpx.get(f"{url}/tasker/health/ready", timeout=PATIENCE_SECONDS).json()["checks"])
    return []


def test_a_reloading_server_leaves_nothing_behind(reloading):
    """Each round has the application and its guard anew, as many processes as before, and at the end there are none."""
    process, url, guard, file = reloading
    wait_until(lambda: "round_0" in checks_at(url) and "round_0" in checks_at(guard), "it serves")
    before = in_session(process.pid)
    for number in ("1", "2"):
        file.write_text(RELOADED.replace("ROUND", number))
        wait_until(lambda number=number: f"round_{number}" in checks_at(url), "the application is new")
        wait_until(lambda number=number: f"round_{number}" in checks_at(guard), "its guard is new")
        wait_until(lambda: len(in_session(process.pid)) == len(before), f"the old ones have ended: {before}")
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)
    wait_until(lambda: not in_session(process.pid), "nothing is left")
