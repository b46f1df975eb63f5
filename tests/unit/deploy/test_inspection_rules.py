"""Each rule on manifests of each format: the bad form is told where it stands, the good one is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import canary
from tasker_health.deploy.inspection.faults import RULES
from tasker_health.deploy.inspection.judgement import judge
from tasker_health.deploy.inspection.reading import Texts, inspect
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings

PASSWORD = canary.secret("manifest")

GOOD = {
    "kubernetes": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - name: app
          image: orders
          env:
            - name: TASKER_SERVER__HOST
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - name: TASKER_SERVER__DRAIN_SECONDS
              value: "20"
            - name: TASKER_DATABASE__URL_FILE
              value: /run/secrets/url
          ports:
            - {name: http, containerPort: 8080}
            - {name: probes, containerPort: 8081}
          startupProbe:
            httpGet: {path: /tasker/health/startup, port: probes}
            periodSeconds: 5
            failureThreshold: 30
          readinessProbe:
            httpGet: {path: /tasker/health/ready, port: probes}
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            httpGet: {path: /tasker/health/live, port: probes}
            periodSeconds: 10
            timeoutSeconds: 1
""",
    "compose": """\
services:
  orders:
    image: orders
    stop_grace_period: 30s
    environment:
      TASKER_SERVER__HOST: 0.0.0.0
    ports: ["8080:8080"]
    healthcheck:
      test: [CMD, tasker-health, probe, --container, "http://127.0.0.1:8081/tasker/health/live"]
      timeout: 3s
""",
    "dockerfile": """\
ARG BASE=python
FROM $BASE
ENV TASKER_SERVER__PORT=8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \\
    CMD ["tasker-health", "probe", "--container", "http://127.0.0.1:8081/tasker/health/live"]
STOPSIGNAL SIGTERM
CMD ["tasker-health", "serve"]
""",
    "haproxy": """\
defaults
    timeout check 1500ms
backend orders
    option httpchk GET /tasker/health/ready
    http-check expect status 200
    retry-on conn-failure 503
    default-server inter 2s fall 3
    server one 10.0.0.1:8080 check port 8081
""",
    "nginx": """\
http {
    upstream orders { server 10.0.0.1:8080 max_fails=3; }
    server {
        proxy_next_upstream error timeout;
        location / { proxy_pass http://orders; }
        location = /health { proxy_pass http://orders/tasker/health/ready; proxy_read_timeout 3s; }
    }
}
""",
    "systemd": """\
[Unit]
Description=orders
[Service]
Type=notify
ExecStart=/opt/orders/bin/tasker-health serve
Environment=TASKER_SERVER__DRAIN_SECONDS=20
TimeoutStopSec=40
WatchdogSec=45
Restart=on-failure
KillSignal=SIGTERM
""",
}

READINESS = "httpGet: {path: /tasker/health/ready, port: probes}"
LIVENESS = "httpGet: {path: /tasker/health/live, port: probes}"
STARTUP = """\
          startupProbe:
            httpGet: {path: /tasker/health/startup, port: probes}
            periodSeconds: 5
            failureThreshold: 30
"""
POD_ADDRESS = """\
            - name: TASKER_SERVER__HOST
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
"""
HTTP = "{name: http, containerPort: 8080}"
PROBES_PORT = "            - {name: probes, containerPort: 8081}\n"
DRAIN = 'value: "20"'
CONTAINER_PROBE = '"tasker-health", "probe", "--container", "http://127.0.0.1:8081/tasker/health/live"'
IN_LIVENESS = "periodSeconds: 10\n            timeoutSeconds: 1"


def liveness(with_what):
    """Return what replaces the figures of the liveness probe."""
    return IN_LIVENESS, f"{IN_LIVENESS}\n            {with_what}"


