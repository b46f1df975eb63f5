"""The demo does real work, tells the truth about it, and loses nothing, however it is ended."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from server import wait_until
from servers import sync_url

_FINAL = {"SUCCESS", "ERROR", "CANCELLED"}
_PARTS = ("pending_tasks", "running_tasks", "completed_tasks", "failed_tasks", "cancelled_tasks", "other_tasks")


class ShopDatabase:
    """What stands in the tables of DBOS and in the shop's ledger, read beside the demo."""

    def __init__(self, url):
        self._engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
        self._schema = "dbos." if self._engine.dialect.name == "postgresql" else ""

    def rows(self, statement, **values):
        """Return the rows of *statement*, in which `{dbos}` stands before DBOS' tables."""
        with self._engine.connect() as connection:
            return connection.execute(sa.text(statement.format(dbos=self._schema)), values).all()

    def orders(self):
        """Return each order's status, by id."""
        rows = self.rows("SELECT workflow_uuid, status FROM {dbos}workflow_status")
        return {row.workflow_uuid: row.status for row in rows}

    def attempts(self):
        """Return every attempt recorded, as it was recorded, by order and number."""
        rows = self.rows(
            "SELECT workflow_uuid, function_id, function_name, error IS NOT NULL, completed_at_epoch_ms"
            " FROM {dbos}operation_outputs WHERE function_name IN ('reserve', 'charge', 'ship')"
        )
        return {(order, number): (step, bool(failed), at) for order, number, step, failed, at in rows}

    def assert_settled_once(self):
        """Every order has ended, the shipped ones are those of the ledger, and each step of those succeeded once."""
        orders = self.orders()
        assert set(orders.values()) <= _FINAL
        done = {order for order, status in orders.items() if status == "SUCCESS"}
        shipped = [row[0] for row in self.rows("SELECT order_id FROM shop_ledger WHERE outcome = 'shipped'")]
        assert len(shipped) == len(set(shipped))
        assert set(shipped) == done
        succeeded = [(order, step) for (order, _), (step, failed, _) in self.attempts().items() if not failed]
        assert len(succeeded) == len(set(succeeded))
        assert {(order, step) for order in done for step in ("reserve", "charge", "ship")} <= set(succeeded)
        return orders


def assert_adds_up(figures):
    """The total is the sum of its parts, and what is in backoff is waiting for its retry."""
    assert figures["total_tasks"] == sum(figures[part] for part in _PARTS)
    assert 0 <= figures["in_backoff"] <= figures["retry_queue_size"]
    assert figures["retry_queue_size"] <= figures["pending_tasks"] + figures["running_tasks"]


def assert_ended_well(demo, number):
    """The demo ends on signal *number* with code 0, soon, and without a traceback."""
    began = time.monotonic()
    assert demo.end(number) == 0
    assert time.monotonic() - began < 15
    assert "Traceback" not in demo.text
    assert "Error" not in demo.text
    assert demo.text.endswith("The shop is closed.\n")


def drained(figures):
    """Whether nothing is left to do."""
    return figures["pending_tasks"] + figures["running_tasks"] == 0


def test_within_a_minute_every_figure_has_moved_and_every_total_adds_up(start_demo):
    """Somebody who looks for a minute sees orders queued, running, retried, completed, failed and cancelled."""
    demo = start_demo("--seed", "1")
    demo.wait_for("health/startup")
    seen, last = {}, {"total_tasks": 0, "completed_tasks": 0, "failed_tasks": 0, "cancelled_tasks": 0}
    wanted = {"pending_tasks", "running_tasks", "in_backoff", "completed_tasks", "failed_tasks", "cancelled_tasks"}

    def every_figure_moved():
        figures = demo.figures()
        assert_adds_up(figures)
        assert all(figures[name] >= before for name, before in last.items()), "a task that ended was lost"
        last.update({name: figures[name] for name in last})
        seen.update({name: True for name, value in figures.items() if value})
        return wanted <= seen.keys()

    wait_until(every_figure_moved, f"all of {sorted(wanted)} were above 0", 60)
    report = demo.wait_for("health/status")
    assert report["performance_metrics"]["avg_step_completion_time_ms"] > 0
    assert 0 < report["performance_metrics"]["retry_success_rate"] <= 1
    assert_ended_well(demo, signal.SIGTERM)


def test_the_four_endpoints_answer_beside_the_work(start_demo):
    """live, ready, startup and status answer 200 with the demo's database and source, from no configuration at all."""
    demo = start_demo()
    assert demo.wait_for("health/live")["service"] == "tasker"
    assert demo.wait_for("health/startup")["started"] is True
    checks = demo.wait_for("health/ready")["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "database": "ok",
        "migrations": "ok",
        "configuration": "ok",
    }
    report = demo.wait_for("health/status")
    assert list(report["sources"]) == ["shop"]
    assert report["status"] in {"healthy", "degraded"}
    assert demo.ask("health/ready/nothing")[0] == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order_while_steps_wait(start_demo, tmp_path, number):
    """Ctrl-C and SIGTERM end it with code 0, and the order that waits for its next attempt stays as it is."""
    demo = start_demo("--backoff-seconds", "60")
    demo.wait_for_figures(lambda figures: figures["in_backoff"], "a step is in backoff")
    assert_ended_well(demo, number)
    shop = ShopDatabase(f"sqlite:///{tmp_path}/.tasker-health/shop.sqlite")
    assert "PENDING" in shop.orders().values()


