"""The page in a real browser, from the real server: what is seen, heard and typed in each state."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import threading
from datetime import UTC, datetime

import pytest
import uvicorn

import canary
from browser import ALL_WAYS, PHONE, TWO_WAYS, chromium, looking
from dbos_tables import empty_engine
from fakes import FakeSource, facts_of, settings_of
from served import Served
from server import PATIENCE_SECONDS, wait_until
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.history import CheckHistory, History
from tasker_health.model import CheckStatus, Reason, SystemStatus

QUICK = {
    "TASKER_HEALTH__CACHE_DURATION_SECONDS": "1",
    "TASKER_HEALTH__DEGRADED_MIN_SETTLED_TASKS": "1",
    "TASKER_GUARD__ENABLED": "false",
}
HOSTILE = '<script>alert(1)</script>"><svg onload=alert(1)></title>\u202e'


@pytest.fixture(scope="module")
def browser():
    """The browser of all tests here."""
    with chromium() as started:
        yield started


@pytest.fixture
def engine(tmp_path):
    """A source's database with some finished work."""
    file = empty_engine(tmp_path / "engine.sqlite")
    end(file, "SUCCESS", 40)
    return file


def end(file, status, number):
    """Let *number* more tasks end with *status* in the database *file*."""
    with sqlite3.connect(file) as connection:
        connection.executemany(
            "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at, completed_at)"
            " VALUES (?, ?, 'order', unixepoch() * 1000, unixepoch() * 1000, unixepoch() * 1000)",
            [(os.urandom(8).hex(), status) for _ in range(number)],
        )
    connection.close()


def serve(file, **variables):
    """Return a running server whose source is the database *file*."""
    source = {"TASKER_SOURCES__SHOP__KIND": "dbos", "TASKER_SOURCES__SHOP__URL": f"sqlite:///{file}"}
    return Served(**QUICK, **source, **variables)


def ended(server):
    """End *server*."""
    server.stop()
    server.close()


def status_of(looker):
    """Return the status that the page shows."""
    return looker.page.get_attribute("#main", "data-status")


def test_one_page_from_healthy_to_degraded_to_stale_to_disconnected_and_back(browser, engine, tmp_path):
    """It follows without being loaded again, keeps the focus, announces changes, and finds nothing with axe."""
    server = serve(engine, TASKER_HEALTH__STATUS_MAX_STALE_SECONDS="2")
    try:
        with looking(browser, server.url) as looker:
            page = looker.open().page
            wait_until(lambda: looker.look_again() or status_of(looker) == "healthy", "it is healthy")
            looker.shows("Nothing is wrong.")
            assert page.title() == "healthy: tasker"
            looker.assert_accessible(TWO_WAYS)
            page.evaluate("window.neverLoadedAgain = true")
            page.focus("#checks-table")

            end(engine, "ERROR", 9)
            wait_until(lambda: status_of(looker) == "degraded", "it fetches itself anew")  # by itself, in 5 s
            looker.shows("Too many of the tasks that ended lately have failed.")
            assert page.title() == "degraded: tasker"
            assert page.inner_text("#said") == "The status has changed from healthy to degraded."
            assert page.evaluate("document.activeElement.id") == "checks-table"
            looker.assert_accessible(TWO_WAYS)
            looker.keep_image("degraded")

            engine.rename(tmp_path / "away")
            wait_until(lambda: looker.look_again() or "facts_stale" in looker.text(), "the facts are stale")
            assert status_of(looker) == "unhealthy"
            age = int(page.get_attribute("[data-age]", "data-age"))
            assert age >= 2
            looker.shows("The last figures are too old to be relied on.")
            assert "49" in page.inner_text("#tasks")
            looker.assert_accessible(TWO_WAYS)
            looker.keep_image("stale")

            port = re.search(r":(\d+)/", server.url).group(1)
            server.process.kill()
            server.process.wait()
            server.close()
            looker.look_again()
            looker.shows("Disconnected since")
            looker.shows("s old")
            assert page.title() == "disconnected: unhealthy: tasker"
            assert page.get_attribute("#lost-why", "role") == "alert"
            looker.assert_accessible(TWO_WAYS)
            page.evaluate("scrollTo(0, 0)")
            looker.keep_image("disconnected")

            (tmp_path / "away").rename(engine)
            server = serve(engine, TASKER_SERVER__PORT=port)
            wait_until(lambda: page.is_hidden("#lost"), "it comes back by itself")
            wait_until(lambda: looker.look_again() or status_of(looker) == "degraded", "and shows the status")
            assert page.title() == "degraded: tasker"
            assert page.evaluate("window.neverLoadedAgain") is True
            assert page.evaluate("document.activeElement.id") == "checks-table"
    finally:
        ended(server)


