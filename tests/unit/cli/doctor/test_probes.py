"""`doctor probes` on servers that misbehave, and on settings that no prober can live with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl

import pytest

from certificates import Authority
from fakes import settings_of
from loop import in_loop
from server import free_port
from tasker_health.cli.doctor import probes as doctor_probes
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.probes import examine_probes, look, visited
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.probe_asking import ask
from tasker_health.loading import Origins, load_settings

READY = b"HTTP/1.1 200 OK\r\n\r\n{}"
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: orders}
spec:
  containers:
    - name: app
      image: orders
      readinessProbe: {httpGet: {path: /tasker/health/ready, port: 8081}, periodSeconds: 3}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("TASKER_", "KUBERNETES_"))]:
        monkeypatch.delenv(name)


@contextlib.asynccontextmanager
async def serving(answers, tls=None):
    """Answer by the last word of the path with the bytes of *answers*; `None`: hang. Yield the port."""
    ended = asyncio.Event()

    async def answer(reader, writer):
        path = (await reader.readline()).split(b" ")[1].decode()
        reply = answers[path.rpartition("/")[2]]
        if reply is None:
            await ended.wait()
        with contextlib.suppress(ConnectionError):
            writer.write(reply or b"")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        ended.set()


def rows(findings):
    """Return the verdict and what was measured, by name."""
    return {each.what: (each.verdict, each.measured) for each in findings}


@in_loop
async def test_each_endpoint_is_asked_within_its_probers_time():
    """Well, not ready, stalled, hung, another program: each is told from the others, side by side in 3 s at most."""
    well = {"live": READY, "ready": READY, "startup": READY}
    ill = {"live": b"HTTP/1.1 503 No\r\n\r\n", "ready": b"HTTP/1.1 503 No\r\n\r\n", "startup": b"SSH-2.0-OpenSSH\r\n"}
    async with serving(well) as one, serving(ill) as other:
        settings = settings_of(server={"port": one}, guard={"port": other, "enabled": True})
        found = rows(await look(settings))
    assert {found[f"server: {each}"][0] for each in well} == {Verdict.OK}
    assert found["guard: live"][0] is Verdict.WARNING
    assert found["guard: ready"][0] is Verdict.NOTE
    assert found["guard: startup"] == (Verdict.WARNING, "no HTTP is spoken there")


@in_loop
async def test_who_hangs_and_who_is_not_there():
    """A hung endpoint costs its prober's patience and is told; where nobody listens is one row."""
    async with serving({"live": None, "ready": READY, "startup": b"HTTP/1.1 404 No\r\n\r\n"}) as port:
        settings = settings_of(server={"port": port}, guard={"port": free_port(), "enabled": True})
        found = rows(await look(settings))
    assert found["server: live"] == (Verdict.WARNING, "no answer within 1 s")
    assert found["server: ready"][0] is Verdict.OK
    assert found["server: startup"][0] is Verdict.WARNING
    assert found["guard"][0] is Verdict.UNKNOWN
    assert "refused" in found["guard"][1]


@in_loop
async def test_a_certificate_is_not_verified(tmp_path):
    """As a kubelet asks: TLS where the settings say so, whoever has signed it."""
    certificate, key = Authority().pair().write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving({"live": READY}, context) as port:
        assert (await ask("0.0.0.0", port, "/live", 30, secure=True)).status == 200
        assert (await ask("127.0.0.1", port, "/live", 30, secure=False)).status is None


def found_of(monkeypatch, files=(), in_container=False, **settings):
    """Return the rows that are told of *settings*, and the code."""
    told = []
    monkeypatch.setattr(doctor_probes, "is_in_container", lambda: in_container)
    monkeypatch.setattr(doctor_probes, "tell", lambda findings, **_: told.extend(findings) or 0)
    variables = {"TASKER_SERVER__PORT": str(free_port()), **settings}
    code = examine_probes(lambda more: load_settings(None, {**variables, **more}), files, as_json=False)
    return {each.what: each for each in told}, code


