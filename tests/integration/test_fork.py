"""A process that has asked its database and is forked then: neither disturbs the other's connection."""

from __future__ import annotations

import subprocess
import sys

import pytest

PATIENCE_SECONDS = 120

_SCENE = """
import json, os, sys
import sqlalchemy as sa
from tasker_health import Health
from tasker_health.settings import Settings

url, sync, query = sys.argv[1:]
settings = Settings.model_validate({
    "database": {"url": url}, "health": {"readiness_max_age_seconds": 0, "readiness_timeout_seconds": 30},
})
health = Health(settings)
skin = health.wsgi()
engine = sa.create_engine(sync, poolclass=sa.NullPool)

def ready():
    started = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/tasker/health/ready/database"}
    body = json.loads(b"".join(skin(environ, lambda *given: started.append(given))))
    assert body["checks"]["database"]["status"] == "ok", body

def connections():
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query).scalars())

others = connections()
ready()
own = connections() - others
assert len(own) == 1, own
child = os.fork()
if child == 0:
    ready()
    new = connections() - others
    assert own < new and len(new) == 2, (own, new)
    ready()
    assert connections() - others == new
    skin.stop()
    os._exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert own <= connections()
ready()
assert own <= connections()
skin.stop()
print("well")
"""

_QUERIES = {
    "postgres": "SELECT pid FROM pg_stat_activity WHERE application_name = 'tasker-health'",
    "mariadb": "SELECT id FROM information_schema.processlist WHERE command = 'Sleep'",
}


@pytest.mark.parametrize("backend", _QUERIES)
def test_the_child_leaves_its_parents_connection_alone(backend, request):
    """It opens one of its own and ends that alone; the parent goes on with the one that it had."""
    from server import sync_url

    server = request.getfixturevalue(backend)
    url = server.new_database()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", _SCENE, url, sync_url(url), _QUERIES[backend]],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
