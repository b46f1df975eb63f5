"""The doctor's first finding names each fault at the edges, and what it says to do makes it green."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import socket
import subprocess
import sys
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

import canary
from faulty_proxy import FaultyProxy
from installation import doctor
from issuer import issuer, jwk
from served import served
from server import free_port, wait_until
from tasker_health.access.hashing import new_token, stored_token

WELL, WARNED, ERRED = 0, 1, 2
TOKEN = canary.watch(new_token())
FREE = {"TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": "0"}
PERMISSION = "tasker.health_status:index"
LOCKED = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
    "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
    "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
    "TASKER_AUTH__ROLES__READER__PERMISSIONS": PERMISSION,
    "TASKER_AUTH__TOKENS__GRAFANA__HASH": stored_token(TOKEN),
    "TASKER_AUTH__TOKENS__GRAFANA__ROLES": "reader",
}
LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
while True:
    listener.accept()[0].close()
"""
JWT = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "jwt",
    "TASKER_AUTH__JWT__ISSUER": "https://issuer.example",
    "TASKER_AUTH__JWT__AUDIENCE": "tasker",
}


@pytest.fixture
def look(capsys, monkeypatch):
    """Return what runs the doctor in this process and answers code and report."""
    return lambda variables, *arguments: doctor(capsys, monkeypatch, {**FREE, **variables}, *arguments)


@pytest.fixture
def ports():
    """Settings with two free ports."""
    return {"TASKER_SERVER__PORT": str(free_port()), "TASKER_GUARD__PORT": str(free_port())}


def found(looked, part, what, code=ERRED):
    """Return the remedy of the first finding, which must be of *part* and *what*, the only one of its gravity."""
    got, report = looked
    first = report["findings"][0]
    assert (first["part"], first["what"], got) == (part, what, code), report["findings"][:4]
    assert sum(each["verdict"] == first["verdict"] for each in report["findings"]) == 1, report["findings"][:4]
    return first


def well(looked):
    """Nothing is to be changed any more."""
    code, report = looked
    assert code == WELL, report["findings"][:4]


@pytest.fixture
def intruder():
    """Return what starts another program that listens on a port."""
    programs = []

    def start(port):
        programs.append(subprocess.Popen([sys.executable, "-S", "-c", LISTEN, str(port)], stdout=subprocess.PIPE))
        assert programs[-1].stdout.readline()
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.wait()
        program.stdout.close()


def ended(program, remedy):
    """Carry out a remedy that says which process to end."""
    assert int(re.search(r"process (\d+)", remedy).group(1)) == program.pid, remedy
    program.kill()
    program.wait()


class Fault(NamedTuple):
    """Settings that cannot work, what is found, and what the remedy makes of them.

    Attributes:
        name: What is wrong.
        wrong: The settings.
        part, what, words: Of the first finding, and some of what was measured.
        remedy: Words of it that are carried out.
        right: What that changes; an empty value takes the setting away.
        code: The exit code.
        trouble: Which of the guide's it is.
    """

    name: str
    wrong: dict[str, str]
    part: str
    what: str
    words: str
    remedy: str
    right: dict[str, str]
    code: int = ERRED
    trouble: str = "authorization errors"


