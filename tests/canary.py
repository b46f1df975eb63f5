"""Every secret of the tests is a word of its own, and no answer, log, traceback or repr of the whole suite may have it.

A pytest plugin: what is seen of answers (httpx), of processes (what `subprocess.run` and `Served` captured), of log
records with their tracebacks, and of pytest's own reports is searched at once, and a find fails the session.
"""

from __future__ import annotations

import logging
import re
import secrets
import subprocess
import threading

import httpx
import pytest

_WATCHED: set[str] = set()
_FOUND: list[str] = []
_LEAST = 8
_lock = threading.Lock()
_pattern: re.Pattern[str] | None = None


def secret(name: str) -> str:
    """Return a new secret for *name*, which may appear nowhere from now on."""
    return watch(f"canary-{name}-{secrets.token_hex(8)}")


def watch(value: str) -> str:
    """Return *value*, which may appear nowhere from now on."""
    global _pattern  # noqa: PLW0603 -- one for the session
    assert len(value) >= _LEAST, "too short to be told from other words"
    with _lock:
        _WATCHED.add(value)
        _pattern = re.compile("|".join(map(re.escape, sorted(_WATCHED))))
    return value


def look(where: str, *texts: object) -> None:
    """Search *texts* for every secret; what is found fails the session, with *where* it was."""
    if _pattern is None:
        return
    for text in texts:
        words = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        found = _pattern.search(words)
        if found is not None:
            with _lock:
                _FOUND.append(
                    f"{found.group()[:16]}... in {where}: ...{words[max(0, found.start() - 120) : found.start()]}"
                )


def finds() -> list[str]:
    """Return what was found so far, and forget it: for the tests of this very plugin."""
    with _lock:
        found = list(_FOUND)
        _FOUND.clear()
    return found


class _Records(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        look(f"the log of {record.name}", self.format(record))


def _look_at_response(response: httpx.Response) -> httpx.Response:
    head = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
    body = response.content if response.is_closed or hasattr(response, "_content") else b""
    look(f"the answer to {response.request.method} {response.request.url.path}", head, body)
    return response


def _wrap_httpx(patch: pytest.MonkeyPatch) -> None:
    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def looking(self, *arguments, **options):
        return _look_at_response(send(self, *arguments, **options))

    async def looking_async(self, *arguments, **options):
        return _look_at_response(await send_async(self, *arguments, **options))

    patch.setattr(httpx.Client, "send", looking)
    patch.setattr(httpx.AsyncClient, "send", looking_async)


def _wrap_subprocess(patch: pytest.MonkeyPatch) -> None:
    begin = subprocess.CompletedProcess.__init__

    def looking(self, args, returncode, stdout=None, stderr=None):
        begin(self, args, returncode, stdout, stderr)
        if isinstance(args, list) and "tasker_health" in map(str, args):
            look("what a command printed", stdout or "", stderr or "")

    patch.setattr(subprocess.CompletedProcess, "__init__", looking)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Begin to look."""
    patch = session.config._canary_patch = pytest.MonkeyPatch()
    _wrap_httpx(patch)
    _wrap_subprocess(patch)
    handler = session.config._canary_handler = _Records()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


@pytest.fixture(autouse=True)
def _logging_is_pytests(request):
    """Put back the root of logging after each test."""
    yield
    _put_logging_back(request.config)


def pytest_collection_finish(session):
    """Put back the root of logging: an example is imported then, as its application is."""
    _put_logging_back(session.config)


def _put_logging_back(config):
    """Litestar and others set up logging of their own, and nobody would look at what is logged afterwards."""
    root = logging.getLogger()
    of_pytest = [handler for handler in root.handlers if type(handler).__module__.startswith("_pytest.")]
    root.handlers[:] = [*of_pytest, config._canary_handler]
    root.setLevel(logging.WARNING)


def pytest_runtest_logreport(report):
    """Look at what pytest captured of a test that passed: what a failing assertion shows is the test's own."""
    if not report.failed and "test_canary" not in report.nodeid:
        look(f"what {report.nodeid} printed", *(text for _, text in report.sections))


def pytest_sessionfinish(session):
    """Fail when a secret was seen."""
    logging.getLogger().removeHandler(session.config._canary_handler)
    session.config._canary_patch.undo()
    if _FOUND:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Say where a secret was seen, and of how many none was."""
    if _FOUND:
        terminalreporter.section("secrets were seen", red=True)
        for found in dict.fromkeys(_FOUND):
            terminalreporter.line(found)
    else:
        terminalreporter.line(f"of {len(_WATCHED)} secrets in the tests, none was seen in any answer, log or report")