def test_a_source_that_was_never_there_is_unhealthy(browser, tmp_path):
    """With its cause and what to do, as the first thing on the page; a hidden tab asks nothing."""
    server = serve(tmp_path / "nothing.sqlite")
    try:
        with looking(browser, server.url) as looker:
            page = looker.open().page
            looker.shows("A source cannot be read now")
            assert page.title() == "unhealthy: tasker"
            assert page.locator("main h2").first.inner_text() == "What is wrong, and what to do"
            looker.shows("tasker-health doctor sources")
            looker.shows("no figures yet")
            looker.assert_accessible(TWO_WAYS)
            looker.keep_image("unhealthy")
    finally:
        ended(server)


def test_a_token_signs_in_and_a_wrong_one_is_told(browser, engine):
    """It is sent as a header of the script's, is nowhere else, and goes when one signs out."""
    token, wrong = canary.secret("page-token"), canary.secret("page-wrong")
    server = serve(
        engine,
        TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION="true",
        TASKER_AUTH__AUTHENTICATION_ENABLED="true",
        TASKER_AUTH__AUTHENTICATOR_CLASS="tokens",
        TASKER_AUTH__TOKENS__READER__HASH="sha256:" + hashlib.sha256(token.encode()).hexdigest(),
    )
    try:
        with looking(browser, server.url) as looker:
            page = looker.open().page
            assert page.title() == "Not signed in"
            assert "shop" not in page.content()
            looker.assert_accessible(TWO_WAYS)
            looker.keep_image("unauthorised")
            page.fill("#token", wrong)
            page.press("#token", "Enter")
            looker.shows("This token was not accepted.")
            page.fill("#token", token)
            page.press("#token", "Enter")
            looker.shows("Nothing is wrong.")
            assert page.title() == "healthy: tasker"
            assert token not in page.content() + page.url
            kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state])"
            assert page.evaluate(kept) == '[{},{},"",null]'
            assert not any(token in each for each in looker.requests)
            looker.assert_accessible(TWO_WAYS)
            page.click("#sign-out")
            looker.shows("Not signed in")
            assert "Nothing is wrong." not in looker.text()
            assert page.is_hidden("#signed-in")
    finally:
        ended(server)


@pytest.fixture(scope="module")
def full_url():
    """A service with as much on its page as there can be, and names that attack it."""
    health = Health(settings_of(health={"service_name": f"shop {HOSTILE}{'x' * 10_000}", "cache_duration_seconds": 5}))
    health.add_source(FakeSource(facts_of(failed=10_000, blocked=3, stuck=2), name=f"engine {HOSTILE}"))
    broken = FakeSource(name="broken")
    broken.fault = Reason.ERROR
    health.add_source(broken)
    for number in range(100):
        health.add_check(_Check(f"check_{number}", fails=number % 40 == 7))
    made = last_hour([f"check_{number}" for number in range(100)])
    health._outward.history = lambda: made
    yield from running(health)


class _Check:
    """One of many checks."""

    critical, timeout_seconds = False, 0.5

    def __init__(self, name, *, fails):
        self.name, self._fails = name, fails

    async def __call__(self):
        """Pass or fail."""
        if self._fails:
            raise CheckFailed(Reason.REFUSED, HOSTILE)


