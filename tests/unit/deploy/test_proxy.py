"""What HAProxy and NGINX are both told, and what is refused before anything is written."""

from __future__ import annotations

import os
import re

import pytest

from tasker_health.cli.deploy import app
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.proxy import Proxy, hidden
from tasker_health.errors import ConfigurationError

TARGETS = ["haproxy", "nginx"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TASKER_")]:
        monkeypatch.delenv(name)


def plan(prefix="/tasker"):
    """Return a plan with *prefix*."""
    return Plan("orders", prefix, 8080, 8081, readiness_timeout_seconds=0.8, drain_seconds=10)


@pytest.mark.parametrize("listen", ["80", "65535", "127.0.0.1:8000", "0.0.0.0:80", "[::]:80", "[::1]:8000"])
def test_a_port_with_or_without_an_address_is_a_place_to_listen(listen):
    """Of either family."""
    assert Proxy(listen).listen == listen


@pytest.mark.parametrize(
    "listen",
    [
        *("", "0", "65536", "080", "a", "80 ssl", "80;", ":80", "host:80", "::1:80", "[127.0.0.1]:80", "[::1]"),
        *("[::1%lo]:80", "127.0.0.1:", "127.0.0.1:80\n", "80\n", "٨٠"),
    ],
)
def test_anything_else_is_none(listen):
    """It would be a line of a configuration that somebody else has written."""
    with pytest.raises(ConfigurationError, match=r"--listen .*: a port, or address and port"):
        Proxy(listen)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 86_401, float("nan"), float("inf")])
def test_a_request_has_a_second_to_a_day(seconds):
    """NGINX and HAProxy take 0 as for ever."""
    with pytest.raises(ConfigurationError, match=r"--request-timeout .*: 1 to 86400 seconds"):
        Proxy(request_timeout_seconds=seconds)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("/tasker", (("/tasker/",), ())), ("", (("/health/",), ("/health", "/metrics", "/openapi.json")))],
)
def test_every_endpoint_is_hidden(prefix, expected):
    """Also where they stand beside the application's own paths."""
    assert hidden(plan(prefix)) == expected


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        (["--server", "10.0.0.11"], {}, "--server '10.0.0.11': "),
        (["--server", "a:1", "--server", "a:1"], {}, "--server a:1: named twice"),
        (["--server", "a b:1"], {}, "--server 'a b:1': "),
        (["--server", "a:1\n#"], {}, "--server 'a:1\\n#': "),
        (["--listen", "eighty"], {}, "--listen 'eighty': "),
        (["--request-timeout", "0"], {}, "--request-timeout 0: "),
        ([], {"TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "4"}, "health.readiness_timeout_seconds = 4: less than"),
        ([], {"TASKER_SERVER__DRAIN_SECONDS": "6"}, "server.drain_seconds = 6: more than"),
        ([], {"TASKER_SERVER__PROT": "80"}, "TASKER_SERVER__PROT"),
        ([], {"TASKER_SERVER__TLS_CERTIFICATE_FILE": "c", "TASKER_SERVER__TLS_KEY_FILE": "k"}, "tls_certificate_file"),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, target, options, variables, words):
    """The thing, the value and the remedy; the folder is not even made."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "out"
    with pytest.raises(ConfigurationError, match=re.escape(words)) as caught:
        app([target, *options, "--output", str(folder)], standalone_mode=False)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(("target", "name"), [("haproxy", "haproxy.cfg"), ("nginx", "tasker.conf")])
def test_a_file_that_is_there_is_kept_unless_told_otherwise(tmp_path, target, name):
    """The refusal names it and the way out."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=f"{name}: is there already; .* --force"):
        app([target, "--output", str(tmp_path)], standalone_mode=False)
    assert (tmp_path / name).read_text() == "mine"
    app([target, "--output", str(tmp_path), "--force"], standalone_mode=False)
    assert (tmp_path / name).read_text().startswith("# tasker behind ")
