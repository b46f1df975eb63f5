"""One table of requests through every skin and every server: the same code, the same headers of ours, the same JSON."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import tasker_health
from frameworks.exchange import Answer
from frameworks.serving import SERVERS, Serving
from frameworks.table import TABLE

SOURCE = Path(tasker_health.__file__).parent
LOCK = Path(__file__).parents[2] / "requirements" / "dev.lock"

ABREAST = 4
"""Servers at a time: each is busy for a second or so."""


class Skin(NamedTuple):
    """A way in.

    Attributes:
        of: File of ours that it tries, below the package.
        servers: That it is tried under.
        closes: How many of its four healths have been closed when the server has ended. A mounted ASGI application has
            no lifespan, nor have Django's URLs: what their first question started ends with the process.
    """

    of: str
    servers: tuple[str, ...]
    closes: int = 3


ASGI, WSGI = "web/asgi.py", "web/wsgi.py"
_SYNCHRONOUS = "wsgi|sync|gthread|script"
SKINS = {
    "bare.asgi": Skin(ASGI, tuple(name for name in SERVERS if not re.search(f"{_SYNCHRONOUS}|aiohttp|reload", name))),
    "bare.wsgi": Skin(WSGI, tuple(name for name in SERVERS if re.search(_SYNCHRONOUS, name)), 4),
    "starlette.asgi": Skin(ASGI, ("uvicorn",)),
    "fastapi.asgi": Skin(ASGI, ("uvicorn",)),
    "litestar.asgi": Skin(ASGI, ("granian",)),
    "quart.asgi": Skin(ASGI, ("hypercorn",)),
    "starlette.routes": Skin("frameworks/starlette.py", ("uvicorn",)),
    "fastapi.router": Skin("frameworks/fastapi.py", ("uvicorn",)),
    "litestar.plugin": Skin("frameworks/litestar.py", ("uvicorn",)),
    "quart.blueprint": Skin("frameworks/quart.py", ("hypercorn",), 4),
    "flask.blueprint": Skin("frameworks/flask.py", ("gunicorn, gthread",), 4),
    "django.urls_asgi": Skin("frameworks/django", ("uvicorn",), 0),
    "django.urls_wsgi": Skin("frameworks/django", ("gunicorn, sync",), 4),
    "aiohttp.setup": Skin("frameworks/aiohttp.py", ("aiohttp",), 4),
    "django.asgi": Skin(ASGI, ("uvicorn",)),
    "django.wsgi": Skin(WSGI, ("gunicorn, sync",), 4),
    "flask.wsgi": Skin(WSGI, ("gunicorn, gthread",), 4),
}
MATRIX = [(skin, server) for skin in SKINS for server in SKINS[skin].servers]

_PARSER = r" on (uvicorn(?!, h11)|gunicorn, uvicorn|aiohttp)"
UNLIKE = [
    (_PARSER, "(mounted: )?BREW .*", 400, "httptools and llhttp, which parse for these, know a list of methods"),
    (
        "(starlette|fastapi)",
        "mounted: nowhere: a line break",
        404,
        "Starlette's mount matches no path with a line break; its own 404",
    ),
    (
        r"litestar\.plugin",
        "(mounted: )?nowhere: (a dot|other case of all)",
        404,
        "Litestar routes by whole words before anybody of ours is asked; its own 404, and no redirect",
    ),
]
"""Rows that a server or a framework answers itself: by name of skin and server, name of row, code, and why."""

KNOWN_SERVERS = {
    *("uvicorn", "granian", "hypercorn", "gunicorn", "uvicorn-worker", "aiohttp"),
    *("daphne", "waitress", "cheroot", "bjoern", "uwsgi", "nginx-unit"),
}


class Result(NamedTuple):
    """What came of one cell of the matrix."""

    answers: dict[str, Answer]
    exit_code: int
    log: str


def run(skin, server, folder):
    """Return the answers to the whole table, and how it ended."""
    serving = Serving(skin, server, folder)
    try:
        answers = serving.ask_all()
    finally:
        code = serving.end()
    return Result(answers, code, serving.log)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The futures of all cells, in the order of the matrix."""
    folder = tmp_path_factory.mktemp("frameworks")
    with ThreadPoolExecutor(ABREAST) as pool:
        yield {cell: pool.submit(run, *cell, folder) for cell in MATRIX}


