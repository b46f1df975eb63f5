"""`deploy check` as a user types it, on what is no manifest, on bombs, and on everything that our own targets write."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import threading
import time

import pytest
from typer.main import get_command

import canary
from command import run
from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.check import settings_with
from tasker_health.deploy.inspection.reading import inspect, is_known

DRAIN = {"TASKER_GUARD__PORT": "8081", "TASKER_SERVER__DRAIN_SECONDS": "20"}
TARGETS = sorted(each.name or each.callback.__name__ for each in app.registered_commands if each.callback)
TARGETS = [name for name in TARGETS if name != "check"]

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: orders}
spec:
  containers:
    - name: app
      image: orders
      readinessProbe:
        httpGet: {path: /tasker/health/live, port: 8081}
        periodSeconds: 5
"""
LIST = f"apiVersion: v1\nkind: List\nitems:\n  - {POD.replace(chr(10), chr(10) + '    ')}\n"
CRON = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
            - {name: app, image: tasker-health, env: [{name: TASKER_SERVER__PORT, value: none}]}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TASKER_")]:
        monkeypatch.delenv(name)


def check(*files):
    """Return what is found in *files* with the settings of the environment."""
    return inspect([str(file) for file in files], settings_with(None))


def test_a_line_for_each_fault_and_the_code_1(tmp_path):
    """File, line, rule, thing, value and remedy; `--except` leaves rules out, `--json` says the same in fields."""
    (tmp_path / "pod.yaml").write_text(POD)
    done = run("deploy", "check", str(tmp_path / "pod.yaml"), **DRAIN)
    assert done.returncode == 1
    path, loopback = done.stdout.splitlines()
    assert path == (
        f"{tmp_path}/pod.yaml:9: readiness-path: app readinessProbe.path = /tasker/health/live:"
        " it does not say whether requests can be served; ask /tasker/health/ready"
    )
    assert "loopback" in loopback
    assert done.stderr == ""
    options = ("--json", "--except", "loopback")
    told = run("deploy", "check", "-", *options, input=POD, **DRAIN)
    assert told.returncode == 1
    (row,) = json.loads(told.stdout)
    assert row == {
        "file": "standard input",
        "line": 9,
        "rule": "readiness-path",
        "thing": "app readinessProbe.path",
        "value": "/tasker/health/live",
        "remedy": "it does not say whether requests can be served; ask /tasker/health/ready",
    }
    assert (tmp_path / "pod.yaml").read_text() == POD


def test_nothing_wrong_is_the_code_0_and_what_cannot_be_read_the_code_2(tmp_path):
    """What can be read is judged all the same, and one line says which file is of no known kind."""
    good = POD.replace("live", "ready").replace(
        "image: orders", "image: orders\n      env: [{name: TASKER_SERVER__HOST}]"
    )
    (tmp_path / "pod.yaml").write_text(good)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    done = run("deploy", "check", str(tmp_path / "pod.yaml"), **DRAIN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run("deploy", "check", str(tmp_path / "pod.yaml"), str(tmp_path / "notes.txt"), **DRAIN)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f"{tmp_path}/notes.txt: of no kind that is known; known are Kubernetes, compose, Dockerfile" in line
    for words in (("--except", "typo", "-"), ("-", "--config", str(tmp_path / "none.toml"))):
        done = run("deploy", "check", *words, input=good)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no kind"),
        ("just text\n", "no kind"),
        ("[server]\nport = 8080\n", "no kind"),
        ("a: 1\nb: 2\n", "no kind"),
        ("kind: [1\nb: 2\n", ":2: not YAML"),
        ("kind: Pod\napiVersion: v1\nspec: {{ .Values.spec }}\nx: {{ template }\n", "helm template"),
        ("kind: \x00\n", ":1: not YAML"),
        ("kind: *nobody\n", ":1: not YAML"),
        ("kind: &a [*a]\n", ":1: not YAML: an anchor holds itself"),
        ("kind: " + "[" * 5000, "deeper"),
        ("{a: " * 5000, "deeper"),
        ("http { server {\n", "brace is missing"),
        ("http { } }\n", "brace too many"),
        ("http " + "{ a " * 500, "brace"),
    ],
)
def test_what_is_no_manifest_is_said_in_one_line(text, words, tmp_path):
    """With the place where it is known, and no traceback."""
    (tmp_path / "file").write_text(text)
    found = check(tmp_path / "file")
    assert found.faults == []
    (line,) = found.unread
    assert words in line
    assert "\n" not in line


def test_files_that_cannot_be_read_are_named(tmp_path):
    """One that is not there, a folder, bytes that are no text, one that is too large."""
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00\x80")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(9 << 20)
    for file in (tmp_path / "none", tmp_path, tmp_path / "image", tmp_path / "large"):
        (line,) = check(file).unread
        assert line.startswith(f"{file}: ")


