"""Procrastinate at work: its real worker beside the source's tally, and who is said to be dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import procrastinate
import pytest
import sqlalchemy as sa

from contract.procrastinate_backend import ProcrastinateOnPostgres
from servers import PostgresServer, wait_until
from tasker_health.errors import ConfigurationError
from tasker_health.model import Facts
from tasker_health.sources.procrastinate import ProcrastinateSource
from tasker_health.work import Cause, Findings
from tasker_health.workers import Beat, RunningTask, Worker, Workers, WorkerState
from tasker_health.workers.engines.procrastinate import attachment_of

PATIENCE = 60


class RefusedError(Exception):
    """What a task fails with here."""


class KnownRoster:
    """A roster that answers what it was given."""

    def __init__(self, workers: Workers | None) -> None:
        self.workers = workers

    async def read(self, _deadline_seconds: float) -> Workers | None:
        """Return it."""
        return self.workers


class NotedLife:
    """A life that notes when it begins and ends."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def begin(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Note it."""
        self.noted.append("begin")
        self.loop = loop

    def end(self) -> None:
        """Note it."""
        self.noted.append("end")


@pytest.fixture
def tables(postgres: PostgresServer) -> ProcrastinateOnPostgres:
    """Procrastinate's tables, as it makes them."""
    return ProcrastinateOnPostgres(postgres)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def source(tables: ProcrastinateOnPostgres, runner: asyncio.Runner) -> Iterator[ProcrastinateSource]:
    """A source whose tally goes on however few jobs there are."""
    source = tables.source(few=-1)
    yield source
    runner.run(source.close())


def app_at(tables: ProcrastinateOnPostgres) -> procrastinate.App:
    """Return an app with tasks that do well, fail once, fail for good, and wait until they are told to go on."""
    url = sa.make_url(tables.url).set(drivername="postgresql").render_as_string(hide_password=False)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=4))

    @app.task(name="well")
    async def well() -> None: ...

    @app.task(name="once", retry=procrastinate.RetryStrategy(max_attempts=2, wait=0), pass_context=True)
    async def once(context: Any) -> None:
        if context.job.attempts == 0:
            raise RefusedError

    @app.task(name="never", retry=procrastinate.RetryStrategy(max_attempts=1, wait=0))
    async def never() -> None:
        raise RefusedError

    @app.task(name="long")
    async def long() -> None:
        await asyncio.Event().wait()

    return app


