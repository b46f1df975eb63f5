"""Quart."""

from __future__ import annotations

from quart import Quart, request

from frameworks.bare import with_mounted_asgi, wrapped_asgi


def application():
    """Return one with a route of its own."""
    app = Quart(__name__)

    @app.route("/orders", methods=["GET", "POST"])
    async def orders():
        return {"method": request.method, "bytes": len(await request.get_data())}

    return app


def asgi():
    """`health.asgi(app)`; Quart mounts nothing."""
    return with_mounted_asgi(wrapped_asgi(application()))