def test_nothing_is_waited_for_that_nobody_writes(tmp_path):
    """A pipe without another end is one line; what a shell hands over as `<(helm template ...)` is read to its end."""
    os.mkfifo(tmp_path / "pipe")
    (line,) = check(tmp_path / "pipe").unread
    assert line.endswith("/pipe: a pipe into which nobody writes; name a file that can be read")
    reading, writing = os.pipe()
    writer = threading.Timer(0.1, lambda: (os.write(writing, POD.encode()), os.close(writing)))
    writer.start()
    try:
        assert check(f"/dev/fd/{reading}").faults
    finally:
        writer.join()
        os.close(reading)


def test_a_closed_standard_input_and_a_name_of_two_lines_are_one_line():
    """No fault of ours, and nothing that looks like another line."""
    done = run(
        "deploy", "check", "-", command=["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "tasker_health"]
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard input: is closed" in done.stderr
    (line,) = check("no\nfile").unread
    assert line == "no?file: No such file or directory; name a file that can be read"


@pytest.mark.parametrize(
    "text",
    [
        "-\n" * 1_000_000,
        " \n" * 1_000_000,
        "user x ;" + "${" * 1_000_000,
        "server { " + "a;" * 1_000_000 + "}",
        "server { " + "".join(f"a{n} x;" for n in range(80_000)) + "location / { proxy_pass http://x; }" * 40_000 + "}",
        "backend a\n  server a b:1 " + "x " * 1_000_000,
        "backend a\n" + "  server a b:1 check\n" * 60_000,
        "defaults\n" + "  timeout check 1s\n" * 50_000 + "backend b\n" * 100_000,
        "backend a\n  default-server " + "x y z " * 100_000 + "\n" + "  server a b:1 check\n" * 20_000,
        "FROM a AS b\n" + "".join(f"ENV A{n}=1\n" for n in range(50_000)) + "FROM b AS b\n" * 100_000,
        "[Service]\n" + "Environment=A=b\n" * 200_000,
    ],
    ids=range(11),
)
def test_a_text_costs_what_its_length_does(text, tmp_path):
    """Whatever is repeated in it."""
    (tmp_path / "file").write_text(text)
    began = time.process_time()
    check(tmp_path / "file")
    assert time.process_time() - began < 10


def test_a_bomb_costs_what_its_text_costs(tmp_path):
    """Ten anchors, each ten times the one before: a hundred thousand million values, none of which is written out."""
    rows = ["a0: &a0 {kind: Pod, apiVersion: v1}"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    rows += ["kind: List", "apiVersion: v1", "items: *a10", "<<: *a0"]
    merge = ["x0: &x0 {k0: 1}"]
    merge += [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}" for n in range(1, 11)]
    nested = ["l0: &l0 {kind: List, items: []}"]
    nested += [
        f"l{n}: &l{n} {{kind: List, apiVersion: v1, items: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 11)
    ]
    nested += ["kind: List", "apiVersion: v1", "items: [*l10]"]
    wide = [f"k: &k {{{', '.join(f'k{n}: 1' for n in range(20_000))}}}"]
    wide += [f"m{n}: {{<<: *k}}" for n in range(20_000)]
    began = time.process_time()
    (tmp_path / "bomb.yaml").write_text("\n".join(["kind: x", *wide]))
    assert "more than a manifest" in check(tmp_path / "bomb.yaml").unread[0]
    for lines in (rows, merge, nested):
        (tmp_path / "bomb.yaml").write_text("\n".join(lines) + "\n")
        assert check(tmp_path / "bomb.yaml").faults == []
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (POD, {"readiness-path", "loopback", "drain-short"}),
        (LIST, {"readiness-path", "loopback", "drain-short"}),
        (f"---\n{POD}---\n{CRON}", {"setting-invalid", "readiness-path", "loopback", "drain-short"}),
        (f"---\nkind: Service\napiVersion: v1\n---\n{POD}", {"readiness-path", "loopback", "drain-short"}),
        (CRON, {"setting-invalid"}),
        (
            "apiVersion: apps/v1\nkind: StatefulSet\nspec:\n  template:\n" + textwrap.indent(POD, "    "),
            {"readiness-path", "loopback", "drain-short"},
        ),
    ],
)
def test_pods_are_found_wherever_they_are_made(text, rules, tmp_path):
    """Alone, in a List, in a template, in a CronJob, in one of several documents."""
    (tmp_path / "all.yaml").write_text(text)
    found = check(tmp_path / "all.yaml")
    assert found.unread == []
    assert rules == {fault.rule for fault in found.faults}


def test_a_config_map_among_the_files_is_read(tmp_path):
    """What it sets is judged as if it stood in the pod; one that is not given is named."""
    secret = canary.secret("map")
    (tmp_path / "pod.yaml").write_text(
        POD.replace("live", "ready").replace(
            "image: orders", "image: orders\n      envFrom: [{configMapRef: {name: orders}}]"
        )
    )
    (tmp_path / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: orders}\ndata:\n  TASKER_SERVER__HOST: 0.0.0.0\n"
        f"  TASKER_SERVER__DRAIN_SECONDS: '20'\n  TASKER_DATABASE__URL: postgresql://u:{secret}@db/x\n"
    )
    (note,) = check(tmp_path / "pod.yaml").notes
    assert "ConfigMap orders was not given" in note
    found = check(tmp_path / "pod.yaml", tmp_path / "map.yaml")
    assert found.notes == []
    assert [(fault.rule, fault.place.file) for fault in found.faults] == [("plain-secret", str(tmp_path / "map.yaml"))]
    assert secret not in str(found)


