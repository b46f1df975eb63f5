"""fastapi-healthchecks, with its check of PostgreSQL."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_healthchecks.api.router import HealthcheckRouter, Probe
from fastapi_healthchecks.checks.postgres import PostgreSqlCheck

from bench.peers import database_url, serve

app = FastAPI()
app.include_router(
    HealthcheckRouter(
        Probe(name="live", checks=[]),
        Probe(name="ready", checks=[PostgreSqlCheck.from_url(database_url())]),
    )
)

if __name__ == "__main__":
    serve(app)
