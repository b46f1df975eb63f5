"""A bar on the terminal while a run goes on; without a terminal, nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tasker_health.cli.load_test.run import Run

_DRAWN_A_SECOND = 2
_SWITCH_SECONDS = 0.0005


@contextlib.contextmanager
def shown() -> Iterator[Callable[[Run], None]]:
    """Yield what is told of a run before it begins; it is drawn on standard error until the block ends."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda _run: None
        return
    # The bar is drawn by a thread; it gives the interpreter back to the run this soon, in place of after 5 ms.
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        with _Bar(*columns, console=console, transient=True, refresh_per_second=_DRAWN_A_SECOND) as bar:
            yield bar.watch
    finally:
        sys.setswitchinterval(before)


class _Bar(Progress):
    """Looks at the run each time that it is drawn, so that the run never has to tell."""

    _run: Run | None = None

    def watch(self, run: Run) -> None:
        """Draw *run* from now on."""
        plan = run.plan
        total: float = plan.most_requests * len(plan.endpoints)
        if plan.rate is None and plan.requests is None:  # it ends by time
            total = plan.most_seconds
        self._run = run
        self.add_task("", total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, as far as the run has come by now."""
        if self._run is not None and self.tasks:
            plan, records = self._run.plan, self._run.records.values()
            by_time = plan.rate is None and plan.requests is None
            done = sum(record.count for record in records)
            faults = sum(sum(record.faults.values()) for record in records)
            elapsed = self.tasks[0].elapsed or 0.0
            self.tasks[0].completed = elapsed if by_time else done
            self.tasks[0].description = f"{done:,} answers, {faults:,} faults"
        yield from super().get_renderables()
