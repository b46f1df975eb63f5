"""The ASGI application, with the health endpoints before all of Django."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders.settings")

django_application = get_asgi_application()

from orders.health import health  # noqa: E402 -- Django is set up first

application = health.asgi(django_application)
