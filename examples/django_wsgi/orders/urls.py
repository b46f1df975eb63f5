"""The project's URLs, with those of its health."""

from __future__ import annotations

from django.urls import include, path

from orders.views import orders

urlpatterns = [
    path("", include("tasker_health.frameworks.django.urls")),
    path("orders", orders),
]
