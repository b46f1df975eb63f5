"""fast-healthchecks on FastAPI, with its check of PostgreSQL by asyncpg."""

from __future__ import annotations

from fast_healthchecks import Probe
from fast_healthchecks.checks.postgresql.asyncpg import PostgreSQLAsyncPGHealthCheck
from fast_healthchecks.integrations.base import build_probe_route_options
from fast_healthchecks.integrations.fastapi import HealthcheckRouter
from fastapi import FastAPI

from bench.peers import database_url, serve

app = FastAPI()
app.include_router(
    HealthcheckRouter(
        Probe(name="live", checks=[]),
        Probe(name="ready", checks=[PostgreSQLAsyncPGHealthCheck.from_dsn(database_url())]),
        options=build_probe_route_options(prefix="/"),
    )
)

if __name__ == "__main__":
    serve(app)
