"""Flask."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

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
