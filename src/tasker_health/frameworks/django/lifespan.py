"""Start and stop where the server's lifespan does not come through: Django's ASGI handler refuses it."""

from __future__ import annotations

import asyncio
import logging

from tasker_health.web.asgi import AsgiSkin

log = logging.getLogger(__name__)


class Lifespan:
    """Starts *skin* at first use, and stops it when the event loop ends.

    Whoever ends an event loop in good order (`asyncio.run` does) cancels the tasks that are left, and waits for them.
    A process that dies in its loop (of SIGTERM uvicorn does, and granian's workers do) closes what it has by that, and
    the guard, whose lifeline it holds, ends by itself.
    """

    def __init__(self, skin: AsgiSkin) -> None:
        self._skin = skin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start on the running event loop, unless that was done."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._task = loop, loop.create_task(self._last())

    async def _last(self) -> None:
        try:
            await self._skin.begin()
        except Exception as error:  # noqa: BLE001 -- the application's own requests do not fail for us
            log.error("the start has failed: %s", error)  # noqa: TRY400 -- the line says it all
        await _until_cancelled()
        await self._skin.end()


async def _until_cancelled() -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
