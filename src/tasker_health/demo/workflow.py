"""The workflow `order`: reserve, charge, ship.

Retries are durable and every attempt shows: an attempt is a step of its own, and the wait before the next one is
DBOS' durable sleep, which goes on where it was when its process died. (The retries that DBOS builds into a step
leave one row, whatever happened.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from dbos import DBOS
from dbos import error as dbos_errors

from tasker_health.demo.ledger import CANCELLED, SHIPPED, Ledger
from tasker_health.demo.orders import ATTEMPTS, Order

Step = Callable[[Order, int], Awaitable[str]]
Workflow = Callable[[Order], Coroutine[Any, Any, str]]


class StepFailed(Exception):  # noqa: N818 -- an outcome of the shop, named as one reads it
    """One attempt of a step failed; it is tried again while attempts are left."""


class OrderFailed(Exception):  # noqa: N818 -- as above
    """An order failed for good."""


def order_workflow(ledger: Ledger) -> Workflow:
    """Register the workflow `order` with DBOS and return it; once in a process, before DBOS is launched."""

    @DBOS.step(name="reserve")
    async def reserve(order: Order, attempt: int) -> str:
        return await _work(order, "reserve", attempt)

    @DBOS.step(name="charge")
    async def charge(order: Order, attempt: int) -> str:
        return await _work(order, "charge", attempt)

    @DBOS.step(name="ship")
    async def ship(order: Order, attempt: int) -> str:
        await _work(order, "ship", attempt)
        return await asyncio.to_thread(ledger.settle, _order_id(), SHIPPED)

    @DBOS.workflow(name="order")
    async def fulfil(order: Order) -> str:
        await _attempted(reserve, order)
        await _attempted(charge, order)
        outcome = await _attempted(ship, order)
        if outcome == CANCELLED:
            # Whoever cancelled may have died between the book and DBOS; then this is what finishes it.
            await DBOS.cancel_workflow_async(_order_id())
        return outcome

    return fulfil


async def _attempted(step: Step, order: Order) -> str:
    """Return what *step* answers, after as many attempts as it takes.

    Raises:
        OrderFailed: The last attempt failed too.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return await step(order, attempt)
        except StepFailed:
            await DBOS.sleep_async(order["backoff_seconds"] * 2 ** (attempt - 1))
    try:
        return await step(order, ATTEMPTS)
    except StepFailed as error:
        raise OrderFailed(str(error)) from None


async def _work(order: Order, name: str, attempt: int) -> str:
    await asyncio.sleep(order["work_seconds"][name])
    if attempt <= order["failures"].get(name, 0):
        raise StepFailed(f"{name}: attempt {attempt} of {ATTEMPTS} failed")
    return "done"


def _order_id() -> str:
    return str(DBOS.workflow_id)


class _NotTheDailyBusiness(logging.Filter):
    """Keeps from DBOS' log orders that fail for good or are cancelled, and a failed launch, which the shop reports."""

    _expected = (StepFailed, OrderFailed, dbos_errors.DBOSAwaitedWorkflowCancelledError)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* tells of anything else."""
        if str(record.msg).startswith("DBOS failed to launch"):
            return False
        return not (record.exc_info and isinstance(record.exc_info[1], self._expected))


def quieten_dbos() -> None:
    """Let DBOS write its errors to this process's log, and only those that are not the demo's daily business."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.ERROR)
    logger.addHandler(logging.NullHandler())  # without a handler it adds its own, in its own format
    logger.addFilter(_NotTheDailyBusiness())