BAD = [
    ("kubernetes", "liveness-path", (LIVENESS, LIVENESS.replace("live", "ready")), 31),
    ("kubernetes", "liveness-path", (LIVENESS, LIVENESS.replace("live", "status")), 31),
    ("kubernetes", "liveness-path", (LIVENESS, "grpc: {port: 8081}"), 31),
    ("kubernetes", "readiness-path", (READINESS, READINESS.replace("ready", "live")), 27),
    ("kubernetes", "readiness-path", (READINESS, READINESS.replace("ready", "status")), 27),
    ("kubernetes", "readiness-path", (READINESS, READINESS.replace("/ready", "")), 27),
    ("kubernetes", "startup-path", ("health/startup", "health/ready"), 23),
    ("kubernetes", "status-probed", ("health/startup", "health/status"), 23),
    ("kubernetes", "unknown-path", (READINESS, READINESS.replace("ready", "redy")), 27),
    ("kubernetes", "unknown-path", (READINESS, READINESS.replace("ready", "ready/")), 27),
    ("kubernetes", "unknown-path", (READINESS, READINESS.replace("ready", "Ready")), 27),
    ("kubernetes", "unknown-path", (READINESS, READINESS.replace("/tasker", "")), 27),
    ("kubernetes", "unknown-path", (READINESS, READINESS.replace("/tasker", "/api/tasker")), 27),
    ("kubernetes", "timeout-deadline", ("timeoutSeconds: 3", "timeoutSeconds: 0.8"), 29),
    ("kubernetes", "timeout-period", ("timeoutSeconds: 3", "timeoutSeconds: 6"), 29),
    ("kubernetes", "startup-missing", (STARTUP, ""), 27),
    ("kubernetes", "liveness-delay", liveness("initialDelaySeconds: 30"), 34),
    ("kubernetes", "liveness-hasty", liveness("failureThreshold: 1"), 34),
    (
        "kubernetes",
        "liveness-hasty",
        (LIVENESS, LIVENESS.replace("probes", "http") + "\n            failureThreshold: 2"),
        32,
    ),
    ("kubernetes", "readiness-slow", ("periodSeconds: 5\n            timeoutSeconds: 3", "periodSeconds: 30"), 28),
    ("kubernetes", "readiness-missing", ("readinessProbe:", "lifecycle:"), 2),
    ("kubernetes", "drain-missing", (DRAIN, 'value: "0"'), 16),
    ("kubernetes", "drain-short", (DRAIN, 'value: "15"'), 28),
    ("kubernetes", "grace-short", ("PeriodSeconds: 30", "PeriodSeconds: 20"), 8),
    ("kubernetes", "grace-short", ("terminationGracePeriodSeconds: 30", "restartPolicy: Always"), 7, ('"20"', '"30"')),
    (
        "kubernetes",
        "grace-short",
        ("          startupProbe:", "          lifecycle: {preStop: {sleep: {seconds: 10}}}\n          startupProbe:"),
        8,
    ),
    ("kubernetes", "loopback", (POD_ADDRESS, ""), 21),
    ("kubernetes", "loopback", ("valueFrom: {fieldRef: {fieldPath: status.podIP}}", "value: localhost"), 23),
    ("kubernetes", "guard-port", (READINESS, READINESS.replace("probes", "http")), 27),
    ("kubernetes", "unknown-port", (READINESS, READINESS.replace("probes", "8085")), 27),
    ("kubernetes", "unknown-port", (READINESS, READINESS.replace("probes", "web")), 27),
    ("kubernetes", "tcp-probe", (LIVENESS, "tcpSocket: {port: probes}"), 31),
    ("kubernetes", "exec-probe", (LIVENESS, "exec: {command: [tasker-health, check]}"), 31),
    (
        "kubernetes",
        "exec-probe",
        (LIVENESS, "exec: {command: [sh, -c, 'curl -f http://localhost:8081/tasker/health/live']}"),
        31,
    ),
    ("kubernetes", "scheme", (READINESS, READINESS.replace("probes", "probes, scheme: HTTPS")), 27),
    ("kubernetes", "scheme", (READINESS, READINESS.replace("probes", "http, scheme: HTTPS")), 27),
    ("kubernetes", "probe-host", (READINESS, READINESS.replace("probes", "probes, host: 127.0.0.1")), 27),
    (
        "kubernetes",
        "plain-secret",
        ("_FILE\n              value: /run/secrets/url", f"\n              value: postgresql://u:{PASSWORD}@db/orders"),
        18,
    ),
    (
        "kubernetes",
        "plain-secret",
        (
            "TASKER_DATABASE__URL_FILE\n              value: /run/secrets/url",
            f"TASKER_CACHE__SIGNING_KEY\n              value: {PASSWORD}",
        ),
        18,
    ),
    (
        "kubernetes",
        "plain-secret",
        (
            READINESS,
            READINESS.replace("probes", f"probes, httpHeaders: [{{name: Authorization, value: Bearer {PASSWORD}}}]"),
        ),
        27,
    ),
    ("kubernetes", "setting-invalid", (DRAIN, "value: soon"), 16),
    ("kubernetes", "setting-invalid", ("DRAIN_SECONDS", "DRAIN"), 16),
    ("kubernetes", "duplicate-key", ("timeoutSeconds: 3", "timeoutSeconds: 3\n            timeoutSeconds: 2"), 30),
    ("compose", "grace-short", ("stop_grace_period: 30s", "restart: always"), 2),
    ("compose", "loopback", ("    environment:\n      TASKER_SERVER__HOST: 0.0.0.0\n", ""), 5),
    ("compose", "container-flag", ("--container, ", ""), 9),
    ("compose", "status-probed", ("health/live", "health/status"), 9),
    ("compose", "drain-missing", ("TASKER_SERVER__HOST: 0.0.0.0", "TASKER_SERVER__DRAIN_SECONDS: 0"), 6),
    ("compose", "stop-signal", ("image: orders", "image: orders\n    stop_signal: SIGINT"), 4),
    ("compose", "unknown-port", ("127.0.0.1:8081", "127.0.0.1:8082"), 9),
    ("compose", "exec-probe", ("tasker-health, probe, --container, ", "curl, -f, "), 9),
    ("compose", "timeout-deadline", ('health/live"]\n      timeout: 3s', 'health/ready"]\n      timeout: 500ms'), 10),
    ("dockerfile", "liveness-path", ("health/live", "health/ready"), 4),
    ("dockerfile", "container-flag", ('"--container", ', ""), 4),
    (
        "dockerfile",
        "exec-probe",
        (f"CMD [{CONTAINER_PROBE}]", "CMD curl -f http://127.0.0.1:8081/tasker/health/live"),
        4,
    ),
    ("dockerfile", "stop-signal", ("SIGTERM", "SIGKILL"), 6),
    ("dockerfile", "shell-form", ('CMD ["tasker-health", "serve"]', "CMD tasker-health serve"), 7),
    ("dockerfile", "plain-secret", ("TASKER_SERVER__PORT=8080", f"TASKER_AUTH__BASIC__PASSWORD={PASSWORD}"), 3),
    ("haproxy", "balancer-expect", ("    http-check expect status 200\n", ""), 4),
    ("haproxy", "balancer-check", (" check port", " port"), 8),
    (
        "haproxy",
        "tcp-probe",
        ("    option httpchk GET /tasker/health/ready\n    http-check expect status 200\n", ""),
        6,
    ),
    ("haproxy", "timeout-deadline", ("1500ms", "800"), 2),
    ("haproxy", "timeout-deadline", ("defaults\n    timeout check 1500ms\n", ""), 6, ("inter 2s", "inter 500ms")),
    ("haproxy", "readiness-path", ("health/ready", "health/live"), 4),
    ("haproxy", "unknown-path", ("health/ready", "health/ready/"), 4),
    ("haproxy", "drain-short", ("inter 2s fall 3", "inter 5s fall 2"), 8),
    ("haproxy", "readiness-slow", ("inter 2s fall 3", "inter 25s fall 3"), 8),
    ("haproxy", "guard-port", (" port 8081", ""), 8),
    ("haproxy", "scheme", ("port 8081", "port 8081 check-ssl"), 8),
    ("haproxy", "retry-non-idempotent", ("conn-failure", "all-retryable-errors"), 6),
    ("nginx", "retry-non-idempotent", ("error timeout", "error timeout non_idempotent"), 4),
    ("nginx", "balancer-passive", ("max_fails=3", "max_fails=0"), 2),
    ("nginx", "balancer-passive", ("error timeout", "off"), 4),
    ("nginx", "timeout-deadline", ("proxy_read_timeout 3s", "proxy_read_timeout 800ms"), 6),
    ("nginx", "readiness-path", ("health/ready", "health/live"), 6),
    ("nginx", "status-probed", ("health/ready", "health/status"), 6),
    ("nginx", "unknown-path", ("/tasker/health/ready", ""), 6),
    ("systemd", "watchdog-short", ("WatchdogSec=45", "WatchdogSec=30"), 8),
    ("systemd", "restart-missing", ("Restart=on-failure\n", ""), 8),
    ("systemd", "grace-short", ("TimeoutStopSec=40", "TimeoutStopSec=20"), 7),
    ("systemd", "stop-signal", ("SIGTERM", "SIGINT"), 10),
    ("systemd", "setting-invalid", ("=20", "=-1"), 6),
    ("systemd", "plain-secret", ("TASKER_SERVER__DRAIN_SECONDS=20", f"DATABASE_URL=mysql://u:{PASSWORD}@db/x"), 6),
]
"""Format, rule, what is replaced by what, and the line that is told."""

