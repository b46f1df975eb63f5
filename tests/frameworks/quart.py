"""Quart."""

from __future__ import annotations

from quart import Quart, request

from frameworks.bare import with_mounted_asgi, wrapped_asgi
from frameworks.healths import MOUNTED, healths, mounted_health
from tasker_health.frameworks import quart as ours


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


def blueprint():
    """`app.register_blueprint(blueprint(health))`."""
    app = application()
    for number, health in enumerate(healths()):
        app.register_blueprint(ours.blueprint(health, name=f"health_{number}"))
    app.register_blueprint(ours.blueprint(mounted_health(), name="mounted"), url_prefix=MOUNTED)
    return app
