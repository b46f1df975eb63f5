"""Settings of the project."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
INSTALLED_APPS = ["tasker_health.frameworks.django"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "orders.urls"
WSGI_APPLICATION = "orders.wsgi.application"
USE_TZ = True
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": Path(tempfile.gettempdir()) / "tasker-health-example-orders",
    }
}

TASKER_HEALTH = "orders.health.health"
TASKER_HEALTH_CHECKS = ["caches", "system"]
