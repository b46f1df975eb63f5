"""Health in Django by its own idiom: the app, its URLs, its settings, and what middleware does to a probe."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from django_site import GUNICORN, RUNSERVER, UVICORN, processes_in, run, serving, threads_of
from server import wait_until

SAME = str(Path(__file__).with_name("django_same.py"))

WORKER = ["--worker-class", "uvicorn_worker.UvicornWorker", "site_asgi:application"]
GUARDED = {"TASKER_GUARD__ENABLED": "true", "TASKER_SERVER__DRAIN_SECONDS": "0"}


@pytest.mark.parametrize("skin", ["wsgi", "asgi"])
def test_the_urls_answer_as_the_wrapped_form_does(tmp_path, skin):
    """Code, headers and body, in every method, in every spelling, wherever they are included and mounted."""
    assert json.loads(run(tmp_path, SAME, skin)) == []


@pytest.mark.parametrize("words", [[], ["--preload"]], ids=["forked", "loaded before the fork"])
def test_under_gunicorn_each_worker_has_one_of_its_own(tmp_path, words):
    """Made of the environment, begun at first use after the fork: the master has no thread, a worker one of ours."""
    with serving(tmp_path, [*GUNICORN, *words, "site_wsgi:application"]) as site:
        site.begins()
        workers = set()

        def all_have_answered():
            assert site.get("/tasker/health/ready").json()["ready"]
            workers.add(int(site.get("/orders").text))
            return len(workers) == 2 and all(threads_of(worker) == 2 for worker in workers)

        wait_until(all_have_answered, "each worker has a loop of its own")
        assert threads_of(site.process.pid) == 1
    wait_until(lambda: processes_in(tmp_path) == [], "all have ended")


CLOSES = """
import sys
from tasker_health import Health


class Kept:
    name, critical, timeout_seconds = "kept", True, None

    async def __call__(self):
        pass

    async def close(self):
        print("closed what it kept", file=sys.stderr, flush=True)


health = Health()
health.add_check(Kept())
"""


@pytest.mark.parametrize(
    ("words", "number", "closes"),
    [(UVICORN, signal.SIGINT, True), ([*GUNICORN, *WORKER], signal.SIGTERM, False)],
    ids=["uvicorn", "gunicorn"],
)
def test_under_asgi_it_starts_at_first_use_and_stops_with_the_loop(tmp_path, words, number, closes):
    """Though Django's handler knows no lifespan: the guard comes, checks close what they keep, and the guard goes.

    Of SIGTERM uvicorn dies within its loop: then only the guard, which sees that, ends in good order.
    """
    site = {"TASKER_HEALTH": "closing.health"}
    (tmp_path / "closing.py").write_text(CLOSES)
    with serving(tmp_path, words, site, **GUARDED) as served:
        served.begins()
        assert served.guard.get("live") is None
        assert served.becomes("/tasker/health/ready", 200, "kept").json()["ready"]
        served.guard.becomes("ready", 200, "kept")
        served.process.send_signal(number)
        served.process.wait(60)
    wait_until(lambda: served.guard.get("live") is None, "the guard ends")
    assert ("closed what it kept" in served.log) is closes


def test_the_autoreloader_leaks_nothing(tmp_path):
    """`runserver` runs the project in two processes: one has a guard, and after a reload the new one has its port."""
    with serving(tmp_path, RUNSERVER, **GUARDED) as site:
        site.begins()
        before = int(site.get("/orders").text)
        site.becomes("/tasker/health/ready", 200)
        site.guard.becomes("ready", 200)
        urls = tmp_path / "site_urls.py"
        urls.write_text(urls.read_text() + "# changed\n")
        later = time.time() + 10  # its clock for files may count whole seconds
        os.utime(urls, (later, later))
        wait_until(lambda: (answer := site.get("/orders")) and int(answer.text) != before, "it is another process")
        site.becomes("/tasker/health/ready", 200)
        site.guard.becomes("ready", 200)
        assert "cannot" not in site.log
        assert sorted(processes_in(tmp_path)) == sorted([site.process.pid, int(site.get("/orders").text)])
    wait_until(lambda: processes_in(tmp_path) == [] and site.guard.get("live") is None, "nothing is left")


SCENE = """
import asyncio, json
import django

django.setup()
from django.core import mail
from django.test import AsyncClient, Client

SET_UP