@pytest.mark.parametrize(
    ("name", "value", "what", "verdict"),
    [
        ("TASKER_HEALTH__READINESS_TIMEOUT_SECONDS", "0.9", "deadline", Verdict.OK),
        ("TASKER_HEALTH__READINESS_TIMEOUT_SECONDS", "1", "deadline", Verdict.NOTE),
        ("TASKER_HEALTH__READINESS_TIMEOUT_SECONDS", "3", "deadline", Verdict.WARNING),
        ("TASKER_SERVER__DRAIN_SECONDS", "16", "drain", Verdict.OK),
        ("TASKER_SERVER__DRAIN_SECONDS", "15", "drain", Verdict.WARNING),
        ("TASKER_SERVER__DRAIN_SECONDS", "0", "drain", Verdict.WARNING),
        ("TASKER_SERVER__PREFIX", "/tasker", "drain", Verdict.NOTE),
        ("TASKER_GUARD__ENABLED", "false", "guard", Verdict.NOTE),
    ],
)
def test_figures_are_held_against_what_probers_do(monkeypatch, name, value, what, verdict):
    """The kubelet's default of 1 s, the guide's 3 s, and 5 s x 3 until a drain is noticed."""
    found, _ = found_of(monkeypatch, **{name: value})
    assert found[what].verdict is verdict


def test_a_loopback_address_is_a_finding_where_others_ask(monkeypatch):
    """In a container it is; on a laptop it is a note; an address that can be reached is well."""
    found, _ = found_of(monkeypatch, in_container=True)
    assert found["address of server"].verdict is found["address of guard"].verdict is Verdict.WARNING
    assert "TASKER_GUARD__HOST" in found["address of guard"].remedy
    found, _ = found_of(monkeypatch)
    assert found["address of server"].verdict is Verdict.NOTE
    found, _ = found_of(monkeypatch, in_container=True, TASKER_SERVER__HOST="0.0.0.0")
    assert found["address of server"].verdict is found["address of guard"].verdict is Verdict.OK


def test_the_manifests_that_are_given_are_judged_too(monkeypatch, tmp_path, capsys):
    """A loopback bind under an `httpGet` probe is told with its line; what sets the address there ends that."""
    (tmp_path / "pod.yaml").write_text(MANIFEST)
    found, code = found_of(monkeypatch, [str(tmp_path / "pod.yaml")])
    (fault,) = [each for what, each in found.items() if what.startswith(str(tmp_path))]
    assert (fault.verdict, fault.what) == (Verdict.WARNING, f"{tmp_path}/pod.yaml:8")
    assert "loopback" in fault.measured
    assert code == 0
    bound = MANIFEST.replace("image: orders", "image: orders\n      env: [{name: TASKER_SERVER__HOST, value: 0.0.0.0}]")
    (tmp_path / "pod.yaml").write_text(bound)
    found, _ = found_of(monkeypatch, [str(tmp_path / "pod.yaml")])
    assert not [what for what in found if what.startswith(str(tmp_path))]
    (tmp_path / "notes").write_text("milk")
    _, code = found_of(monkeypatch, [str(tmp_path / "notes")])
    assert code == 2
    assert "of no kind" in capsys.readouterr().err


def walked(*manifests, **health):
    """Return what the walk finds with *manifests*."""
    visit = Visit(settings_of(health=health), Origins(), manifests=tuple(map(str, manifests)))
    return asyncio.run(visited(visit))


def test_the_walk_tells_a_manifest_that_cannot_be_read_first(tmp_path):
    """One that is not there, and one that is none; each is an error that names its file."""
    (tmp_path / "notes").write_text("milk")
    found = walked(tmp_path / "absent.yaml", tmp_path / "notes")
    assert [each.verdict for each in found[:2]] == [Verdict.ERROR] * 2
    assert str(tmp_path / "absent.yaml") in found[0].measured
    assert str(tmp_path / "notes") in found[1].measured


def test_the_walk_calls_an_error_what_no_probe_gets_its_answer_against(tmp_path):
    """A loopback bind, where a container asks; without manifests nobody is known who waits less."""
    (tmp_path / "pod.yaml").write_text(MANIFEST)
    (fault,) = [each for each in walked(tmp_path / "pod.yaml") if each.verdict is Verdict.ERROR]
    assert (fault.what, fault.measured.partition(":")[0]) == (f"{tmp_path}/pod.yaml:8", "loopback")
    deadline = rows(walked(readiness_timeout_seconds=4))["deadline"]
    assert deadline[0] is Verdict.NOTE
