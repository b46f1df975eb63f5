"""Joins an executor of DBOS 3.4: the process that launches it, from `DBOS.launch()` to `DBOS.destroy()`.

DBOS tells nobody when it is launched or what it runs (its alert handler is Conductor's, its spans need a tracer). So
these two class methods are wrapped, and the one context in which each workflow runs, however it was begun.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.workers.attachment import Identity, Life, Work
from tasker_health.workers.engines.dbos_queues import DbosQueues
from tasker_health.workers.record import WorkRecord

_NEEDED = ("launch", "destroy", "executor_id", "application_version")
_ENTERS, _LEAVES = "__enter__", "__exit__"


class DbosAttachment:
    """Tells when DBOS is launched and destroyed in this process, and which workflows run in it.

    Args:
        dbos: The class, or the one instance of it.
    """

    engine = "dbos"

    def __init__(self, dbos: Any) -> None:
        self._class: Any = dbos if isinstance(dbos, type) else type(dbos)
        self._record = WorkRecord()
        self._queues = DbosQueues()

    def attach(self, life: Life) -> None:
        """Have *life* begin when DBOS is launched, at once if it is, and end when it is destroyed."""
        self._follow_workflows()
        launches, destroys = self._class.launch, self._class.destroy

        def launch(_cls: Any) -> None:
            launches()
            # The loop of DBOS runs async workflows: one that computes in it is busy, so its turns are not watched.
            life.begin()

        def destroy(_cls: Any, /, **options: Any) -> None:
            try:
                destroys(**options)
            finally:
                life.end()

        self._class.launch = classmethod(launch)
        self._class.destroy = classmethod(destroy)
        if self._queues.is_launched():
            life.begin()

    def identity(self) -> Identity:
        """Return what DBOS writes beside the workflows that it has, and the queues that it listens to."""
        return Identity(
            version=self._class.application_version or None,
            queues=self._queues.listened(),
            owner_id=self._class.executor_id or None,
        )

    def observe(self) -> Work:
        """Return which workflows run here."""
        return self._record.work()

    def waiting(self) -> int | None:
        """Return how many workflows it could take from its queues now; `None`: the database does not say."""
        try:
            return self._queues.ready(self._class.application_version)
        except Exception:  # noqa: BLE001 -- whatever a driver or a server says: it cannot be known
            return None

    def _follow_workflows(self) -> None:
        """Have the beginning and the end of each workflow noted; one that raises has failed."""
        from dbos import _context

        kind: Any = _context.EnterDBOSWorkflow
        enters: Callable[..., Any] = getattr(kind, _ENTERS)
        leaves: Callable[..., Any] = getattr(kind, _LEAVES)
        record = self._record

        def enter(entered: Any) -> Any:
            context = enters(entered)
            told = entered.attributes
            record.begin(entered, context.workflow_id, str(told.get("name") or "?"), told.get("queueName"))
            return context

        def leave(entered: Any, kind: Any, error: Any, trace: Any) -> Any:
            record.end(entered, failed=kind is not None)
            return leaves(entered, kind, error, trace)

        setattr(kind, _ENTERS, enter)
        setattr(kind, _LEAVES, leave)


def attachment_of(it: Any) -> DbosAttachment:
    """Return what joins *it*: the class `DBOS` or its instance.

    Raises:
        ConfigurationError: It is no DBOS that is known.
    """
    from dbos import _context

    kind = it if isinstance(it, type) else type(it)
    context = getattr(_context, "EnterDBOSWorkflow", None)
    is_known = all(hasattr(kind, name) for name in _NEEDED) and "attributes" in getattr(
        getattr(context, "__init__", None), "__annotations__", {}
    )
    if not is_known:
        raise ConfigurationError("health.worker: this is no DBOS that is known; hand over `DBOS` of dbos 3.4")
    return DbosAttachment(it)