ODD_WORDS = "{ } [ \" ' null 1e400 -1 nan $(X) \\ http://[ *a &a << !!python/object:os.system # ; \x1b \u0663 \u00b2 ::"
ODD = st.sampled_from([*ODD_WORDS.split(), "", "\n", ": ", "- ", "\t", "9" * 30])

FOLLOWS = {"guard-port", "drain-short", "loopback"}
"""What the change of another rule's row may break, too."""

DJANGO = """\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
    - name: shop
      image: shop
      env: [{name: DJANGO_ALLOWED_HOSTS, value: "shop.example.com, api"}]
      ports: [{containerPort: 8000}]
      readinessProbe:
        httpGet: {path: /tasker/health/ready, port: 8000}
        periodSeconds: 2
"""


def with_environment(variables):
    """Return the settings in force where the environment is *variables* alone."""
    return load_settings(None, variables)


def found(text, tmp_path, settings_with=with_environment):
    """Return the faults in *text*, and look that it could be read."""
    (tmp_path / "manifest").write_text(text)
    inspection = inspect([str(tmp_path / "manifest")], settings_with)
    assert inspection.unread == []
    return inspection.faults


@pytest.mark.parametrize("kind", GOOD)
def test_nothing_is_wrong_in_what_is_right(kind, tmp_path):
    """Each format as it should be written."""
    assert found(GOOD[kind], tmp_path) == []


