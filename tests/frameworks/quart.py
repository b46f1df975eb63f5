"""Quart."""

from __future__ import annotations

import gzip

from quart import Quart, abort, redirect, request

from frameworks import hostile
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


def hostile_asgi():
    """Both forms behind and before what Quart offers."""
    app = application()

    @app.before_request
    async def hostile_before():
        kind = request.headers.get(hostile.HEADER)
        await hostile.sleep_or_raise_on_a_loop(kind)
        if request.host != hostile.HOST:
            abort(400)
        if kind == hostile.ASK:
            abort(401)
        return redirect(f"https://{hostile.HOST}/") if kind == hostile.REDIRECT else None

    @app.after_request
    async def hostile_after(response):
        response.set_cookie("session", "x")
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.set_data(gzip.compress(await response.get_data(as_text=False)))
            response.headers["Content-Encoding"] = "gzip"
        return response

    app.register_blueprint(ours.blueprint(hostile.inner()))
    return hostile.outer().asgi(app)
