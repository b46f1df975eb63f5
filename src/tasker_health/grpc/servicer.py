"""The protocol: what each method of `grpc.health.v1.Health` answers, and with which code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from tasker_health.grpc.messages import listed, requested_service, response
from tasker_health.grpc.services import Services, Serving
from tasker_health.grpc.watchers import Watchers

log = logging.getLogger(__name__)

NAME = "grpc.health.v1.Health"

_MOST_LISTED = 100
"""As the protocol has it: what is more makes `List` fail."""

_REQUEST_SECONDS = 1.0
"""How long the message of a call may take to follow its headers; who sends none must not hold a place for ever."""


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
        # As streams of messages that are not yet read: grpcio waits for the one message of a unary call without an
        # end, and tells a client the text of what its reader raises.
        unary, streamed = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Check": unary(_quietly(self._check), response_serializer=response),
                "List": unary(_quietly(self._list), response_serializer=listed),
                "Watch": streamed(_quietly(self._watch), response_serializer=response),
            },
        )

    async def _check(self, context: Any) -> Serving:
        service = await _service_asked_for(context)
        state = await self._services.state(service)
        if state is Serving.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return state

    async def _list(self, context: Any) -> dict[str, Serving]:
        await _message(context)
        names = self._services.names
        if len(names) > _MOST_LISTED:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {_MOST_LISTED} services")
        return await self._services.states(names)

    async def _watch(self, context: Any) -> None:
        service = await _service_asked_for(context)
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


async def _message(context: Any) -> bytes:
    """Return the one message of a call; without one, the call ends here."""
    try:
        message = await asyncio.wait_for(context.read(), _REQUEST_SECONDS)
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no request came")
    if message is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request came")
    return bytes(message)


async def _service_asked_for(context: Any) -> str:
    message = await _message(context)
    try:
        return requested_service(message)
    except ValueError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no HealthCheckRequest")
        raise


def _quietly(method: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return *method* that tells a client nothing of what goes wrong: grpcio would send the exception's text."""

    async def answer(_requests: Any, context: Any) -> Any:
        try:
            return await method(context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            if context.cancelled() or context.done():  # the client has left, which some awaits tell by raising
                return None
            log.exception("the call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "the answer could not be made; the log says why")

    return answer
