"""The protocol: what each method of `grpc.health.v1.Health` answers, and with which code."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from tasker_health.grpc.messages import listed, nothing_requested, requested_service, response
from tasker_health.grpc.services import Services, Serving
from tasker_health.grpc.watchers import Watchers

log = logging.getLogger(__name__)

NAME = "grpc.health.v1.Health"

_MOST_LISTED = 100
"""As the protocol has it: what is more makes `List` fail."""


class Servicer:
    """Answers the calls of one server.

    Args:
        services: Who knows how each service is.
        watchers: Who tells of changes.
    """

    def __init__(self, services: Services, watchers: Watchers) -> None:
        self._services = services
        self._watchers = watchers

    def handler(self) -> Any:
        """Return what a server of `grpc.aio` takes."""
        method = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Check": method(_quietly(self._check), requested_service, response),
                "List": method(_quietly(self._list), nothing_requested, listed),
                "Watch": grpc.unary_stream_rpc_method_handler(_quietly(self._watch), requested_service, response),
            },
        )

    async def _check(self, service: str, context: Any) -> Serving:
        state = await self._services.state(service)
        if state is Serving.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return state

    async def _list(self, _request: None, context: Any) -> dict[str, Serving]:
        names = self._services.names
        if len(names) > _MOST_LISTED:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {_MOST_LISTED} services")
        return await self._services.states(names)

    async def _watch(self, service: str, context: Any) -> None:
        watcher = self._watchers.add(service)
        if watcher is None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watchers")
            return
        try:
            watcher.begin(await self._services.state(service))
            # Each message is waited for until the client takes it; what changes meanwhile is one message.
            while (state := await watcher.next()) is not None:
                await context.write(state)
        finally:
            self._watchers.remove(watcher)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")


def _quietly(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return *method* that tells a client nothing of what goes wrong: grpcio would send the exception's text."""

    async def answer(request: Any, context: Any) -> Any:
        try:
            return await method(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            if context.cancelled() or context.done():  # the client has left, which some awaits tell by raising
                return None
            log.exception("the call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "the answer could not be made; the log says why")

    return answer
