"""`tasker-health demo`: an order shop on DBOS with its health endpoints beside it."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from tasker_health.cli.logs import set_up_logging
from tasker_health.demo.figures import FiguresLine, forget_console
from tasker_health.demo.place import Place
from tasker_health.errors import ConfigurationError
from tasker_health.health import Health
from tasker_health.settings import Settings, SourceSettings
from tasker_health.web.server import serve
from tasker_health.web.tls import certificate_of

SOURCE = "shop"

_CLOSING_SECONDS = 5.0


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        database_url: Where DBOS keeps the work; `None`: a SQLite file under the current directory.
        rate: Orders placed a second, at most; 0: none, the work that is there is finished.
        seed: Draws the same orders each time; `None`: others.
        backoff_seconds: Wait after the first failed attempt of a step; it doubles with every further one.
    """

    database_url: str | None
    rate: float
    seed: int | None
    backoff_seconds: float


def run_demo(settings: Settings, options: DemoOptions) -> int:
    """Run the shop and its health server until SIGTERM or Ctrl-C; return 0.

    Raises:
        ConfigurationError: DBOS is not installed, the settings cannot work, or the port or the file cannot be had.
    """
    _on_signals(_leave_early)
    if importlib.util.find_spec("dbos") is None:
        raise ConfigurationError("demo: dbos is not installed; pip install 'tasker-health[demo]'")
    set_up_logging(settings.log)
    place = Place(options.database_url)
    settings = hurried_by_default(with_shop(settings, place.url)).guarded_by_default()
    certificate = certificate_of(settings.server)
    health = Health(settings)
    figures = FiguresLine(settings, SourceSettings(kind="dbos", url=SecretStr(place.url)))
    running = _Running(health, figures, place, options)
    try:
        serve(
            health.asgi(),
            settings.server,
            announce=running.start,
            certificate=certificate,
        )
    finally:
        _on_signals(_leave_at_once)
        running.end()
    return 0


def with_shop(settings: Settings, url: str) -> Settings:
    """Return *settings* with the shop as database and as source, unless they name others themselves."""
    update: dict[str, Any] = {}
    if settings.database.url is None:
        update["database"] = settings.database.model_copy(update={"url": SecretStr(url)})
    if SOURCE not in settings.sources:
        update["sources"] = {**settings.sources, SOURCE: SourceSettings(kind="dbos", url=SecretStr(url))}
    return settings.model_copy(update=update)


def hurried_by_default(settings: Settings) -> Settings:
    """Return *settings* that drain nothing at the end, unless they name a time: nobody sends the demo any traffic."""
    if "drain_seconds" in settings.server.model_fields_set:
        return settings
    return settings.model_copy(update={"server": settings.server.model_copy(update={"drain_seconds": 0})})


class _Running:
    """What runs beside the server: started once its port is had, ended after it."""

    def __init__(self, health: Health, figures: FiguresLine, place: Place, options: DemoOptions) -> None:
        self._health = health
        self._figures = figures
        self._place = place
        self._options = options
        self._launched = health.wait_for("dbos")
        self._shop: Any = None
        self._starting = threading.Thread(target=self._start_shop, name="shop-starting", daemon=True)

    def start(self, url: str) -> None:
        """Start everything; *url* is where the endpoints are."""
        guard = self._health.open_guard(alone=True)
        self._place.prepare()
        _say(
            f"An order shop on DBOS, kept in {self._place}\n",
            *(f"  {name:8} {url}/{name}" for name in ("live", "ready", "startup", "status")),
            *([f"  guard    {guard}/live, ready and startup, whatever the shop does"] if guard else []),
            "\nCtrl-C ends it; whatever is under way then goes on at the next start.\n",
        )
        self._figures.start()
        self._starting.start()

    def end(self) -> None:
        """End everything within a few seconds, whatever the database does."""
        ends_at = time.monotonic() + _CLOSING_SECONDS
        self._figures.stop()
        if self._starting.ident is None:
            return
        self._starting.join(max(0.0, ends_at - time.monotonic()))
        closed = self._shop is not None and self._shop.close(max(0.0, ends_at - time.monotonic()))
        _say("The shop is closed.")
        if not closed or _threads_are_left():
            # A thread of DBOS that waits for a dead database would hold up the exit for ever. To leave it costs
            # nothing: what it was at resumes at the next start, as after any crash.
            _leave_at_once()

    def _start_shop(self) -> None:
        """Import DBOS, which takes a second, while the server answers already."""
        from tasker_health.demo.shop import Shop

        options = self._options
        self._shop = Shop(
            self._place,
            rate=options.rate,
            seed=options.seed,
            backoff_seconds=options.backoff_seconds,
            opened=self._on_open,
        )
        self._shop.start()

    def _on_open(self) -> None:
        self._launched()
        self._figures.opened()


def _threads_are_left(seconds: float = 1.0) -> bool:
    """Whether threads that the interpreter would wait for are still there after *seconds*."""
    ends_at = time.monotonic() + seconds
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(max(0.0, ends_at - time.monotonic()))
            if thread.is_alive():
                return True
    return False


def _say(*lines: str) -> None:
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        forget_console()


def _on_signals(handler: Any) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, handler)


def _leave_early(*_: object) -> None:
    """End before there is anything to end."""
    sys.exit(0)


def _leave_at_once(*_: object) -> None:
    """End without waiting for anything; DBOS resumes what is under way, as after any crash."""
    os._exit(0)