async def eventually(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Return what *condition* answers as soon as it is true."""
    async with asyncio.timeout(PATIENCE):
        while not (answer := await condition()):
            await asyncio.sleep(0.02)
    return answer


def agreed(tables: ProcrastinateOnPostgres, facts: Facts) -> bool:
    """Whether *facts* are what a recount finds."""
    return tables.differences(facts, tables.raw(), tables.now_ms()) == {}


class TestTally:
    """The tally goes on from one reading to the next, and shows what a recount finds."""

    def test_goes_on_without_counting_everything(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """History after history is folded in; everything was counted once, and verified it does not drift."""
        for number in range(6):
            now_ms = tables.now_ms()
            tables.write(tables.renamed(tables.lively, f"{number}-"), now_ms)
            facts = runner.run(source.read(30))
            assert tables.differences(facts, tables.raw(), now_ms) == {}
        assert source.recounts == 1
        assert runner.run(source.verify(30)) == 0

    def test_waits_for_a_transaction_that_is_open(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """A job whose id is lower than those seen already is counted when it is committed at last."""
        runner.run(source.read(30))
        add = "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'well')"
        with tables.engine.begin() as late:
            late.exec_driver_sql(add)
            tables.execute(add)
            for _ in range(3):
                assert runner.run(source.read(30)).pending == 1
            for status in ("doing", "succeeded"):
                tables.execute(f"UPDATE procrastinate_jobs SET status = '{status}'")
            assert runner.run(source.read(30)).completed == 1
            assert runner.run(source.verify(30)) == 0
        assert runner.run(source.read(30)).pending == 1
        assert agreed(tables, runner.run(source.read(30)))
        assert source.recounts == 1

    def test_sees_what_no_event_tells(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """A job that was set back by hand, rows that were deleted, and a table that was emptied."""
        tables.write(tables.lively, tables.now_ms())
        for statement in (
            "UPDATE procrastinate_jobs SET status = 'todo' WHERE status = 'succeeded'",
            "DELETE FROM procrastinate_jobs WHERE status IN ('failed', 'cancelled')",
            "TRUNCATE procrastinate_jobs CASCADE",
        ):
            assert agreed(tables, runner.run(source.read(30)))
            tables.execute(statement)
            wait_until(lambda: agreed(tables, runner.run(source.read(30))), statement)


class TestWork:
    """What the real worker does is what is told."""

    def test_of_a_worker_is_counted(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """Retries, failures, a cancellation and an abortion: what is read while nothing moves equals a recount."""
        app = app_at(tables)

        async def read() -> Facts:
            facts = await source.read(30)
            assert agreed(tables, facts)
            return facts

        async def work() -> Facts:
            async with app.open_async():
                for name in ("well", "well", "once", "never"):
                    await app.configure_task(name).defer_async()
                cancelled = await app.configure_task("well").defer_async()
                await app.job_manager.cancel_job_by_id_async(cancelled)
                await read()
                await app.run_worker_async(wait=False, install_signal_handlers=False)
                await read()
                aborted = await app.configure_task("long").defer_async()
                options = {"install_signal_handlers": False, "abort_job_polling_interval": 0.05}
                worker = asyncio.create_task(app.run_worker_async(**options))

                async def runs() -> bool:
                    return (await source.read(30)).running == 1

                async def ends() -> bool:
                    return (await source.read(30)).running == 0

                await eventually(runs)
                await read()  # nothing changes while it waits
                await app.job_manager.cancel_job_by_id_async(aborted, abort=True)
                await eventually(ends)
                worker.cancel()
                await asyncio.wait({worker})
                return await read()

        facts = runner.run(work())
        assert facts.tasks_by_state == {"aborted": 1, "cancelled": 1, "failed": 1, "succeeded": 3}
        assert (facts.retries_settled, facts.retries_succeeded) == (2, 1)
        assert (facts.window_completed, facts.window_failed) == (3, 2)

    def test_of_a_worker_is_told_by_its_attachment(self, tables: ProcrastinateOnPostgres, runner: asyncio.Runner):
        """The life begins and ends with the worker; between them it tells id, queues, job and what waits."""
        app, life = app_at(tables), NotedLife()
        attachment = attachment_of(app)
        attachment.attach(life)
        assert life.noted == []
        assert attachment.waiting() is None

        async def work() -> int:
            async with app.open_async():
                job = await app.configure_task("long", lock="one").defer_async()
                await app.configure_task("long", lock="one").defer_async()
                await app.configure_task("well").defer_async()
                await app.configure_task("well", queue="other").defer_async()
                options = {"install_signal_handlers": False, "shutdown_graceful_timeout": 0.05}
                worker = asyncio.create_task(app.run_worker_async(queues=["default"], **options))

                async def runs() -> bool:
                    return attachment.observe().running_count == 1

                await eventually(runs)
                assert life.noted == ["begin"]
                assert life.loop is asyncio.get_running_loop()
                with tables.engine.connect() as connection:
                    known = connection.exec_driver_sql("SELECT id FROM procrastinate_workers").scalar_one()
                assert attachment.identity().owner_id == str(known)
                assert attachment.identity().queues == ("default",)
                assert attachment.observe().running[0].id == str(job)
                assert attachment.observe().running[0].name == "long"
                assert await asyncio.to_thread(attachment.waiting) == 1
                worker.cancel()
                await asyncio.wait({worker}, timeout=PATIENCE)
                return attachment.observe().running_count

        assert runner.run(work()) == 0
        assert life.noted == ["begin", "end"]

    def test_is_refused_of_what_is_no_app(self):
        """Something else is one clear line."""
        with pytest.raises(ConfigurationError, match=r"procrastinate 3\.10"):
            attachment_of(object())


class TestStuck:
    """Whose job stands still, and why."""

    def test_names_the_job_of_a_dead_worker_and_what_it_holds_up(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """A heartbeat of ours says it before Procrastinate's does; both jobs are named with their cause."""
        worker = self._work(tables)
        source.roster = KnownRoster(Workers((self._worker(worker, WorkerState.DEAD),)))
        found = runner.run(source.stuck(30, 10))
        named = {(task.id, task.cause, task.worker, task.state) for task in found.tasks}
        assert named == {
            ("1", Cause.WORKER_DEAD, str(worker), "running"),
            ("2", Cause.NO_WORKER, None, "pending"),
        }
        facts = runner.run(source.read(30))
        assert facts.causes == found.causes
        assert facts.blocked == 2

    def test_a_worker_that_is_busy_is_not_dead(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """Its loop is kept for long, so that Procrastinate's heartbeat stopped, and its row went: ours says more."""
        worker = self._work(tables)
        source.roster = KnownRoster(Workers((self._worker(worker, WorkerState.ALIVE),)))
        for statement in (
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'",
            "DELETE FROM procrastinate_workers",
        ):
            tables.execute(statement)
            found: Findings = runner.run(source.stuck(30, 10))
            assert [(task.id, task.cause) for task in found.tasks] == [("2", Cause.LOCKED)]
        source.roster = KnownRoster(None)
        assert runner.run(source.stuck(30, 10)).causes[Cause.WORKER_DEAD] == 1

    def test_names_no_more_than_it_is_asked_for(
        self, tables: ProcrastinateOnPostgres, source: ProcrastinateSource, runner: asyncio.Runner
    ):
        """All are counted, the oldest are named; what is counted equals the facts."""
        tables.write(tables.lively, tables.now_ms())
        tables.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        facts = runner.run(source.read(30))
        found = runner.run(source.stuck(30, 1))
        assert found.causes == facts.causes
        assert {task.cause for task in found.tasks} == {cause for cause, number in found.causes.items() if number}
        assert len(found.tasks) == len({task.cause for task in found.tasks})

    def _work(self, tables: ProcrastinateOnPostgres) -> int:
        """Let a worker take a job, and another one wait for its lock; return the worker's id."""
        with tables.engine.begin() as connection:
            for _ in range(2):
                connection.exec_driver_sql(
                    "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES ('default', 'long', 'one')"
                )
            worker = connection.exec_driver_sql("SELECT * FROM procrastinate_register_worker_v1()").scalar_one()
            connection.execute(sa.text("SELECT * FROM procrastinate_fetch_job_v2(NULL, :id)"), {"id": worker})
        return worker

    def _worker(self, owner: int, state: WorkerState) -> Worker:
        running = (RunningTask("1", "long", "default", 600.0),)
        beat = Beat(
            worker_id="one",
            engine="procrastinate",
            host="here",
            pid=1,
            period_seconds=0.2,
            owner_id=str(owner),
            running=running,
            running_count=1,
        )
        return Worker(beat, 0.0, 0.0, state)
