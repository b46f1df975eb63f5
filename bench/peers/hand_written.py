"""A route of one's own: FastAPI, and `SELECT 1` on a connection of SQLAlchemy's pool."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from bench.peers import database_url, serve

app = FastAPI()
engine = create_async_engine(sa.make_url(database_url()).set(drivername="postgresql+asyncpg"))


@app.get("/live")
async def live() -> dict[str, bool]:
    """Answer that the process lives."""
    return {"alive": True}


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Answer that the database does."""
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT 1"))
    return {"ready": True}


if __name__ == "__main__":
    serve(app)
