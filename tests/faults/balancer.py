"""The real HAProxy and NGINX, run from what `deploy` renders, and what each of them says of its servers."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import threading
import time

from server import PATIENCE_SECONDS, free_port, missing_part, wait_until
from tasker_health.deploy import haproxy, nginx
from tasker_health.deploy.proxy import Proxy

_LOOK_SECONDS = 0.01


def program(name):
    """Return the path of a Debian program."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        missing_part(f"{name} is not here: apt-get install {name}")
    return found


class Balancer:
    """A balancer at work, watched.

    Attributes:
        port: Where it listens.
        changes: When it took a server out (`False`) or put it back (`True`): moment, the server's port, which.
    """

    def __init__(self, folder, command):
        self.changes: list[tuple[float, int, bool]] = []
        self._over = threading.Event()
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=folder)
        self._watcher = threading.Thread(target=self._watch)
        self._folder = folder
        try:
            wait_until(self._answers, f"{command[0]} answers: {self.log}", PATIENCE_SECONDS)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self._watcher.start()

    @property
    def log(self):
        """What it has written."""
        return (self._folder / "log").read_text(errors="replace")

    def changed(self, port, *, up, since):
        """Return when it took the server at *port* out, or put it back, after *since*; `None`: not yet."""
        return next((at for at, who, what in self.changes if at >= since and who == port and what is up), None)

    def end(self):
        """End it."""
        self._over.set()
        self._watcher.join()
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        self._log.close()

    def _watch(self):
        while not self._over.wait(_LOOK_SECONDS):
            self._look()

    def _look(self):
        raise NotImplementedError

    def _answers(self):
        assert self._process.poll() is None, self.log
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return False
        return True


class Haproxy(Balancer):
    """HAProxy; its own interface says who is in.

    Args:
        folder: Of its own.
        plan: With the period, timeout and thresholds of its questions.
        servers: Behind it.
        request_timeout_seconds: How long it waits for an answer.
        without: A directive whose line is left out, to see HAProxy's default.
    """

    def __init__(self, folder, plan, servers, request_timeout_seconds, *, without=None):
        self.port = free_port()
        self._ports = {each.name: each.port for each in servers}
        self._socket = folder / "socket"
        self._states = dict.fromkeys(self._ports, True)
        proxy = Proxy(f"127.0.0.1:{self.port}", request_timeout_seconds)
        (text,) = haproxy.render(plan, servers, proxy, slow_start_seconds=1).values()
        lines = [line for line in text.splitlines() if without is None or not line.strip().startswith(without)]
        (folder / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        (folder / "admin.cfg").write_text(f"global\n    stats socket {self._socket} mode 600 level admin\n")
        super().__init__(folder, [program("haproxy"), "-db", "-f", "haproxy.cfg", "-f", "admin.cfg"])

    def servers(self):
        """Return what it says of each server, by name."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(b"show stat\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["svname"] in self._ports}

    def _look(self):
        now = time.monotonic()
        for name, row in self.servers().items():
            up = row["status"].startswith("UP")
            if up is not self._states[name]:
                self._states[name] = up
                self.changes.append((now, self._ports[name], up))


class Nginx(Balancer):
    """Open-source NGINX; its error log says whom it leaves out, and its access log whom it tried.

    Args:
        folder: Of its own.
        plan: Whose readiness its `/health` asks.
        servers: Behind it.
        request_timeout_seconds: How long it waits for an answer.
        fail_timeout_seconds: How long it leaves a server out.
    """

    def __init__(self, folder, plan, servers, request_timeout_seconds, fail_timeout_seconds):
        self.port = free_port()
        self._ports = {each.address: each.port for each in servers}
        self._errors = folder / "errors"
        self._read = 0
        proxy = Proxy(f"127.0.0.1:{self.port}", request_timeout_seconds)
        files = nginx.render(plan, servers, proxy, fail_timeout_seconds=fail_timeout_seconds)
        (folder / "site.conf").write_text(*files.values())
        (folder / "nginx.conf").write_text(main_file(folder))
        self._errors.touch()
        super().__init__(folder, [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")])

    def tried(self):
        """Return method, path, code and the servers tried for each request, in the order of their ends."""
        rows = [line.split(" ", 3) for line in (self._folder / "access").read_text().splitlines()]
        return [(method, path, int(code), tried.split(", ")) for method, path, code, tried in rows]

    def _look(self):
        now = time.monotonic()
        text = self._errors.read_text()
        new, self._read = text[self._read :], text.rfind("\n") + 1
        for line in new.splitlines():
            if "temporarily disabled" in line:
                address = line.partition('upstream: "http://')[2].partition("/")[0]
                self.changes.append((now, self._ports[address], False))


def main_file(folder):
    """Return a main file for NGINX that includes `site.conf` and touches nothing outside *folder*."""
    places = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"daemon off;\nworker_processes 2;\npid {folder}/pid;\nerror_log {folder}/errors warn;\n"
        + "events { }\nhttp {\n"
        + "    log_format tried '$request_method $uri $status $upstream_addr';\n"
        + f"    access_log {folder}/access tried;\n{places}    include {folder}/site.conf;\n}}\n"
    )
