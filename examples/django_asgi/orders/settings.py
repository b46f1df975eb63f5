"""Settings of the project: as strict as behind a proxy that speaks TLS to the world."""

from __future__ import annotations

import os
import secrets

SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["127.0.0.1", "orders.example"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "orders.urls"
ASGI_APPLICATION = "orders.asgi.application"
USE_TZ = True
