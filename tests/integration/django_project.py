"""A real Django project in a folder of its own: users, groups and sessions in SQLite, asked through both skins.

Run as a program: the first argument is a folder, the second the scene, the rest its own. It prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

from fakes import settings_of
from tasker_health.access import PERMISSION
from tasker_health.health import Health

OLD_KEY, KEY = "old" * 20, "new" * 20


def configure(folder, **changes):
    """Configure Django and make its tables."""
    settings.configure(
        SECRET_KEY=KEY,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        **changes,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = ""


def users():
    """Make one user of each kind and return them by name."""
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType

    kind = ContentType.objects.create(app_label="tasker", model="health_status")
    permission = Permission.objects.create(codename="health_status:index", name="read", content_type=kind)
    made = {name: User.objects.create_user(name, password=name) for name in ("plain", "permitted", "role", "group")}
    made["inactive"] = User.objects.create_user("inactive", is_active=False, is_superuser=True)
    made["root"] = User.objects.create_superuser("root")
    made["permitted"].user_permissions.add(permission)
    made["role"].groups.add(Group.objects.create(name="reader"))
    allowed = Group.objects.create(name="allowed")
    allowed.permissions.add(permission)
    made["group"].groups.add(allowed)
    return made


def log_in(user):
    """Return the cookie of a new session of *user*."""
    from importlib import import_module

    from django.contrib.auth import login
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return request.session.session_key


def health_of():
    """Return a health behind Django's users."""
    return Health(
        settings_of(
            auth={
                "authentication_enabled": True,
                "authenticator_class": "django",
                "authorization_enabled": True,
                "authorization_coordinator_class": "roles",
                "roles": {"reader": {"permissions": PERMISSION}},
                "failures_per_minute": 1000,
                "timeout_seconds": 30,
            },
            health={"status_requires_authentication": True, "readiness_timeout_seconds": 30},
        )
    )


class Asker:
    """Asks both skins of two equal objects and wants one answer."""

    def __init__(self):
        self.wsgi = health_of().wsgi()
        self.asgi = health_of().asgi()
        self.runner = asyncio.Runner()

    def __call__(self, *cookies, path="health/status", handed=None):
        """Return the code for *cookies*, each a header of its own."""
        code = self.runner.run(self._asgi(cookies, path, handed))
        if len(cookies) < 2:
            started = []
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/tasker/{path}", "REMOTE_ADDR": "127.0.0.1"}
            environ |= {"HTTP_COOKIE": cookies[0]} if cookies else {}
            environ |= {"django.request": handed} if handed is not None else {}
            b"".join(self.wsgi(environ, lambda *given: started.append(given)))
            assert int(started[0][0].split()[0]) == code, (started, code)
        return code

    async def _asgi(self, cookies, path, handed):
        codes = []

        async def send(message):
            codes.append(message.get("status"))

        headers = [(b"cookie", cookie.encode("latin-1")) for cookie in cookies]
        scope = {"type": "http", "method": "GET", "path": f"/tasker/{path}", "headers": headers, "client": None}
        if handed is not None:
            scope["django.request"] = handed
        await self.asgi(scope, None, send)
        return codes[0]

    def end(self):
        """End it."""
        self.wsgi.stop()
        self.runner.close()


def scene_users(ask):
    """Who may, by name."""
    made = users()
    found = {name: ask(f"sessionid={log_in(user)}") for name, user in made.items()}
    found["nobody"] = ask()
    found["empty"] = ask("sessionid=")
    found["other cookies"] = ask("csrftoken=a; theme=dark")
    found["unknown"] = ask("sessionid=" + "a" * 32)
    key = log_in(made["root"])
    found["among others"] = ask(f"a=b; sessionid={key}; c=d")
    found["split"] = ask("a=b", f"sessionid={key}")
    found["same twice"] = ask(f"sessionid={key}; sessionid={key}")
    found["two"] = ask(f"sessionid={key}; sessionid=" + "a" * 32)
    found["two headers"] = ask(f"sessionid={key}", "sessionid=" + "a" * 32)
    found["quoted"] = ask(f'sessionid="{key}"')
    found["live"] = ask(path="health/live")
    return found


def scene_anonymous_session(ask):
    """A visitor with a session and no user."""
    from importlib import import_module

    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session["basket"] = 1
    session.save()
    return ask(f"sessionid={session.session_key}")


