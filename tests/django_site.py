"""A real Django project in a folder of its own, under the servers that people use."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

import canary
from beside import Beside, settings
from server import free_port, wait_until

PATIENCE_SECONDS = 60

SETTINGS_PY = """
import json, os

SECRET_KEY = "of a test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "site_urls"
WSGI_APPLICATION = "site_wsgi.application"
INSTALLED_APPS = ["tasker_health.frameworks.django"]
ALLOWED_HOSTS = ["*"]
globals().update(json.loads(os.environ.get("SITE", "{}")))
"""

FILES = {
    "site_settings.py": SETTINGS_PY,
    "site_urls.py": """
import os
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("", include("tasker_health.frameworks.django.urls")),
    path("orders", lambda request: HttpResponse(str(os.getpid()))),
]
""",
    "site_wsgi.py": "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n",
    "site_asgi.py": "from django.core.asgi import get_asgi_application\n\napplication = get_asgi_application()\n",
    "site_health.py": """
from tasker_health import Health

health = Health()
health.check("well")(lambda: None)
number = 1


def made():
    return health


def breaks():
    raise ValueError("no luck")
""",
    "manage.py": """
import sys
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
""",
}

GUNICORN = ["-m", "gunicorn", "--no-control-socket", "--workers", "2", "--bind", "127.0.0.1:PORT"]
UVICORN = ["-m", "uvicorn", "--port", "PORT", "site_asgi:application"]
RUNSERVER = ["manage.py", "runserver", "--skip-checks", "PORT"]


def write(folder):
    """Write the project into *folder*."""
    for name, content in FILES.items():
        (folder / name).write_text(content)


def environment_of(site, **variables):
    """Return the environment of a process of the project with more settings *site*."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "DJANGO_"))}
    own = {"DJANGO_SETTINGS_MODULE": "site_settings", "SITE": json.dumps(site), "PYTHONUNBUFFERED": "1"}
    return {**clean, **own, **variables}


def run(folder, *words, site=None, check=True, **variables):
    """Return what a Python process with *words* prints, with the project and the tests on its path."""
    if not (folder / "manage.py").exists():
        write(folder)
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env=environment_of(site or {}, **{"PYTHONPATH": f"{folder}:{tests}", **variables}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    canary.look("what a process of the project printed", done.stdout, done.stderr)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout.strip() if check else done.stdout + done.stderr


class Site:
    """The project under a server.

    Attributes:
        guard: What stands beside it, if it is asked for.
        url: Its own.
    """

    def __init__(self, folder, words, site, **variables):
        self.folder = folder
        self._log = folder / "log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.guard = Beside(free_port())
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(word.replace("PORT", str(port)) for word in words)],
                cwd=folder,
                env=environment_of(site, **settings(self.guard, **variables)),
                stdout=log,
                stderr=log,
            )

    @property
    def log(self):
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def get(self, path, **options):
        """Return the answer over a new connection, or `None` while nobody listens."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=PATIENCE_SECONDS, **options)
        except httpx.TransportError:
            return None

    def begins(self):
        """Wait until it serves."""
        wait_until(lambda: self.process.poll() is not None or self.get("/orders"), f"it serves: {self.log[-2000:]}")
        assert self.process.poll() is None, self.log

    def becomes(self, path, code, words=""):
        """Wait until *path* is answered with *code* and *words*, and return the answer."""

        def there():
            answer = self.get(path)
            return answer if answer is not None and answer.status_code == code and words in answer.text else None

        return wait_until(there, f"{path} is answered with {code} {words}: {self.log[-2000:]}", PATIENCE_SECONDS)


@contextlib.contextmanager
def serving(folder, words, site=None, **variables):
    """Serve the project until the block ends."""
    if not (folder / "manage.py").exists():
        write(folder)
    served = Site(folder, words, site or {}, **variables)
    try:
        yield served
    finally:
        served.process.terminate()
        try:
            served.process.wait(PATIENCE_SECONDS)
        finally:
            served.process.kill()
            served.process.wait()
        canary.look("the log of the project", served.log)


def threads_of(pid):
    """Return how many threads process *pid* has."""
    return int(re.search(r"^Threads:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1))


def processes_in(folder):
    """Return the process ids of those that run in *folder*, but guards."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = (entry / "cwd").readlink() == folder
            if here and b"guard.process" not in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