def unlike(skin, server, row):
    """Return the code of an answer that is not ours by right, or `None`."""
    for where, which, code, _ in UNLIKE:
        if re.search(where, f"{skin} on {server}") and re.fullmatch(f"(HEAD: )?{which}", row.name):
            return code
    return None


def difference(row, answer):
    """Return what is not as *row* says, or nothing."""
    headers = answer.headers
    if row.body is None:  # its length is that of the text, and HEAD's that of GET's
        lengths = [value for name, value in headers if name == "content-length"]
        headers = tuple(each for each in headers if each[0] != "content-length")
        if len(lengths) != 1 or (row.method != "HEAD" and int(lengths[0]) != len(answer.body)):
            return f"content-length {lengths} of {len(answer.body)}"
    if answer.code != row.code:
        return f"code {answer.code}, not {row.code}: {answer.body[:100]!r}"
    if row.ours and headers != row.expected:
        return f"headers {set(headers) ^ set(row.expected)}"
    if row.method == "HEAD":
        return f"HEAD with a body: {answer.body[:100]!r}" if answer.body else ""
    return f"body {answer.body[:300]!r}" if row.body is not None and answer.json != row.body else ""


@pytest.mark.parametrize(("skin", "server"), MATRIX, ids=[" on ".join(cell) for cell in MATRIX])
def test_every_row_is_answered_as_the_table_says(results, skin, server):
    """Code, JSON and each header; and the server ends in good order, after everything of ours has been closed."""
    result = results[skin, server].result()
    wrong = {}
    for row in TABLE:
        answer, code = result.answers[row.name], unlike(skin, server, row)
        told = (
            difference(row, answer) if code is None else ("" if answer.code == code else f"{answer.code}, not {code}")
        )
        if told:
            wrong[row.name] = told
    assert wrong == {}
    assert result.exit_code in {0, -15}, result.log
    assert result.log.count("closed shop") == SKINS[skin].closes, result.log
    # aiohttp logs one for a method that it does not know.
    assert result.log.count("Traceback") == result.log.count("aiohttp.http_exceptions.BadHttpMethod: 400"), result.log


def test_texts_are_the_same_everywhere(results):
    """The page, the metrics and the formats, byte for byte, and the length that HEAD tells is that of GET."""
    answers = {cell: future.result().answers for cell, future in results.items()}
    first = answers[MATRIX[0]]
    for row in (row for row in TABLE if row.body is None):
        differ = [cell for cell in MATRIX if answers[cell][row.name] != first[row.name]]
        assert differ == [], row.name
        if row.method == "HEAD":
            assert first[row.name].headers == first[row.name.removeprefix("HEAD: ")].headers


def test_every_skin_of_ours_is_in_the_table():
    """A new file in the room of frameworks, or a new skin, needs its place here."""
    here = {f"web/{name}.py" for name in ("asgi", "wsgi")}
    here |= {
        f"frameworks/{path.name}"
        for path in (SOURCE / "frameworks").iterdir()
        if path.name not in {"__init__.py", "__pycache__"}
    }
    assert {skin.of for skin in SKINS.values()} == here


def test_every_server_that_is_locked_is_in_the_table():
    """So is every server that somebody adds to the environment of development."""
    commands = " ".join([*SERVERS, *(word for words in SERVERS.values() for word in words)]).replace("_", "-")
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE)) & KNOWN_SERVERS
    assert {name for name in locked if name not in commands} == set()


def test_the_names_of_rows_are_unique():
    """A row that hides another is not asked."""
    assert len({row.name for row in TABLE}) == len(TABLE) > 200
