"""A report as one HTML file: no script, nothing from a network, and everything in it escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tasker_health.charts import STYLE, Bar, Line, bar_chart, line_chart
from tasker_health.cli.load_test.text import FAULT_WORDS, bars_of, client_lines, ms_words, slow_words, verdict_line
from tasker_health.markup import escaped

_OWN_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--good:#1a7f37;--warn:#9a6700;--bad:#cf222e;
--plain:#0969da;--unknown:#8250df}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--good:#3fb950;--warn:#d29922;
--bad:#f85149;--plain:#58a6ff;--unknown:#bc8cff}}
body{margin:1rem auto;max-width:60rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.2rem .7rem;border-bottom:1px solid var(--line);
text-align:right}th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600}
figure{margin:1rem 0}figcaption{font-weight:600}.wide{overflow-x:auto}
.passed{color:var(--good)}.missed{color:var(--bad)}.unknown{color:var(--warn)}
"""
_STYLE = _OWN_STYLE + STYLE
_NAMES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
_GOOD_CODES = ("200", "503")


def page_of(figures: dict[str, Any]) -> str:
    """Return *figures* as a page; its policy permits its own style sheet, by its digest, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Load test of {escaped(figures['url'])}</title><style>{_STYLE}</style></head><body><main>"
        f"{''.join(_parts(figures))}</main></body></html>\n"
    )


def _parts(figures: dict[str, Any]) -> Iterator[str]:
    yield f"<h1>Load test: {escaped(verdict_line(figures))}</h1>"
    yield f"<p>{escaped(figures['url'])}, {escaped(figures['began_at'])}: {escaped(figures['plan']['words'])};"
    yield f" took {figures['seconds']:g} s.</p>"
    yield "".join(f"<p>{escaped(line)}</p>" for line in client_lines(figures))
    yield _table(
        "Marks",
        ("mark", "held against", "measured ms", "at most ms", "outcome"),
        map(_mark, figures["marks"]),
    )
    yield _table("Latency in milliseconds, from when each was due", ("answers", *_NAMES), _spreads(figures))
    for name, each in figures["endpoints"].items():
        yield f"<h2>{escaped(name)}</h2>{''.join(_endpoint(name, each, figures))}"
    yield _table(
        "Slowest",
        ("endpoint", "due at s", "sent late ms", "latency ms", "came"),
        map(_slow, figures["slowest"]),
    )


def _mark(each: dict[str, Any]) -> tuple[str, ...]:
    held = f"{each['group']}, p{each['percentile']:g}"
    return each["name"], held, ms_words(each["measured_ms"]), f"{each['limit_ms']:g}", each["outcome"]


def _slow(each: dict[str, Any]) -> tuple[str, ...]:
    times = (f"{each['due_seconds']:.3f}", ms_words(each["sent_late_ms"]), ms_words(each["latency_ms"]))
    return each["endpoint"], *times, slow_words(each)


def _spreads(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, each in figures["endpoints"].items():
        rows = [(name, each["latency_ms"]), (f"{name}, from when it was sent", each["service_ms"])]
        rows += [(f"{name}, {kind}", each[kind]["latency_ms"]) for kind in ("cached", "uncached") if each[kind]]
        for title, spread in rows:
            yield (title, *(ms_words(spread[key]) for key in _NAMES))


def _endpoint(name: str, each: dict[str, Any], figures: dict[str, Any]) -> Iterator[str]:
    achieved = f"{each['achieved_per_second']:g} a second"
    yield f"<p>{each['requests']} requests, {each['good']} good, {escaped(achieved)}.</p>"
    bars = bars_of({"bounds_ms": figures["histogram"]["bounds_ms"], "counts": each["histogram"]})
    yield _figure(
        f"{name}: requests by latency in ms", bar_chart, [Bar(label, "plain", count) for label, count in bars]
    )
    pieces = each["over_time"]
    lines = [Line("p50", "plain", [piece["p50_ms"] for piece in pieces])]
    lines.append(Line("p99", "other", [piece["p99_ms"] for piece in pieces]))
    end = f"{pieces[-1]['begins_seconds'] + pieces[1]['begins_seconds']:.1f} s"
    yield _figure(f"{name}: latency in ms by when due", line_chart, lines, from_label="0 s", to_label=end, unit="ms")
    codes = [Bar(code, _colour(name, code), count) for code, count in each["codes"].items()]
    faults = [Bar(fault, "bad", count) for fault, count in each["faults"].items() if fault != "code"]
    yield _figure(f"{name}: codes and faults", bar_chart, [*codes, *faults])
    yield "".join(f"<p>{escaped(fault)}: {escaped(FAULT_WORDS[fault])}.</p>" for fault in each["faults"])


def _figure(title: str, chart: Callable[..., str], values: Sequence[Any], **options: str) -> str:
    return f"<figure><figcaption>{escaped(title)}</figcaption>{chart(title, values, **options)}</figure>"


def _colour(endpoint: str, code: str) -> str:
    if code not in _GOOD_CODES or (endpoint == "live" and code != _GOOD_CODES[0]):
        return "bad"
    return "good" if code == _GOOD_CODES[0] else "warn"


def _table(caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    titles = "".join(f'<th scope="col">{escaped(each)}</th>' for each in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(words: str) -> str:
    known = f' class="{words}"' if words in {"passed", "missed", "unknown"} else ""
    return f"<td{known}>{escaped(words)}</td>"
