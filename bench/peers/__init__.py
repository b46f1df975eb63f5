"""What a user would pick today, each served as its documentation says, on the server that ours runs on.

`python -m bench.peers.<name>` listens on `TASKER_SERVER__PORT` and checks the PostgreSQL at `BENCH_DATABASE_URL`;
`/live` checks nothing, `/ready` the database.
"""

from __future__ import annotations

import os
from typing import Any


def database_url() -> str:
    """Return the URL of the database that readiness checks."""
    return os.environ["BENCH_DATABASE_URL"]


def serve(app: Any) -> None:
    """Serve *app* until SIGTERM, with the fastest of uvicorn's parts and no access log, as ours is."""
    import uvicorn

    port = int(os.environ["TASKER_SERVER__PORT"])
    uvicorn.run(
        app, host="127.0.0.1", port=port, http="httptools", loop="uvloop", access_log=False, log_level="warning"
    )