DEAD = f"127.0.0.1:{free_port()}"
FAULTS = [
    Fault(
        "a role without the status",
        {**LOCKED, "TASKER_AUTH__ROLES__READER__PERMISSIONS": "orders:read"},
        *("access", "auth.roles.reader", "auth.tokens.grafana"),
        f"TASKER_AUTH__ROLES__READER__PERMISSIONS=orders:read,{PERMISSION}",
        {"TASKER_AUTH__ROLES__READER__PERMISSIONS": f"orders:read,{PERMISSION}"},
    ),
    Fault(
        "a coordinator that does not import",
        {**LOCKED, "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "nowhere:Coordinator"},
        *("access", "auth.authorization_coordinator_class", "nowhere", ""),
        {"TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles"},
    ),
    Fault(
        "nobody can be known",
        {"TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true", "TASKER_AUTH__AUTHENTICATION_ENABLED": "true"},
        *("access", "auth.authentication_enabled", "true", "needs auth.authenticator_class"),
        {
            "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
            "TASKER_AUTH__TOKENS__GRAFANA__HASH": LOCKED["TASKER_AUTH__TOKENS__GRAFANA__HASH"],
        },
    ),
    Fault(
        "a token that has ended",
        {**LOCKED, "TASKER_AUTH__TOKENS__GRAFANA__EXPIRES": "2026-01-01T00:00:00Z"},
        *("access", "auth.tokens.grafana", "has expired", "tasker-health token create grafana"),
        {"TASKER_AUTH__TOKENS__GRAFANA__EXPIRES": f"{dt.datetime.now(dt.UTC).year + 1}-12-31T00:00:00Z"},
        WARNED,
    ),
    Fault(
        "a status for everybody",
        {"TASKER_SERVER__HOST": "0.0.0.0"},
        *("access", "status", "for everybody who reaches 0.0.0.0", "server.host = 127.0.0.1"),
        {"TASKER_SERVER__HOST": "127.0.0.1"},
        WARNED,
    ),
    Fault(
        "a host of another machine",
        {"TASKER_SERVER__HOST": "192.0.2.1", "TASKER_SERVER__PORT": str(free_port()), **LOCKED},
        *("ports", "server.host", "Cannot assign requested address", "name an address of this machine"),
        {"TASKER_SERVER__HOST": "127.0.0.1"},
        trouble="",
    ),
    Fault(
        "a webhook that is away",
        {
            "TASKER_ALERTS__WEBHOOKS__OPS__URL": f"http://{DEAD}/hook",
            "TASKER_ALERTS__WEBHOOKS__OPS__SIGNING_KEY": canary.secret("hook"),
        },
        *("exporters", "webhook ops", "refused", "put alerts.webhooks.ops.url right"),
        {"TASKER_ALERTS__WEBHOOKS__OPS__URL": "", "TASKER_ALERTS__WEBHOOKS__OPS__SIGNING_KEY": ""},
        WARNED,
        "",
    ),
    Fault(
        "a collector that is away",
        {
            "TASKER_EXPORTERS__OPENTELEMETRY__ENABLED": "true",
            "TASKER_EXPORTERS__OPENTELEMETRY__ENDPOINT": f"http://{DEAD}",
        },
        *("exporters", "opentelemetry", "refused", "put exporters.opentelemetry.endpoint right"),
        {"TASKER_EXPORTERS__OPENTELEMETRY__ENABLED": "false"},
        WARNED,
        "",
    ),
    Fault(
        "an Agent that is away",
        {
            "TASKER_EXPORTERS__DATADOG__ENABLED": "true",
            "TASKER_EXPORTERS__DATADOG__ADDRESS": "unix:///nowhere/dsd.socket",
        },
        *("exporters", "datadog", "unreachable", "put exporters.datadog.address right"),
        {"TASKER_EXPORTERS__DATADOG__ADDRESS": "127.0.0.1:8125"},
        WARNED,
        "",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_of_the_settings_is_found_first_and_mended_as_it_says(fault, look):
    """Named by part and setting, with a remedy that makes the doctor green when it is carried out."""
    first = found(look(fault.wrong), fault.part, fault.what, fault.code)
    assert fault.words in first["measured"], first
    assert fault.remedy in first["remedy"], first
    assert first["trouble"] == fault.trouble
    well(look({name: value for name, value in {**fault.wrong, **fault.right}.items() if value}))


def test_keys_that_cannot_be_fetched_are_named_and_well_when_their_server_is_back(look, tmp_path):
    """Nobody is at fault but whom the setting names: once it listens again, there is nothing to change."""
    with issuer(tmp_path) as (running, authority), FaultyProxy(urlsplit(running.url).port) as proxy:
        running.serve(jwk("RS256", "one"))
        away = urlsplit(running.url)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        wrong = {**JWT, "TASKER_AUTH__JWT__JWKS_URL": away, "TASKER_AUTH__JWT__JWKS_CA_FILE": authority}
        wrong["TASKER_AUTH__TIMEOUT_SECONDS"] = "30"
        proxy.set("refuse")
        first = found(look(wrong), "access", "auth.jwt.jwks_url")
        assert "no keys to verify tokens with" in first["measured"]
        assert "see to it that auth.jwt.jwks_url can be read" in first["remedy"]
        assert first["trouble"] == "authorization errors"
        assert running.fetches == 0
        proxy.set("pass")
        well(look(wrong))
        assert running.fetches


def test_a_token_file_that_cannot_be_read_is_named(look, tmp_path):
    """With the variable and the file; once it is there, all is well."""
    file = tmp_path / "hash"
    wrong = {**LOCKED, "TASKER_AUTH__TOKENS__GRAFANA__HASH_FILE": str(file)}
    del wrong["TASKER_AUTH__TOKENS__GRAFANA__HASH"]
    first = found(look(wrong), "settings", "TASKER_AUTH__TOKENS__GRAFANA__HASH_FILE")
    assert str(file) in first["measured"]
    file.write_text(stored_token(TOKEN))
    well(look(wrong))


def test_a_port_that_another_program_has_is_named_with_the_program(look, ports, intruder):
    """Its number is in the remedy; once it has ended, the port is free."""
    program = intruder(ports["TASKER_SERVER__PORT"])
    first = found(look(ports), "ports", "server.port")
    assert "taken by python" in first["measured"]
    ended(program, first["remedy"])
    well(look(ports))


def test_a_server_and_a_guard_at_one_port_are_told(look, ports):
    """The variable of the remedy chooses another one."""
    ports["TASKER_GUARD__PORT"] = ports["TASKER_SERVER__PORT"]
    first = found(look(ports), "ports", "guard.port")
    variable = re.search(r"choose another with (\w+)", first["remedy"]).group(1)
    well(look({**ports, variable: str(free_port())}))


def test_a_running_service_has_its_ports_and_a_guard_that_hangs_is_killed(look, ports):
    """What has the ports is known as the service; a stopped guard takes connections and says nothing."""
    with served(**ports):
        code, report = look(ports)
        assert (code, _row(report, "ports", "server.port")["verdict"]) == (WELL, "ok"), report["findings"][:3]
        assert "this service has it" in _row(report, "ports", "guard.port")["measured"]
        pid = int(re.search(r"process (\d+)", _row(report, "guard", "guard")["measured"]).group(1))
        os.kill(pid, signal.SIGSTOP)
        first = found(look(ports), "guard", "guard")
        assert f"kill -KILL {pid}:" in first["remedy"]
        os.kill(pid, signal.SIGKILL)
        well(look(ports))


def test_a_guard_that_was_killed_and_whose_port_is_gone_comes_back_when_that_is_free(look, ports, intruder):
    """The application starts another guard, but cannot where another program was quicker."""
    with served(**ports) as service:
        pid = int(re.search(r"process (\d+)", _row(look(ports)[1], "guard", "guard")["measured"]).group(1))
        os.kill(service.process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        _wait_until_free(int(ports["TASKER_GUARD__PORT"]))
        program = intruder(ports["TASKER_GUARD__PORT"])
        os.kill(service.process.pid, signal.SIGCONT)
        wait_until(lambda: "cannot be started again yet" in service.log, "the guard cannot come back")
        ended(program, found(look(ports), "ports", "guard.port")["remedy"])
        well(look(ports))


def test_an_application_whose_loop_is_blocked_is_told_by_its_guard(look, ports):
    """By the heartbeat, with the process to restart; what is started in its place is well."""
    with served(**ports) as service:
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: _guard_code(ports) == "503", "the guard has noticed")
            first = found(look(ports, "--part", "ports", "--part", "guard", "--part", "service"), "guard", "heartbeat")
            assert f"restart process {service.process.pid};" in first["remedy"]
            assert "stalled" in first["measured"]
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
    with served(**ports):
        well(look(ports))


MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {{name: orders}}
spec:
  terminationGracePeriodSeconds: 60
  containers:
    - name: app
      image: orders
      env:
        - {{name: TASKER_SERVER__HOST, value: {host}}}
        - {{name: TASKER_SERVER__DRAIN_SECONDS, value: "20"}}
        - {{name: TASKER_SERVER__PORT, value: "8080"}}
        - {{name: TASKER_GUARD__PORT, value: "8081"}}
      startupProbe: {{httpGet: {{path: /tasker/health/startup, port: 8081}}, periodSeconds: 2, failureThreshold: 60}}
      livenessProbe:
        {{httpGet: {{path: /tasker/health/live, port: 8081}}, periodSeconds: 9, timeoutSeconds: 2, failureThreshold: 3}}
      readinessProbe:
        httpGet: {{path: /tasker/health/ready, port: {port}}}
        periodSeconds: 5
        timeoutSeconds: {seconds}
        failureThreshold: 3
"""


@pytest.mark.parametrize(
    ("rule", "wrong", "more"),
    [
        ("timeout-deadline", {}, {"TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "3"}),
        ("unknown-port", {"port": "9999"}, {}),
        ("loopback", {"host": "127.0.0.1"}, {}),
    ],
)
def test_a_manifest_whose_probes_cannot_succeed_is_an_error(rule, wrong, more, look, tmp_path):
    """The prober gives up first, asks where nobody listens, or at an address that nobody outside reaches."""
    right = {"host": "0.0.0.0", "port": "8081", "seconds": "2"}
    file = tmp_path / "pod.yaml"
    file.write_text(MANIFEST.format(**{**right, **wrong}))
    code, report = look(more, "--manifest", str(file))
    first = report["findings"][0]
    assert (code, first["part"], rule in first["measured"]) == (ERRED, "probes", True), report["findings"][:4]
    assert str(file) in first["what"]
    file.write_text(MANIFEST.format(**{**right, "seconds": "4" if more else "2"}))
    well(look(more, "--manifest", str(file)))


def _row(report, part, what):
    return next(each for each in report["findings"] if (each["part"], each["what"]) == (part, what))


def _wait_until_free(port):
    def is_free():
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", port)) != 0

    wait_until(is_free, "the port is free")


def _guard_code(ports):
    with socket.create_connection(("127.0.0.1", int(ports["TASKER_GUARD__PORT"])), 10) as line:
        line.sendall(b"GET /tasker/health/ready HTTP/1.0\r\n\r\n")
        return line.recv(64).split(b" ")[1].decode()