def test_two_signals_end_it_too(start_demo):
    """Who presses Ctrl-C twice gets the same code and no traceback either."""
    demo = start_demo()
    demo.wait_for("health/startup")
    demo.process.send_signal(signal.SIGINT)
    wait_until(lambda: demo.ask("health/live")[0] is None, "the server is stopping")  # two at once would count as one
    assert demo.end(signal.SIGINT) == 0
    assert "Traceback" not in demo.text


def test_nothing_is_lost_or_done_twice_when_it_is_killed_in_mid_backoff(start_demo, tmp_path):
    """After SIGKILL the next start resumes every order where it was, and the figures say so."""
    shop = ShopDatabase(f"sqlite:///{tmp_path}/.tasker-health/shop.sqlite")
    known, recorded = set(), {}
    for _ in range(2):
        demo = start_demo("--backoff-seconds", "1.5")
        demo.wait_for_figures(lambda figures: figures["in_backoff"], "a step is in backoff")
        demo.end(signal.SIGKILL)
        orders = shop.orders()
        assert known <= set(orders), "an order was lost"
        assert recorded.items() <= shop.attempts().items(), "an attempt was lost, or made again"
        known, recorded = set(orders), shop.attempts()
        assert not set(orders.values()) <= _FINAL, "it was killed too late to prove anything"

    demo = start_demo("--rate", "0")
    figures = demo.wait_for_figures(drained, "every order has ended")
    orders = shop.assert_settled_once()
    assert set(orders) == known
    assert recorded.items() <= shop.attempts().items()
    by_status = {status: list(orders.values()).count(status) for status in _FINAL}
    assert figures["total_tasks"] == len(known)
    assert figures["completed_tasks"] == by_status["SUCCESS"]
    assert figures["failed_tasks"] == by_status["ERROR"]
    assert figures["cancelled_tasks"] == by_status["CANCELLED"]
    assert_ended_well(demo, signal.SIGTERM)


def test_processes_on_one_postgresql_share_the_work_and_outlive_each_other(start_demo, postgres_database):
    """Two processes finish orders of one queue; when one is killed, the other one resumes what it was at."""
    shop = ShopDatabase(postgres_database)
    where = ("--database-url", postgres_database, "--backoff-seconds", "0.3")
    demos = [start_demo(*where, "--rate", "2") for _ in range(2)]
    for demo in demos:
        demo.wait_for("health/startup")

    def executors(status):
        query = "SELECT DISTINCT executor_id FROM {dbos}workflow_status WHERE status = :status"
        return {row[0] for row in shop.rows(query, status=status)}

    wait_until(lambda: executors("SUCCESS") >= {"shop-1", "shop-2"}, "both have completed an order")
    wait_until(lambda: executors("PENDING") >= {"shop-1", "shop-2"}, "both are at work")
    demos[0].end(signal.SIGKILL)
    orphans = {order for order, status in shop.orders().items() if status == "PENDING"}
    wait_until(lambda: {shop.orders()[order] for order in orphans} <= _FINAL, "what was under way has ended")
    assert_ended_well(demos[1], signal.SIGTERM)

    known = set(shop.orders())
    last = start_demo(*where, "--rate", "0")
    last.wait_for("health/startup")
    figures = last.wait_for_figures(drained, "every order has ended")
    assert set(shop.assert_settled_once()) == known
    assert figures["total_tasks"] == len(known)
    assert_ended_well(last, signal.SIGTERM)


def test_a_database_that_is_away_stops_nothing(start_demo):
    """Startup waits for dbos, ready says why, live is well; SIGTERM ends it, and no password is written anywhere."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening: refused, and nobody else can take it
        demo = start_demo("--database-url", f"postgresql://shop:hidden-word@127.0.0.1:{nobody.getsockname()[1]}/shop")
        demo.wait_for("health/live")
        wait_until(lambda: "the shop cannot open yet" in demo.text, "the shop tried to open")
        assert demo.wait_for("health/startup", 503)["waiting_for"] == ["dbos"]
        ready = demo.wait_for("health/ready", 503)
        assert ready["checks"]["database"]["reason"] == "refused"
        assert demo.wait_for("health/status", 503)["reasons"] == ["source_unreadable"]
        assert demo.end(signal.SIGTERM) == 0
    assert "hidden-word" not in demo.text
    assert "Traceback" not in demo.text


def test_a_port_in_use_is_found_before_anything_is_made(tmp_path):
    """Code 2, one line that names the setting and the remedy, and no shop."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "tasker_health", "demo"],
            env=os.environ | {"TASKER_SERVER__PORT": str(port)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tasker-health: server.port = {port}: the port is in use")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_a_live_line_until_ctrl_c(tmp_path):
    """The console names the four URLs and keeps one line of figures up to date; Ctrl-C ends it with code 0."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "tasker_health", "demo"],
        env=os.environ | {"TASKER_SERVER__PORT": "0", "TERM": "xterm", "COLUMNS": "140"},
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        ends_at = time.monotonic() + 60
        while not re.search(rb"\x1b\[2K.*running [1-9]", shown) and time.monotonic() < ends_at:
            shown += os.read(controller, 65536)
        os.write(controller, b"\x03")
        with contextlib.suppress(OSError):  # the terminal has gone with its last process
            while part := os.read(controller, 65536):
                shown += part
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    text = shown.decode()
    for name in ("live", "ready", "startup", "status"):
        assert f"/tasker/health/{name}" in text
    assert "Traceback" not in text
    assert text.endswith("The shop is closed.\r\n")