def ask(kind, method, path):
    if kind == "wsgi":
        answer = Client(enforce_csrf_checks=True, raise_request_exception=False).generic(method, path)
    else:
        client = AsyncClient(enforce_csrf_checks=True, raise_request_exception=False)
        answer = asyncio.run(client.generic(method, path))
    return [answer.status_code, answer.headers.get("Location", ""), answer.headers.get("Set-Cookie", "")]


rows = ["GET live", "GET ready/ill", "GET live/", "GET nothing", "POST live"]
found = {row: ask(KIND, row.split()[0], "/tasker/health/" + row.split()[1]) for row in rows}
found["orders"] = ask(KIND, "GET", "/orders/nothing")[0]
found["mails"] = [each.subject for each in getattr(mail, "outbox", [])]
print(json.dumps(found))
"""


def probed(folder, kind, site, set_up=""):
    """Return what the project with more settings *site* answers to the rows of the scene."""
    (folder / "strict.py").write_text(STRICT_PY)
    scene = SCENE.replace("KIND", repr(kind)).replace("SET_UP", set_up)
    return json.loads(run(folder, "-c", scene, site=site).splitlines()[-1])


STRICT = {
    "TASKER_HEALTH": "strict.health",
    "DEBUG": False,
    "ADMINS": [["somebody", "somebody@example.invalid"]],
    "DATABASES": {
        "default": {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": 1, "ATOMIC_REQUESTS": True}
    },
    "INSTALLED_APPS": [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "tasker_health.frameworks.django",
    ],
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "MIDDLEWARE": [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ],
}
STRICT_PY = """
from tasker_health import Health

health = Health()
health.check("ill")(lambda: False)
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_djangos_own_middleware_lets_a_probe_through(tmp_path, kind):
    """No slash is appended, no token, login or transaction asked for, no cookie set; nobody gets a mail for a 503."""
    set_up = "from django.test.utils import setup_test_environment; setup_test_environment()"  # mails go to a list
    assert probed(tmp_path, kind, STRICT, set_up) == {
        "GET live": [200, "", ""],
        "GET ready/ill": [503, "", ""],
        "GET live/": [404, "", ""],
        "GET nothing": [404, "", ""],
        "POST live": [405, "", ""],
        "orders": 404,
        "mails": [],
    }


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ({"SECURE_SSL_REDIRECT": True}, [301, "https://testserver/tasker/health/live"]),
        ({"ALLOWED_HOSTS": ["orders.example"], "USE_X_FORWARDED_HOST": False}, [400, ""]),
    ],
    ids=["SECURE_SSL_REDIRECT", "ALLOWED_HOSTS"],
)
def test_middleware_runs_first(tmp_path, kind, site, expected):
    """So a probe by address and over HTTP is redirected or refused, which the page says; wrapped, it is answered."""
    assert probed(tmp_path, kind, STRICT | site)["GET live"][:2] == expected


MISTAKES = {
    "not importable": ({"TASKER_HEALTH": "nowhere.health"}, "TASKER_HEALTH = 'nowhere.health': does not import ("),
    "no such name": ({"TASKER_HEALTH": "site_health.helth"}, "module site_health has no helth; correct the name"),
    "no path": ({"TASKER_HEALTH": "health"}, "TASKER_HEALTH = 'health': allowed: a dotted path"),
    "no string": ({"TASKER_HEALTH": 3}, "TASKER_HEALTH = a int: name a Health, or a function that returns one:"),
    "something else": ({"TASKER_HEALTH": "site_health.number"}, "is or returned a int; name a Health, or a function"),
    "a class": ({"TASKER_HEALTH": "site_health.Health"}, "is a class; name a Health, or a function that returns one"),
    "raises": ({"TASKER_HEALTH": "site_health.breaks"}, "it raised ValueError: no luck; correct it"),
    "checks as a string": ({"TASKER_HEALTH_CHECKS": "system"}, "TASKER_HEALTH_CHECKS = a str: allowed: a list of some"),
    "unknown check": (
        {"TASKER_HEALTH_CHECKS": ["sistem"]},
        "CHECKS = 'sistem': allowed: a list of some of databases, caches,",
    ),
    "not installed": (
        {"INSTALLED_APPS": []},
        "urls: not installed; add 'tasker_health.frameworks.django' to INSTALLED",
    ),
}
MISTAKEN = """
import json, sys
import django

django.setup()
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import clear_url_caches, resolve

found = {}
for name, site in json.loads(sys.argv[1]).items():
    for module in ("site_urls", "tasker_health.frameworks.django.urls"):
        sys.modules.pop(module, None)
    clear_url_caches()
    with override_settings(**site):
        try:
            resolve("/orders")
        except ImproperlyConfigured as error:
            found[name] = str(error)
print(json.dumps(found))
"""


