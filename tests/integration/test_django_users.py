"""Django's own users and sessions, in a real project with its real tables, behind both skins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_SECONDS = 120
TESTS = Path(__file__).parents[1]
PROJECT = Path(__file__).with_name("django_project.py")


def run(*words, cwd, **variables):
    """Return how a Python process with *words* has ended."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *words],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(TESTS), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def play(folder, scene, *more):
    """Return what *scene* of the project has found."""
    done = run(str(PROJECT), str(folder), scene, *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file"])
def test_who_may_read_the_status(tmp_path, engine):
    """Superusers, those with the permission, by themselves or by a group, and members of a group named as a role."""
    assert play(tmp_path, "users", engine) == {
        "plain": 403,
        "permitted": 200,
        "role": 200,
        "group": 200,
        "inactive": 401,
        "root": 200,
        "nobody": 401,
        "empty": 401,
        "other cookies": 401,
        "unknown": 401,
        "among others": 200,
        "split": 200,
        "same twice": 200,
        "two": 401,
        "two headers": 401,
        "quoted": 200,
        "live": 200,
    }


def test_sessions_in_signed_cookies_are_read_too(tmp_path):
    """Where the cookie is the session, and longer than a key."""
    found = play(tmp_path, "users", "signed_cookies")
    assert {name: found[name] for name in ("root", "plain", "nobody", "unknown")} == {
        "root": 200,
        "plain": 403,
        "nobody": 401,
        "unknown": 401,
    }


def test_a_session_without_a_user_is_nobodys(tmp_path):
    """A visitor with a basket is told to log in, not that his credentials are wrong."""
    assert play(tmp_path, "anonymous_session") == 401


def test_a_session_that_has_ended_lets_nobody_in_and_nothing_is_written(tmp_path):
    """Expired, its user deleted, or from before a new password; its row stays as it was."""
    assert play(tmp_path, "ended") == {"expired": 401, "deleted": 401, "changed": 401, "unchanged": True}


def test_a_session_under_an_old_secret_key_stays_the_users(tmp_path):
    """Django gives it a new name there; from a probe the browser would never hear of that, and be logged out."""
    assert play(tmp_path, "rotated") == {"codes": [200, 200], "unchanged": True, "without": 401}


@pytest.mark.parametrize("engine", ["db", "cache", "file", "signed_cookies"])
def test_malformed_keys_are_no_error_of_ours(tmp_path, engine):
    """Whatever the store would say to them: it is shown only what is printable, without blanks, and not too long."""
    assert play(tmp_path, "malformed", engine) == {"codes": [401], "asked": ["%00", "'", "../" * 20, "{}"]}


def test_a_request_of_djangos_is_taken_before_the_cookie(tmp_path):
    """Its user is who asks; without Django's middleware it fails closed."""
    expected = {"root": 200, "plain": 403, "permitted": 200, "nobody": 401, "no middleware": 500}
    assert play(tmp_path, "handed") == expected


def test_a_user_object_with_the_two_methods_answers_for_itself(tmp_path):
    """It is asked in a thread first, where Django may look up what it needs."""
    found = play(tmp_path, "own_user")
    assert found == {"plain": 403, "permitted": 200, "first asked in": "tasker-health-authenticator"}


def test_no_connection_is_left_open(tmp_path):
    """Each thread closes its own."""
    assert play(tmp_path, "connections") <= 0


def test_a_database_that_cannot_be_asked_fails_closed(tmp_path):
    """A 500 without data."""
    assert play(tmp_path, "database_away") == 500


_MAKE = """
from fakes import settings_of
from tasker_health import ConfigurationError
from tasker_health.health import Health
try:
    Health(settings_of(auth={"authenticator_class": "django"}))
except ConfigurationError as error:
    print(error)
else:
    print("made")
"""

_APPS = "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth']\nSECRET_KEY = 'x'\nUSE_TZ = True\n"


@pytest.mark.parametrize(
    ("content", "module", "words"),
    [
        (None, "", "Django is not configured"),
        (None, "nowhere.settings", "does not load"),
        ("INSTALLED_APPS = []\nSECRET_KEY = 'x'", "project", "no users"),
        (f"{_APPS}SESSION_ENGINE = 'no.engine'", "project", "SESSION_ENGINE"),
        (f"{_APPS}INSTALLED_APPS += ['django.contrib.sessions']", "project", "made"),
    ],
)
def test_a_project_that_cannot_say_who_asks_does_not_start(tmp_path, content, module, words):
    """The error names the remedy; a project that can is loaded without its own `django.setup()`."""
    if content is not None:
        (tmp_path / "project.py").write_text(content)
    variables = {"DJANGO_SETTINGS_MODULE": module} if module else {}
    done = run("-c", f"import sys; sys.path.insert(0, '.')\n{_MAKE}", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
