"""Asks by Django's own test clients, in a process of its own: Django is set up once in each."""

from __future__ import annotations

import asyncio
import sys

import django
from django.conf import settings
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import re_path

from tasker_health import Health
from tasker_health.testing import FakeCheck, HealthClient, assert_not_ready, assert_ready, settings_of

check = FakeCheck("database")
health = Health(settings_of(health={"readiness_max_age_seconds": 0}))
health.add_check(check)
inner = HealthClient(health)


def view(request):
    """Answer what the health answers."""
    found = inner.get(request.path)
    return HttpResponse(found.content, status=found.status_code, content_type="application/json")


urlpatterns = [re_path("^tasker/", view)]

if __name__ == "__main__":
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
    django.setup()
    assert_ready(Client())
    asyncio.run(assert_ready(AsyncClient()))
    check.fail("refused")
    assert_not_ready(Client(), failed=["database"])
    asyncio.run(assert_not_ready(AsyncClient(), failed=["database"]))
    try:
        assert_ready(Client())
    except AssertionError as error:
        sys.stdout.write(str(error).partition("\n")[0])
    inner.close()