def test_a_mistake_is_one_line_with_the_remedy(tmp_path):
    """Where the URLs are loaded, which is by the first request at the latest."""
    sites = json.dumps({name: site for name, (site, _) in MISTAKES.items()})
    said = json.loads(run(tmp_path, "-c", MISTAKEN, sites))
    assert {name: words for name, (_, words) in MISTAKES.items() if words not in said.get(name, "")} == {}, said
    assert not any("\n" in line for line in said.values())


def test_a_mistake_in_the_environment_is_found_by_manage_py_check(tmp_path):
    """Before a deployment, that is; a Health of the environment is made there too."""
    said = run(tmp_path, "manage.py", "check", check=False, TASKER_SERVER__PROT="80").strip().splitlines()[-1]
    words = "TASKER_SERVER__PROT = '80': unknown name; did you mean port?"
    assert said.startswith(f"django.core.exceptions.ImproperlyConfigured: {words}")


@pytest.mark.parametrize("name", ["health", "made"])
def test_the_health_of_the_project_is_an_object_or_a_function(tmp_path, name):
    """It is made once, and the app has it."""
    script = (
        "import django; django.setup()\n"
        "from django.apps import apps; import site_health, site_urls\n"
        "print(apps.get_app_config('tasker_health').health is site_health.health)"
    )
    assert run(tmp_path, "-c", script, site={"TASKER_HEALTH": f"site_health.{name}"}) == "True"


USER = """
import asyncio
import django

django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client

call_command("migrate", verbosity=0)
root, plain = User.objects.create_superuser("root"), User.objects.create_user("plain")


def code(kind, user):
    client = Client() if kind == "wsgi" else AsyncClient()
    if user:
        client.force_login(user)
    answer = client.get("/tasker/health/status")
    return (asyncio.run(answer) if kind == "asgi" else answer).status_code


print([code(KIND, user) for user in (root, plain, None)])
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_the_user_of_the_projects_middleware_is_who_asks(tmp_path, kind):
    """With the authenticator `django`; nobody is asked to log in by a page."""
    database = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite")}}
    access = {
        "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "django",
        "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
        "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
        "TASKER_AUTH__TIMEOUT_SECONDS": "30",
    }
    site = {**STRICT, "TASKER_HEALTH": None, "DATABASES": database}
    site["INSTALLED_APPS"] = ["tasker_health.frameworks.django", *STRICT["INSTALLED_APPS"][:-1]]
    assert run(tmp_path, "-c", USER.replace("KIND", repr(kind)), site=site, **access) == "[200, 403, 401]"


LOCALE = """
import json, logging, sys
import django
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=sys.modules[__name__], SECRET_KEY="x", USE_I18N=True, APPEND_SLASH=True,
    INSTALLED_APPS=["tasker_health.frameworks.django"],
    MIDDLEWARE=["django.middleware.locale.LocaleMiddleware", "django.middleware.common.CommonMiddleware"],
)
django.setup()
logging.disable(logging.CRITICAL)
urlpatterns = [
    path("", include("tasker_health.frameworks.django.urls")),
    path("<slug:tenant>/", include("tasker_health.frameworks.django.urls")),
    *i18n_patterns(path("<path:slug>", lambda request, slug: HttpResponse("a page"))),
]

from django.test import Client

paths = ["live", "live/", "ready/datbase", "nothing"]
found = [Client().get(f"/tasker/health/{each}").status_code for each in paths]
found += [Client().get("/acme/tasker/health/live").status_code, Client().get("/orders").status_code]
print(json.dumps(found))
"""


def test_no_middleware_redirects_what_is_not_there(tmp_path):
    """A project in several languages with a page for everything has none for a probe that is spelt wrong."""
    (tmp_path / "locale_site.py").write_text(LOCALE)
    assert json.loads(run(tmp_path, "locale_site.py")) == [200, 404, 404, 404, 200, 302]
