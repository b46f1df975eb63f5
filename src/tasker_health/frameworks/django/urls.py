"""`path("", include("tasker_health.frameworks.django.urls"))`: every path of ours, in whatever spelling."""

from __future__ import annotations

from tasker_health.frameworks.django.apps import installed
from tasker_health.frameworks.django.pattern import ProbePattern

urlpatterns = [ProbePattern(installed().probes)]
