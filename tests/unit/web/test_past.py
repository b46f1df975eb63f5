"""The endpoint of the history: who may read it, and what it answers."""

from __future__ import annotations

import pytest

from fakes import FakeClock, settings_of
from scraping import answer
from tasker_health.health import Health
from tasker_health.sources import Source
from unit.web.test_endpoints import health_of
from unit.web.test_metrics_access import CALLERS, CODES, TOKEN, Authenticator, Permissions

PATH = "/tasker/health/history"