@pytest.mark.parametrize("bad", BAD, ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(BAD)])
def test_what_is_wrong_is_told_where_it_stands(bad, tmp_path):
    """One change in what is right breaks its rule, at its line, and the line holds no secret."""
    kind, rule, change, line, *more = bad
    text = GOOD[kind]
    for before, after in (change, *more):
        assert before in text
        text = text.replace(before, after)
    faults = found(text, tmp_path)
    assert (rule, line) in [(fault.rule, fault.place.line) for fault in faults], [str(each) for each in faults]
    assert {fault.rule for fault in faults} - {rule} <= FOLLOWS
    for fault in faults:
        assert PASSWORD not in str(fault)
        assert "\n" not in str(fault)


def test_every_rule_is_shown():
    """None is there that no test has seen."""
    assert {row[1] for row in BAD} | {"allowed-hosts"} == set(RULES)


def test_a_list_of_hosts_stands_before_a_probe_of_the_application(tmp_path):
    """Django's middleware answers 400 to the pod's address: told, unless any host may ask, or the right one is sent."""
    (fault,) = [each for each in found(DJANGO, tmp_path) if each.rule == "allowed-hosts"]
    assert "health.asgi" in fault.remedy
    for before, after in (
        ("shop.example.com, api", "*"),
        ("port: 8000}\n", "port: 8000, httpHeaders: [{name: Host, value: api}]}\n"),
        ("port: 8000}\n", "port: 8081}\n"),
    ):
        text = DJANGO.replace(before, after)
        assert text != DJANGO
        assert "allowed-hosts" not in {each.rule for each in found(text, tmp_path)}


def test_the_settings_in_force_are_what_is_judged_by(tmp_path):
    """Another prefix, deadline and no guard: what was right is wrong, and the remedy names the new ones."""

    def settings_with(variables):
        mine = {
            "TASKER_SERVER__PREFIX": "/orders",
            "TASKER_GUARD__ENABLED": "false",
            "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "3",
        }
        return load_settings(None, {**mine, **variables})

    faults = found(GOOD["kubernetes"], tmp_path, settings_with)
    assert "unknown-path" in {each.rule for each in faults}
    assert "/orders/health/ready" in " ".join(each.remedy for each in faults)
    text = GOOD["kubernetes"].replace("/tasker/", "/orders/").replace(": probes}", ": http}")
    assert {each.rule for each in found(text, tmp_path, settings_with)} == {"timeout-deadline"}


def test_a_job_is_no_server(tmp_path):
    """It needs neither readiness nor a drain; what its environment says is looked at all the same."""
    job = GOOD["kubernetes"].replace("kind: Deployment", "kind: Job").replace("readinessProbe", "ignored")
    job = job.replace('value: "20"', 'value: "0"')
    assert found(job, tmp_path) == []
    assert [each.rule for each in found(job.replace('"0"', "soon"), tmp_path)] == ["setting-invalid"]


def test_another_container_is_not_judged(tmp_path):
    """A database beside the service has health checks of its own."""
    text = GOOD["compose"] + "  db:\n    image: postgres\n    healthcheck: {test: [CMD, pg_isready]}\n"
    assert found(text, tmp_path) == []
    assert found(text.replace("postgres\n", "tasker-health\n"), tmp_path) != []


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(GOOD)), cuts=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), ODD), max_size=6))
def test_no_text_is_too_odd(kind, cuts):
    """Whatever is cut out and put in: findings of one printable line each, or one line that says why not."""
    text = GOOD[kind]
    for begin, length, odd in cuts:
        at = int(begin * len(text))
        text = text[:at] + odd + text[at + int(length * 20) :]
    try:
        found = inspected(text)
    except ConfigurationError as error:
        found = [error]
    assert all(str(each).isprintable() for each in found)


def inspected(text):
    """Return the faults in *text*."""
    found = Texts()
    found.take(text, "file")
    return judge(found.facts(), with_environment)[0]
