"""django-health-check: its view on Django's ASGI application, without any middleware."""

from __future__ import annotations

import django
import sqlalchemy as sa
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

from bench.peers import database_url, serve

_url = sa.make_url(database_url())
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for a benchmark",
    INSTALLED_APPS=["health_check"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _url.host,
            "PORT": _url.port,
            "USER": _url.username,
            "PASSWORD": _url.password,
            "NAME": _url.database,
        }
    },
)
django.setup()

from health_check.views import HealthCheckView  # noqa: E402 -- needs the settings above

urlpatterns = [
    path("live", HealthCheckView.as_view(checks=[])),
    path("ready", HealthCheckView.as_view(checks=["health_check.checks.Database"])),
]

if __name__ == "__main__":
    serve(get_asgi_application())