def scene_ended(ask):
    """Sessions that are good no more: expired, of a deleted user, from before a new password."""
    from django.contrib.sessions.models import Session

    made = users()
    expired, deleted, changed = (log_in(made[name]) for name in ("root", "permitted", "role"))
    store = Session.objects.get(session_key=expired)
    store.expire_date = store.expire_date.replace(year=2001)
    store.save()
    made["permitted"].delete()
    made["role"].set_password("another")
    made["role"].save()
    before = sorted(Session.objects.values_list())
    found = {"expired": ask(f"sessionid={expired}"), "deleted": ask(f"sessionid={deleted}")}
    found["changed"] = ask(f"sessionid={changed}")
    found["unchanged"] = sorted(Session.objects.values_list()) == before
    return found


def scene_rotated(ask):
    """A session from before the secret key was changed is good while the old one is a fallback; nothing is written."""
    from django.contrib.sessions.models import Session
    from django.test import override_settings

    made = users()
    with override_settings(SECRET_KEY=OLD_KEY):
        key = log_in(made["root"])
    refused = ask(f"sessionid={key}")
    with override_settings(SECRET_KEY_FALLBACKS=[OLD_KEY]):
        before = sorted(Session.objects.values_list())
        codes = [ask(f"sessionid={key}") for _ in range(2)]
        return {"codes": codes, "unchanged": sorted(Session.objects.values_list()) == before, "without": refused}


def scene_malformed(ask):
    """Keys that a store could break on; none is an error of ours."""
    from tasker_health.access.django import DjangoAuthenticator

    keys, look = [], DjangoAuthenticator._user_of

    def noted(self, key):
        keys.append(key)
        return look(self, key)

    DjangoAuthenticator._user_of = noted
    letters = ["\x00" * 32, "a b", "\xe9" * 32, "a" * 5000, "../" * 20, "'; DROP TABLE x; --", "\x7f", "%00", "{}"]
    codes = sorted({ask(f"sessionid={each}") for each in letters})
    return {"codes": codes, "asked": sorted({key for key in keys if len(key) < 1000})}


def scene_handed(ask):
    """Django's own request, as a view of the project hands it over, wins over the cookie."""
    from django.contrib.auth.models import AnonymousUser
    from django.http import HttpRequest

    made = users()

    def request_of(user):
        request = HttpRequest()
        request.user = user
        return request

    key = log_in(made["root"])
    found = {name: ask(handed=request_of(made[name])) for name in ("root", "plain", "permitted")}
    found["nobody"] = ask(f"sessionid={key}", handed=request_of(AnonymousUser()))
    found["no middleware"] = ask(handed=HttpRequest())
    return found


def scene_own_user(ask):
    """A user object that has the two methods answers for itself; the event loop asks no database for it."""
    from django.contrib.auth.models import User

    asked = []

    def admin(self):
        asked.append(threading.current_thread().name)
        return False

    User.tasker_admin = admin
    User.has_tasker_permission = lambda self, permission: permission == PERMISSION and self.has_perm(permission)
    made = users()
    found = {name: ask(f"sessionid={log_in(made[name])}") for name in ("plain", "permitted")}
    return {**found, "first asked in": asked[0]}


def scene_connections(ask):
    """No descriptor is left open, however often it is asked."""
    made = users()
    cookie = f"sessionid={log_in(made['root'])}"
    counts = []
    for _ in range(3):
        for _ in range(10):
            assert ask(cookie) == 200
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    return counts[-1] - counts[0]


def scene_database_away(ask):
    """A database that cannot be asked is a 500, and nobody is let in."""
    made = users()
    key = log_in(made["root"])
    from django.db import connection

    connection.cursor().execute("DROP TABLE django_session")
    return ask(f"sessionid={key}")


def main():
    """Play one scene."""
    folder, scene, *more = sys.argv[1:]
    engine = more[0] if more else "db"
    cache = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    configure(
        folder, SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", CACHES=cache, SESSION_FILE_PATH=folder
    )
    ask = Asker()
    found = globals()[f"scene_{scene}"](ask)
    ask.end()
    print(json.dumps(found))  # noqa: T201 -- what the test reads


if __name__ == "__main__":
    main()
