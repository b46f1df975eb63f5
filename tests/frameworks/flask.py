"""Flask."""

from __future__ import annotations

import gzip

from flask import Flask, abort, redirect, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from frameworks import hostile
from frameworks.bare import wrapped_wsgi
from frameworks.healths import MOUNTED, healths, mounted_health
from tasker_health.frameworks import flask as ours


def application():
    """Return one with a route of its own."""
    app = Flask(__name__)

    @app.route("/orders", methods=["GET", "POST"])
    def orders():
        return {"method": request.method, "bytes": len(request.get_data())}

    return app


def wsgi():
    """`app.wsgi_app = health.wsgi(app.wsgi_app)`."""
    app = application()
    app.wsgi_app = wrapped_wsgi(app.wsgi_app)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {MOUNTED: mounted_health().wsgi()})
    return app


def blueprint():
    """`app.register_blueprint(blueprint(health))`."""
    app = application()
    for number, health in enumerate(healths()):
        app.register_blueprint(ours.blueprint(health, name=f"health_{number}"))
    app.register_blueprint(ours.blueprint(mounted_health(), name="mounted"), url_prefix=MOUNTED)
    return app


def hostile_wsgi():
    """Both forms behind and before what Flask offers."""
    app = application()
    app.config["TRUSTED_HOSTS"] = [hostile.HOST]

    @app.before_request
    def hostile_before():
        kind = request.headers.get(hostile.HEADER)
        hostile.sleep_or_raise(kind)
        if kind == hostile.ASK:
            abort(401)
        return redirect(f"https://{hostile.HOST}/") if kind == hostile.REDIRECT else None

    @app.after_request
    def hostile_after(response):
        response.set_cookie("session", "x")
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.set_data(gzip.compress(response.get_data()))
            response.headers["Content-Encoding"] = "gzip"
        return response

    app.register_blueprint(ours.blueprint(hostile.inner()))
    app.wsgi_app = hostile.outer().wsgi(app.wsgi_app)
    return app