def last_hour(names, slots=120):
    """Return a full hour, with a gap and a bad time in it."""

    def series(of):
        return [None if 20 <= slot < 26 else of(slot) for slot in range(slots)]

    is_bad = range(80, 92)
    return History(
        timestamp=datetime.now(UTC).replace(microsecond=0),
        slot_seconds=3600 // slots,
        is_shared=True,
        replicas=3,
        status=series(lambda slot: SystemStatus.DEGRADED if slot in is_bad else SystemStatus.HEALTHY),
        tasks={name: series(lambda slot: slot % 9) for name in ("retry_queue", "blocked", "stuck")},
        completed_per_minute=series(lambda slot: 40 + slot % 13),
        failed_per_minute=series(lambda slot: 9.5 if slot in is_bad else 0.5),
        failure_ratio=series(lambda slot: 0.18 if slot in is_bad else 0.012),
        checks={
            name: CheckHistory(
                status=series(lambda slot: CheckStatus.ERROR if slot in is_bad else CheckStatus.OK),
                response_time_ms=series(lambda slot: 5 + slot * 7 % 11),
            )
            for name in names
        },
    )


def running(health):
    """Yield the address of *health*, served by a thread."""
    server = uvicorn.Server(uvicorn.Config(health.asgi(), port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server is open")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/tasker/health"
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module")
def usual_url():
    """A healthy service with an hour behind it, as most are."""
    health = Health(settings_of(health={"service_name": "shop", "cache_duration_seconds": 5}))
    health.add_source(FakeSource())
    for name in ("payment_api", "search"):
        health.add_check(_Check(name, fails=False))
    made = last_hour(["configuration", "payment_api", "search"])
    health._outward.history = lambda: made
    yield from running(health)


def test_names_that_attack_stay_text_and_a_full_page_is_accessible(browser, full_url):
    """A hundred checks with their last hour, names of ten thousand letters, markup in every name."""
    with looking(browser, full_url) as looker:
        page = looker.open().page
        assert page.locator("main script, main svg[onload], main form").count() == 0
        assert page.locator("#checks-table svg").count() == 100
        assert "\u202e" not in page.content()
        looker.assert_accessible(((PHONE, "dark"),))


def test_the_last_hour_in_charts_dark_and_on_a_phone(browser, usual_url):
    """Each chart is a picture with a title and its figures in words; what is wrong stands before all."""
    with looking(browser, usual_url) as looker:
        page = looker.open().page
        looker.assert_accessible(ALL_WAYS)
        charts = page.get_by_role("img")
        assert charts.count() == 7  # bars, throughput, ratio, queues, and one of each check
        hour = page.get_by_role("img", name="Tasks ended a minute")
        assert "not known in 6 of 120 parts" in hour.locator("desc").text_content()
        looker.keep_image("healthy")
        page.emulate_media(color_scheme="dark")
        looker.keep_image("dark")
        page.emulate_media(color_scheme="light", forced_colors="active", reduced_motion="reduce")
        assert page.get_by_role("img", name="Tasks by state").is_visible()
        page.emulate_media(forced_colors="none")
        page.set_viewport_size(PHONE)
        looker.keep_image("phone")


def test_without_a_script_all_is_there_and_fetched_anew(browser, usual_url):
    """The browser does it by itself; nothing speaks of what only the script can do."""
    with looking(browser, usual_url, java_script_enabled=False) as looker:
        page = looker.open().page
        for words in ("Nothing is wrong.", "payment_api", "Retry queue", "Age and cache", "retry success rate"):
            assert words in looker.text()
        assert "Sign out" not in looker.text()
        with page.expect_navigation(timeout=PATIENCE_SECONDS * 1000):
            assert page.locator("meta[http-equiv=refresh]").count() == 1


def test_all_is_reached_with_the_keyboard(browser, usual_url):
    """First the way past the head, then every table; the focus is always to be seen."""
    with looking(browser, usual_url) as looker:
        page = looker.open().page
        reached = []
        for _ in range(3):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert reached == ["skip", "checks-table", "sources-table"]
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