def test_the_last_stage_of_an_image_has_what_it_is_made_from(tmp_path):
    """Variables and health check of a stage that it names; a text in the file is no instruction."""
    (tmp_path / "Dockerfile").write_text(
        "FROM python AS tools\nSTOPSIGNAL SIGINT\nFROM --platform=linux/amd64 python AS base\n"
        "RUN <<EOT\nSTOPSIGNAL SIGKILL\nEOT\nHEALTHCHECK CMD tasker-health probe http://127.0.0.1:8081/tasker/health/live\n"
        "FROM base\nUSER 10001\n"
    )
    assert [(fault.rule, fault.place.line) for fault in check(tmp_path / "Dockerfile").faults] == [
        ("container-flag", 7)
    ]


@pytest.mark.parametrize(
    ("pre_stop", "is_told"),
    [
        ("{sleep: {seconds: 10}}", True),
        ('{exec: {command: [sleep, "10"]}}', True),
        ('{exec: {command: ["/bin/sleep", "10"]}}', True),
        ('{exec: {command: [sh, -c, "sleep 10; true"]}}', True),
        ('{exec: {command: [sh, -c, "nginx -s quit"]}}', False),
    ],
)
def test_a_pre_stop_takes_of_the_grace(pre_stop, is_told, tmp_path):
    """However its sleep is written: 20 s of drain and 10 s of it are not less than 30 s."""
    lifecycle = f"image: orders\n      lifecycle: {{preStop: {pre_stop}}}"
    variables = "\n      env: [{name: TASKER_SERVER__DRAIN_SECONDS, value: '20'}]"
    (tmp_path / "pod.yaml").write_text(POD.replace("image: orders", lifecycle + variables))
    assert ("grace-short" in {fault.rule for fault in check(tmp_path / "pod.yaml").faults}) is is_told


def test_without_pyyaml_it_says_what_to_install(tmp_path):
    """One line, the code 2, and no traceback."""
    code = "import sys; sys.modules['yaml'] = None; from tasker_health.cli import main; main()"
    done = run("deploy", "check", str(tmp_path / "x"), command=[sys.executable, "-c", code])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tasker-health: deploy: pyyaml is not installed: pip install 'tasker-health[deploy]'\n"


def test_files_of_variables_are_not_read_and_that_is_said(tmp_path):
    """What they set can be a secret, and lies elsewhere."""
    (tmp_path / "compose.yaml").write_text("services:\n  orders:\n    image: tasker-health\n    env_file: x\n")
    (tmp_path / "orders.service").write_text("[Service]\nExecStart=tasker-health serve\nEnvironmentFile=/etc/x\n")
    notes = check(tmp_path / "compose.yaml", tmp_path / "orders.service").notes
    assert [note.rpartition("/")[2].partition(" ")[0] for note in notes] == ["compose.yaml:4:", "orders.service:3:"]


def test_a_merged_key_is_read_and_control_characters_are_not_printed(tmp_path):
    """`<<` as compose files have it; a name with an escape sequence cannot paint the terminal."""
    (tmp_path / "compose.yaml").write_text(
        'x-base: &base\n  image: tasker-health\n  stop_signal: "SIG\\e[31mINT\\nX"\n'
        "services:\n  orders:\n    <<: *base\n    stop_grace_period: 1m\n"
    )
    (fault,) = check(tmp_path / "compose.yaml").faults
    assert (fault.rule, fault.place.line) == ("stop-signal", 3)
    assert str(fault).isprintable()


@pytest.mark.parametrize("target", TARGETS)
def test_what_our_own_targets_write_is_clean(target, tmp_path):
    """Every file of a kind that is known; what is another program's is of none."""
    get_command(app).main([target, "--output", str(tmp_path)], standalone_mode=False)
    files = sorted(each for each in tmp_path.rglob("*") if each.is_file())
    assert files
    known = [each for each in files if "{{" not in each.read_text() and is_known(each.read_text())]
    found = check(*known)  # together, as an operator has them
    assert [str(fault) for fault in found.faults] == []
    if target in {"kubernetes", "kustomize", "haproxy", "nginx", "docker", "compose", "systemd"}:
        assert known
        assert "nothing was judged" not in " ".join(found.notes)
