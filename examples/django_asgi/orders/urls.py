"""The project's URLs; the health endpoints need none."""

from __future__ import annotations

from django.urls import path

from orders.views import orders

urlpatterns = [path("orders", orders)]
