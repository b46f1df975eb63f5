"""The twin of an endpoint: the same server with the same settings, answering the same bytes from memory.

`python -m bench.constant` reads the answer from the variable `BENCH_ANSWER`: JSON of `headers` (pairs) and `body`.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tasker_health.settings import ServerSettings
from tasker_health.web.server import serve


def app_of(answer: str) -> Any:
    """Return an application that answers every request with the same two messages."""
    known = json.loads(answer)
    headers = [(name.encode(), value.encode()) for name, value in known["headers"]]
    body = known["body"].encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def answer_of(answer: bytes) -> str:
    """Return *answer*, head and body, as `BENCH_ANSWER` wants it, without the headers that the server itself adds."""
    head, _, body = answer.partition(b"\r\n\r\n")
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = [pair for pair in pairs if pair[0].lower() not in {"date", "connection", "server"}]
    return json.dumps({"headers": headers, "body": body.decode()})


if __name__ == "__main__":
    settings = ServerSettings(port=int(os.environ["TASKER_SERVER__PORT"]))
    serve(app_of(os.environ["BENCH_ANSWER"]), settings, access_log=False, announce=lambda _url: None)
