"""The table of requests: what is asked, and what must come back, of every skin under every server."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from frameworks.healths import ASKING, FAILING, MOUNTED, OPEN
from tasker_health.charts import STYLE
from tasker_health.web.openapi import document

NOW, EXPIRES = "2025-06-18T15:30:00Z", "2025-06-18T15:30:15Z"
VARY = (("vary", "Accept"),)
JSON = "application/json"
HEALTH_JSON, ACTUATOR = "application/health+json", "application/vnd.spring-boot.actuator.v3+json"
_HERE = files("tasker_health.web.page")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_STYLE = _digest(_HERE.joinpath("page.css").read_text("utf-8") + STYLE)
_SCRIPT = _digest(_HERE.joinpath("page.js").read_text("utf-8"))
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE}'; script-src 'sha256-{_SCRIPT}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types tasker-health"
)
PAGE_HEADERS = (
    *VARY,
    (
        "content-security-policy",
        _POLICY,
    ),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
)
TEXT, PAGE = "text/plain; version=0.0.4; charset=utf-8", "text/html; charset=utf-8"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """One request and its answer.

    Attributes:
        name: Of the row, once in the table.
        body: The JSON that is answered; `None`: some other text, the same from all.
        more: Headers beside those that every answer of ours has.
        sent: What the request carries.
        ours: Whether we answer, not the application.
    """

    name: str
    path: str
    code: int = 200
    body: Any = None
    more: Headers = VARY
    content_type: str = JSON
    method: str = "GET"
    headers: Headers = ()
    sent: bytes | None = None
    ours: bool = True
    expected: Headers = field(init=False, default=())

    def __post_init__(self) -> None:
        """Make the headers that are expected; the length of a text is told by whoever sends it."""
        length = len(json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode())
        lengths = () if self.body is None else (("content-length", str(length)),)
        mine = (
            ("content-type", self.content_type),
            *lengths,
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("x-content-type-options", "nosniff"),
            *self.more,
        )
        object.__setattr__(self, "expected", tuple(sorted(mine)))


LIVE = {"alive": True, "timestamp": NOW, "service": "tasker"}
STARTED = {"started": True, "timestamp": NOW}
OK, WELL = {"status": "ok"}, {"status": "ok", "response_time_ms": 0}
AWAY = {"status": "error", "response_time_ms": 0, "reason": "refused"}
READY = {
    "ready": True,
    "degraded_checks": ["away"],
    "checks": {"configuration": OK, "well": WELL, "away": AWAY},
    "timestamp": NOW,
}
UNREADY = {
    "ready": False,
    "failed_checks": ["broken"],
    "degraded_checks": ["away"],
    "checks": {"configuration": OK, "well": WELL, "away": AWAY, "broken": AWAY},
    "timestamp": NOW,
}
_TASKS = {
    "total_tasks": 1250,
    "pending_tasks": 45,
    "running_tasks": 12,
    "completed_tasks": 1180,
    "failed_tasks": 13,
    "cancelled_tasks": 0,
    "other_tasks": 0,
    "blocked_tasks": 0,
    "stuck_tasks": 0,
    "retry_queue_size": 3,
    "in_backoff": 1,
}
_TIMES = {
    "avg_task_completion_time_ms": 2340,
    "avg_step_completion_time_ms": 450,
    "retry_success_rate": 0.87,
    "failure_ratio": 0.0099,
    "settled_tasks": 101,
}
_FIGURES = {"system_health": {"overall_status": "healthy", **_TASKS}, "performance_metrics": _TIMES}
STATUS = {
    "status": "healthy",
    "reasons": [],
    **_FIGURES,
    "database": {"active_connections": 5, "maximum_connections": 100, "connection_ratio": 0.05},
    "sources": {"shop": {"status": "healthy", "timestamp": NOW, "reasons": [], **_FIGURES}},
    "timestamp": NOW,
    "cache_info": {"cached": True, "cache_expires_at": EXPIRES, "age_seconds": 0},
}
FRESH = {**STATUS, "cache_info": {**STATUS["cache_info"], "cached": False}}
DETAILS = {"details": {"shop": {"error": None, "read_time_ms": 0}}}
NOT_FOUND = {"error": "Not Found", "message": "There is no such endpoint or check"}
UNAUTHORIZED = {"error": "Unauthorized", "message": "Valid credentials are required to read the status"}
FORBIDDEN = {"error": "Forbidden", "message": "Not authorized to index on tasker.health_status"}
BROKEN = {
    "error": "Authentication Configuration Error",
    "message": "Who may read the status cannot be decided; the log says why",
}


def one(name, result, *, ready=True):
    """Return the report of one check."""
    failed = {} if ready else {"failed_checks": [name]}
    return {"ready": ready, **failed, "checks": {name: result}, "timestamp": NOW}


def not_allowed(method):
    """Return what is said of *method*."""
    return {"error": "Method Not Allowed", "message": f"{method} is not allowed; use GET or HEAD"}


def _process(status):
    return [{"componentType": "system", "status": status, "time": NOW}]


LIVE_AS = {
    "health": {"status": "pass", "serviceId": "tasker", "checks": {"process": _process("pass")}},
    "actuator": {
        "status": "UP",
        "components": {"livenessState": {"status": "UP", "details": {"timestamp": NOW, "service": "tasker"}}},
    },
    "microprofile": {
        "status": "UP",
        "checks": [{"name": "livenessState", "status": "UP", "data": {"timestamp": NOW, "service": "tasker"}}],
    },
}
_MEDIA_TYPES = {"health": HEALTH_JSON, "actuator": ACTUATOR, "microprofile": JSON}


def _unready(row: Row) -> Row:
    return replace(row, path=row.path.replace(OPEN, FAILING, 1))


ENDPOINTS = [
    Row("the first status", f"{OPEN}/health/status", body=FRESH),
    Row("live", f"{OPEN}/health/live", body=LIVE),
    Row("ready", f"{OPEN}/health/ready", body=READY),
    Row("one check", f"{OPEN}/health/ready/well", body=one("well", WELL)),
    Row("one check that fails", f"{OPEN}/health/ready/away", 503, body=one("away", AWAY, ready=False)),
    Row("a group", f"{OPEN}/health/ready/mine", body=one("well", WELL)),
    Row("startup", f"{OPEN}/health/startup", body=STARTED),
    Row("status", f"{OPEN}/health/status", body=STATUS),
    Row("for programs", f"{OPEN}/health", body=STATUS),
    Row("openapi", f"{OPEN}/openapi.json", body=document(OPEN, metrics=True, history=True), more=()),
    Row("metrics", f"{OPEN}/metrics", content_type=TEXT),
    Row(
        "for people",
        f"{OPEN}/health",
        content_type=PAGE,
        more=PAGE_HEADERS,
        headers=(("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),),
    ),
    Row("not ready", f"{FAILING}/health/ready", 503, body=UNREADY),
    Row("alive all the same", f"{FAILING}/health/live", body=LIVE),
    Row("its status first", f"{FAILING}/health/status", body=FRESH),
    Row("its status", f"{FAILING}/health/status", body=STATUS),
]

NOWHERE = [
    Row(f"nowhere: {name}", path, 404, body=NOT_FOUND, more=())
    for name, path in {
        "unknown check": f"{OPEN}/health/ready/none",
        "unknown": f"{OPEN}/health/nothing",
        "below an endpoint": f"{OPEN}/health/live/now",
        "trailing slash": f"{OPEN}/health/live/",
        "trailing slash of all": f"{OPEN}/health/",
        "trailing slash of ready": f"{OPEN}/health/ready/",
        "two slashes": f"{OPEN}//health/live",
        "two slashes further on": f"{OPEN}/health//live",
        "two slashes at the end": f"{OPEN}/health/live//",
        "a dot": f"{OPEN}/./health/live",
        "a dot further on": f"{OPEN}/health/./live",
        "two dots": f"{OPEN}/health/../health/live",
        "other case": f"{OPEN}/health/LIVE",
        "other case of all": f"{OPEN}/Health/live",
        "encoded slash": f"{OPEN}/health%2F%2Flive",
        "encoded letters beyond ASCII": f"{OPEN}/health/l%C3%AFve",
        "no UTF-8": f"{OPEN}/health/%FF",
        "parameters": f"{OPEN}/health/live;x=1",
        "a null": f"{OPEN}/health/live%00",
        "a line break": f"{OPEN}/health/live%0D%0Ax:y",
        "twice encoded": f"{OPEN}/health/%256cive",
        "in the other": f"{ASKING}/health/nothing",
    }.items()
]

ENCODED = [
    Row("an encoded letter is the letter", f"{OPEN}/health/%6cive", body=LIVE),
    Row("an encoded slash is a slash", f"{OPEN}/health%2Flive", body=LIVE),
]

METHODS = [
    Row(
        f"{method} {name}",
        path,
        405,
        body=not_allowed(method),
        more=(("allow", "GET, HEAD"),),
        method=method,
        sent=sent,
    )
    for method, sent in (
        *(("POST", b"x" * 1000), ("PUT", b""), ("DELETE", None), ("PATCH", b"{}"), ("OPTIONS", None)),
        ("BREW", None),
    )
    for name, path in (("live", f"{OPEN}/health/live"), ("status", f"{OPEN}/health/status"))
] + [
    Row("POST nowhere", f"{OPEN}/health/nothing", 404, body=NOT_FOUND, more=(), method="POST", sent=b"x"),
    Row(
        "POST the document",
        f"{OPEN}/openapi.json",
        405,
        body=not_allowed("POST"),
        more=(("allow", "GET, HEAD"),),
        method="POST",
        sent=b"x",
    ),
    Row("GET with a body", f"{OPEN}/health/live", body=LIVE, sent=b"x" * 100),
]

FORMATS = [
    *(
        Row(f"live as {name}", f"{OPEN}/health/live?format={name}", body=body, content_type=_MEDIA_TYPES[name])
        for name, body in LIVE_AS.items()
    ),
    *(
        Row(
            f"live for {media_type}",
            f"{OPEN}/health/live",
            body=LIVE_AS[name],
            content_type=media_type,
            headers=(("Accept", media_type),),
        )
        for name, media_type in (("health", HEALTH_JSON), ("actuator", ACTUATOR))
    ),
    *(
        Row(f"{path} as {name}", f"{OPEN}/health/{path}?format={name}", content_type=_MEDIA_TYPES[name])
        for name in LIVE_AS
        for path in ("ready", "startup", "status")
    ),
    *(
        Row(f"not ready as {name}", f"{FAILING}/health/ready?format={name}", 503, content_type=_MEDIA_TYPES[name])
        for name in LIVE_AS
    ),
    Row("an unknown format", f"{OPEN}/health/live?format=none", body=LIVE),
    Row("some other query", f"{OPEN}/health/live?a=b&c=%2F", body=LIVE),
    Row("what we cannot give", f"{OPEN}/health/ready", body=READY, headers=(("Accept", "image/png"),)),
    Row("what a kubelet sends", f"{OPEN}/health/ready", body=READY, headers=(("Accept", "*/*"),)),
]

_CHALLENGE = (("www-authenticate", 'Test realm="tasker_health"'), *VARY)
ACCESS = [
    Row("asked first", f"{ASKING}/health/status", body={**FRESH, **DETAILS}, headers=(("X-User", "reader"),)),
    *(
        Row(f"asked: {path} of nobody", f"{ASKING}/{path}", 401, body=UNAUTHORIZED, more=_CHALLENGE)
        for path in ("health/status", "health")
    ),
    Row("asked: metrics of nobody", f"{ASKING}/metrics", 401, body=UNAUTHORIZED, more=_CHALLENGE[:1]),
    Row(
        "asked: wrong credentials",
        f"{ASKING}/health/status",
        401,
        body=UNAUTHORIZED,
        more=_CHALLENGE,
        headers=(("X-User", "bad"),),
    ),
    Row("asked: no permission", f"{ASKING}/health/status", 403, body=FORBIDDEN, headers=(("X-User", "anybody"),)),
    *(
        Row(f"asked: {user}", f"{ASKING}/health/status", body={**STATUS, **DETAILS}, headers=(("X-User", user),))
        for user in ("reader", "admin")
    ),
    Row(
        "asked: an authenticator that raises",
        f"{ASKING}/health/status",
        500,
        body=BROKEN,
        headers=(("X-User", "broken"),),
    ),
    Row("live is not asked", f"{ASKING}/health/live", body=LIVE),
    Row("startup is not asked", f"{ASKING}/health/startup", body=STARTED, headers=(("X-User", "bad"),)),
]

ODD = [
    Row(f"odd: {name}", f"{OPEN}/health/live", body=LIVE, headers=headers)
    for name, headers in {
        "another host": (("Host", "nobody.example:99"),),
        "a host that is no name": (("Host", "_under_score_"),),
        "forwarded": (
            ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "shop.example"),
            ("X-Forwarded-Prefix", "/shop"),
            ("X-Script-Name", "/shop"),
            ("Forwarded", "for=203.0.113.9;proto=https;host=shop.example"),
        ),
        "another address": (("X-Original-URL", "/admin"), ("X-Rewrite-URL", "/admin")),
        "another method": (("X-HTTP-Method-Override", "DELETE"),),
        "a cookie": (("Cookie", "session=abc; csrftoken=1"),),
        "known already": (("If-None-Match", "*"), ("If-Modified-Since", "Wed, 18 Jun 2025 15:30:00 GMT")),
        "a part": (("Range", "bytes=0-3"),),
        "from elsewhere": (("Origin", "https://evil.example"),),
        "compressed": (("Accept-Encoding", "gzip, br"),),
        "a long header": (("X-Long", "x" * 4000),),
    }.items()
]

APPLICATION = [
    Row("the application", "/orders", body={"method": "GET", "bytes": 0}, ours=False),
    Row(
        "the application, posted",
        "/orders",
        body={"method": "POST", "bytes": 3},
        ours=False,
        method="POST",
        headers=(("Content-Type", "text/plain"),),
        sent=b"abc",
    ),
]

BELOW_A_MOUNT = [
    replace(row, name=f"mounted: {row.name}", path=f"{MOUNTED}{row.path}")
    for row in [*ENDPOINTS[:12], *NOWHERE, *METHODS]
    if row.path.startswith(f"{OPEN}/")
]

_ASKED = [*ENDPOINTS, *NOWHERE, *ENCODED, *METHODS, *FORMATS, *ACCESS, *ODD, *APPLICATION, *BELOW_A_MOUNT]
_FIRST = ("the first status", "its status first", "asked first", "mounted: the first status")
_HEADS = [
    replace(row, name=f"HEAD: {row.name}", method="HEAD")
    for row in _ASKED
    if row.method == "GET" and row.ours and row.sent is None and row.name not in _FIRST
]

TABLE = [*_ASKED, *_HEADS, replace(APPLICATION[0], name="the application at the end")]
