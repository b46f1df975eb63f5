"""TLS of `serve`, with real certificates: what is agreed to, rotation, refusals at start, clients that hang."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from certificates import Authority
from served import FREE, served
from server import wait_until

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "tasker_health"]
HALF_OPEN = 1000


@pytest.fixture(scope="module")
def authority():
    """Who signs the certificates of these tests."""
    return Authority()


def files(pair):
    """Return the settings that name the two files of *pair*, paths of a certificate and its key."""
    return {"TASKER_SERVER__TLS_CERTIFICATE_FILE": pair[0], "TASKER_SERVER__TLS_KEY_FILE": pair[1]}


def client_of(authority, **options):
    """Return the context of a client that trusts *authority* and nobody else."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    for name, value in options.items():
        setattr(context, name, value)
    return context


def address_of(server):
    """Return host and port of *server*."""
    url = httpx.URL(server.url)
    return url.host, url.port


@contextlib.contextmanager
def shaken(server, context, name="localhost"):
    """Yield a connection on which both sides have agreed."""
    with (
        socket.create_connection(address_of(server), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        yield connection


def serial_of(server, authority):
    """Return the serial number of the certificate that a new handshake brings."""
    with shaken(server, client_of(authority)) as connection:
        return connection.getpeercert()["serialNumber"]


def get(server, authority, path):
    """Return the answer of *path*, over a connection of its own."""
    return httpx.get(f"{server.url}/{path}", verify=client_of(authority), timeout=PATIENCE_SECONDS)


def run(*arguments, **variables):
    """Return the finished command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**environment, **FREE, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def server(authority, tmp_path_factory):
    """A server with a good certificate, for tests that only ask."""
    with served(**files(authority.pair().write(tmp_path_factory.mktemp("good")))) as running:
        yield running


def test_every_endpoint_is_answered_over_tls(server, authority):
    """The URL says https, probes are answered, the body is that of plain HTTP."""
    assert server.url.startswith("https://127.0.0.1:")
    for path in ("live", "ready", "startup", "status"):
        assert get(server, authority, path).status_code == 200
    assert get(server, authority, "ready").json()["checks"]["configuration"] == {"status": "ok"}


def test_it_agrees_to_tls_1_3_and_to_what_is_sound_of_1_2(server, authority):
    """1.3 where the client can; 1.2 with forward secrecy and authenticated encryption; HTTP/1.1 by ALPN."""
    context = client_of(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with shaken(server, context) as connection:
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    with shaken(server, client_of(authority, maximum_version=ssl.TLSVersion.TLSv1_2)) as connection:
        name, version, _ = connection.cipher()
        assert version == "TLSv1.2"
        assert name.startswith("ECDHE-")
        assert "GCM" in name or "CHACHA20" in name


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        ("TLSv1", "ALL:@SECLEVEL=0"),
        ("TLSv1_1", "ALL:@SECLEVEL=0"),
        ("TLSv1_2", "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384"),  # CBC
        ("TLSv1_2", "AES128-GCM-SHA256:AES256-GCM-SHA384"),  # no forward secrecy
        ("TLSv1_2", "aNULL:@SECLEVEL=0"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_it_does_not_agree_to_what_is_broken(server, authority, version, ciphers):
    """Old versions and weak ciphers: the handshake fails, whatever the client would take."""
    context = client_of(authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers(ciphers)
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as raised, shaken(server, context):
        pass
    # The server has refused, not this client: by an alert, or by hanging up.
    assert re.search("ALERT|EOF|reset", str(raised.value))
    assert get(server, authority, "live").status_code == 200


def test_a_client_that_does_not_trust_it_leaves_and_harms_nobody(server, authority):
    """Its alert ends its own handshake; no line is written."""
    with pytest.raises(ssl.SSLCertVerificationError), shaken(server, ssl.create_default_context()):
        pass
    with pytest.raises(ssl.SSLCertVerificationError), shaken(server, client_of(authority), name="other.example"):
        pass
    assert get(server, authority, "live").status_code == 200
    assert "Error" not in server.log


def swap(folder, pair, version):
    """Put *pair* into *folder* as Kubernetes updates a Secret: a new directory, and one symbolic link renamed."""
    pair.write(folder / f"..{version}")
    link = folder / "..new"
    link.symlink_to(f"..{version}")
    link.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return str(folder / "tls.crt"), str(folder / "tls.key")


def test_a_renewed_certificate_is_used_without_a_restart(authority, tmp_path):
    """Swapped as Kubernetes does and then in place: new handshakes bring the new one, open connections go on."""
    names = swap(tmp_path, authority.pair(), 1)
    with served(**files(names)) as server:
        before = serial_of(server, authority)
        with httpx.Client(verify=client_of(authority), timeout=PATIENCE_SECONDS) as open_before:
            assert open_before.get(f"{server.url}/live").status_code == 200
            swap(tmp_path, authority.pair(), 2)
            second = wait_until(lambda: (now := serial_of(server, authority)) != before and now, "the second is used")
            assert open_before.get(f"{server.url}/live").status_code == 200
        authority.pair().write(tmp_path / "..2")
        wait_until(lambda: serial_of(server, authority) not in {before, second}, "the third is used")
        assert get(server, authority, "ready").json()["checks"]["configuration"] == {"status": "ok"}
        assert server.log.count("has been read again") >= 2


@pytest.mark.parametrize("broken", ["key of another", "no PEM", "gone"])
def test_a_broken_new_pair_changes_nothing_and_is_told(authority, tmp_path, broken):
    """The old one stays in use; one line in the log; `configuration` is degraded/invalid, and ready is 200."""
    names = authority.pair().write(tmp_path / "pair")
    with served(**files(names)) as server:
        before = serial_of(server, authority)
        if broken == "key of another":
            Path(names[1]).write_bytes(authority.pair().key)
        elif broken == "no PEM":
            Path(names[0]).write_text("not a certificate")
        else:
            Path(names[0]).unlink()

        def configuration():
            answer = get(server, authority, "ready")
            return answer.status_code, answer.json()["checks"]["configuration"]

        told = (200, {"status": "degraded", "reason": "invalid"})
        wait_until(lambda: configuration() == told, "it is told")
        assert serial_of(server, authority) == before
        authority.pair().write(tmp_path / "pair")
        wait_until(lambda: configuration() == (200, {"status": "ok"}), "it has healed")
        assert serial_of(server, authority) != before
        assert server.log.count("the certificate is not renewed") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TASKER_SERVER__TLS_KEY_FILE": None}, ["server.tls_key_file = not set", "set both or none"]),
        ({"TASKER_SERVER__TLS_CERTIFICATE_FILE": None}, ["server.tls_certificate_file = not set", "both or none"]),
        ({"TASKER_SERVER__TLS_KEY_FILE": "/nowhere.key"}, ["server.tls_key_file", "/nowhere.key", "No such file"]),
        ({"TASKER_SERVER__TLS_KEY_FILE": "other"}, ["server.tls_key_file", "not the key of the certificate"]),
        ({"TASKER_SERVER__TLS_KEY_FILE": "text"}, ["server.tls_key_file", "no private key as PEM"]),
        ({"TASKER_SERVER__TLS_CERTIFICATE_FILE": "text"}, ["server.tls_certificate_file", "no certificate as PEM"]),
        ({"TASKER_SERVER__TLS_KEY_FILE": "locked"}, ["server.tls_key_password = not set", "encrypted; set it"]),
        (
            {"TASKER_SERVER__TLS_KEY_FILE": "locked", "TASKER_SERVER__TLS_KEY_PASSWORD": "canary-wrong"},
            ["server.tls_key_password = '***'", "encrypted; correct it"],
        ),
        (
            {
                "TASKER_SERVER__TLS_KEY_FILE": None,
                "TASKER_SERVER__TLS_CERTIFICATE_FILE": None,
                "TASKER_SERVER__TLS_KEY_PASSWORD": "canary-alone",
            },
            ["server.tls_key_password = '***'", "opens nothing"],
        ),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_pair_that_cannot_work_ends_both_with_2_and_one_line(authority, tmp_path, change, words, command):
    """The line names the setting and what to do, and no password; nothing is asked at a terminal."""
    names = authority.pair().write(tmp_path / "good")
    made = {
        "other": authority.pair().write(tmp_path / "other")[1],
        "locked": authority.pair(password="canary-right").write(tmp_path / "locked")[1],
        "text": str(tmp_path / "text"),
    }
    Path(made["text"]).write_text("canary: no PEM at all")
    variables = files(names) | {name: made.get(value, value) for name, value in change.items()}
    done = run(command, **{name: value for name, value in variables.items() if value is not None})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    for word in words:
        assert word in done.stderr
    assert "canary" not in done.stderr


def test_an_encrypted_key_opens_with_its_password_from_a_file(authority, tmp_path):
    """As secrets are mounted: `server.tls_key_password` by `..._FILE`; the other two end in it by themselves."""
    names = authority.pair(password="canary-opens").write(tmp_path / "pair")
    (tmp_path / "password").write_text("canary-opens\n")
    with served(**files(names), TASKER_SERVER__TLS_KEY_PASSWORD_FILE=str(tmp_path / "password")) as server:
        assert get(server, authority, "live").status_code == 200
        assert "canary" not in server.log


@pytest.mark.parametrize(("days", "words"), [((-5, -1), "certificate has expired"), ((1, 5), "not yet valid")])
def test_a_certificate_whose_time_it_is_not_is_told_at_start(authority, tmp_path, days, words):
    """It starts, or a clock could keep a fleet down; one line in the log says so, and `configuration` is degraded."""
    names = authority.pair(days=days).write(tmp_path / "pair")
    with served(**files(names)) as server:
        context = client_of(authority, check_hostname=False, verify_mode=ssl.CERT_NONE)
        answer = httpx.get(f"{server.url}/ready", verify=context, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200
        assert answer.json()["checks"]["configuration"] == {"status": "degraded", "reason": "invalid"}
        assert server.log.count(words) >= 1
        assert server.log.count("clients will refuse it") == 1


def test_those_who_do_not_finish_a_handshake_keep_nobody_waiting(server, authority):
    """A thousand who only connect, some who speak plain HTTP or rubbish: others are served, and they are sent away."""
    address = address_of(server)
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    at_first = len(list(descriptors.iterdir()))
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(address, PATIENCE_SECONDS)) for _ in range(HALF_OPEN)]
        for data in (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x40\x00\x01", b"\0" * 999):
            talking = opened.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            talking.sendall(data)
            silent.append(talking)
        began = time.monotonic()
        assert get(server, authority, "live").status_code == 200
        waited = time.monotonic() - began
        assert len(list(descriptors.iterdir())) - at_first < HALF_OPEN / 2, "the oldest make room"
        assert waited < 30  # for the queue before it, on a machine with other work; then nobody waits for anybody
        began = time.monotonic()
        assert get(server, authority, "live").status_code == 200
        assert time.monotonic() - began < 3
        for each in silent:
            with contextlib.suppress(ConnectionResetError):
                answer = each.recv(65536)
                assert b"HTTP" not in answer
    wait_until(lambda: len(list(descriptors.iterdir())) <= at_first + 1, "every one of them is forgotten")
    assert "Error" not in server.log
    assert "WARNING tasker" not in server.log


def test_who_has_shaken_hands_and_sends_nothing_is_sent_away(server, authority):
    """Nothing at all, half a request, or a byte now and then: the connection ends."""
    context = client_of(authority)
    with shaken(server, context) as silent, shaken(server, context) as half:
        half.sendall(b"GET /tasker/health/live HTTP/1.1\r\nHost")
        for each in (silent, half):
            with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
                assert each.recv(100) == b""
        assert get(server, authority, "live").status_code == 200


def test_it_ends_in_time_with_handshakes_half_done(authority, tmp_path):
    """SIGTERM while some have only connected: it ends with 0, and does not wait for them."""
    with served(**files(authority.pair().write(tmp_path / "pair"))) as server, contextlib.ExitStack() as opened:
        for _ in range(5):
            opened.enter_context(socket.create_connection(address_of(server), PATIENCE_SECONDS))
        opened.enter_context(shaken(server, client_of(authority)))
        server.process.terminate()
        assert server.process.wait(4) == 0


def test_the_guard_speaks_plain_http(server):
    """The prober that asks it brings no certificate and gets no secret."""
    url = server.log.split("guard at ")[1].split()[0]
    assert url.startswith("http://")
    wait_until(lambda: httpx.get(f"{url}/ready", timeout=PATIENCE_SECONDS).status_code == 200, "the guard answers")


def test_probe_asks_over_tls(server, authority, tmp_path):
    """It trusts `--ca-file`, wants the name `--server-name`, takes anything with `--insecure`; or it says why not."""
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    url, trusts = f"{server.url}/ready", ["--ca-file", str(tmp_path / "ca.pem")]
    for options in (trusts, [*trusts, "--server-name=localhost"], ["--insecure"]):
        done = run("probe", *options, url)
        assert (done.returncode, done.stdout, done.stderr) == (0, "healthy\n", ""), options
    for options, words in (
        ([], "certificate is refused: unable to get local issuer"),
        ([*trusts, "--server-name", "other.example"], "certificate is refused: Hostname mismatch"),
        (["--ca-file", "/nowhere.pem"], "--ca-file /nowhere.pem: No such file"),
        (["--ca-file", __file__], "no certificate as PEM"),
        (["--insecure=no"], "--insecure: not understood"),
    ):
        done = run("probe", *options, url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert words in done.stderr
    plain = run("probe", url.replace("https:", "http:"))
    assert (plain.returncode, "and not https://?" in plain.stderr) == (2, True), plain.stderr


def test_probe_does_not_wait_longer_than_it_may(authority):
    """One who takes the connection and never shakes hands, and one who does not speak TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        done = run("probe", "--timeout", "0.5", f"https://127.0.0.1:{silent.getsockname()[1]}/")
        assert (done.returncode, "no answer within 0.5 s" in done.stderr) == (2, True)
        assert time.monotonic() - began < 10
    with served() as plain:
        done = run("probe", plain.url.replace("http:", "https:"))
        assert (done.returncode, "does not speak TLS; is it http://?" in done.stderr) == (2, True), done.stderr
