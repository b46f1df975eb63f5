"""A report as text, for a terminal or a mail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_BAR_LETTERS = 40
FAULT_WORDS = {
    "timeout": "no whole answer in time",
    "not_sent": "no connection was free in time: the server had not answered those before",
    "refused": "connection refused",
    "unreachable": "no connection",
    "broken_off": "the connection was ended before the answer was whole",
    "garbage": "what came is not HTTP",
    "too_large": "an answer of more than 4 MiB",
    "tls": "no TLS connection",
    "exhausted": "this machine had no port, file or memory for another connection: no fault of the server's",
    "code": "a code that is no answer about health",
    "not_ours": "an answer that is not this endpoint's",
}


def text_of(figures: dict[str, Any]) -> str:
    """Return *figures* as text, with the verdict last."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield f"{figures['url']}: {figures['plan']['words']}; took {figures['seconds']:g} s"
    if figures["stopped_early"]:
        yield "stopped early: this is what was measured until then"
    yield ""
    yield from _latencies(figures["endpoints"])
    for name, each in figures["endpoints"].items():
        yield ""
        yield from _counts(name, each)
    yield ""
    yield from _bars(figures["histogram"])
    yield ""
    yield from _slowest(figures["slowest"])
    yield ""
    yield from _marks(figures["marks"])
    yield ""
    yield from client_lines(figures)
    yield verdict_line(figures)


def _latencies(endpoints: dict[str, Any]) -> Iterator[str]:
    names = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
    yield f"{'milliseconds':22}" + "".join(f"{name:>10}" for name in names)
    for endpoint, each in endpoints.items():
        rows = [(endpoint, each["latency_ms"]), ("  from when it was sent", each["service_ms"])]
        rows += [(f"  {kind}", each[kind]["latency_ms"]) for kind in ("cached", "uncached") if each[kind]]
        for title, spread in rows:
            yield f"{title:22}" + "".join(f"{ms_words(spread[name]):>10}" for name in names)


def _counts(name: str, each: dict[str, Any]) -> Iterator[str]:
    asked = each["asked_per_second"]
    pace = f"{each['achieved_per_second']:g} a second" + (f" of {asked:g} asked for" if asked is not None else "")
    unfinished = f", {each['unfinished']} unfinished" if each["unfinished"] else ""
    yield f"{name}: {each['requests']} requests, {each['good']} good{unfinished}, {pace}"
    codes = ", ".join(f"{code}: {count}" for code, count in each["codes"].items())
    yield f"  codes: {codes or 'none'}"
    if each["unhealthy"]:
        yield f"  {each['unhealthy']} times 503, a true answer that something is wrong: no fault of serving"
    for fault, count in each["faults"].items():
        yield f"  {count} times {fault}: {FAULT_WORDS[fault]}"


def _bars(histogram: dict[str, Any]) -> Iterator[str]:
    rows = bars_of(histogram)
    most = max((count for _, count in rows), default=0) or 1
    yield "latency of all, milliseconds"
    for label, count in rows:
        yield f"{label:>13} {count:>8} {'#' * max(round(count / most * _BAR_LETTERS), 1 if count else 0)}".rstrip()


def bars_of(histogram: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the bars of *histogram* with their labels, without the empty ones at both ends."""
    bounds: list[float] = histogram["bounds_ms"]
    counts: list[int] = histogram["counts"]
    labels = [f"{low:g}-{high:g}" for low, high in zip([0, *bounds], bounds, strict=False)] + [f"over {bounds[-1]:g}"]
    filled = [number for number, count in enumerate(counts) if count]
    if not filled:
        return []
    return list(zip(labels, counts, strict=True))[filled[0] : filled[-1] + 1]


def _slowest(slow: list[dict[str, Any]]) -> Iterator[str]:
    yield "slowest    due at s    sent late ms    latency ms    came"
    for each in slow:
        came = slow_words(each)
        yield (
            f"{each['endpoint']:8} {each['due_seconds']:>10.3f} {each['sent_late_ms']:>15.3f}"
            f" {each['latency_ms']:>13.3f}    {came}"
        )


def slow_words(each: dict[str, Any]) -> str:
    """Return what came of a slow request: its code, its fault, or both."""
    return " ".join(str(word) for word in (each["code"], each["fault"]) if word is not None)


def _marks(marks: list[dict[str, Any]]) -> Iterator[str]:
    for each in marks:
        measured = "no such answer" if each["measured_ms"] is None else f"{ms_words(each['measured_ms'])} ms"
        which = f"{each['group']}, p{each['percentile']:g}"
        yield f"{each['outcome']:8} {each['name']:16} {which:15} {measured:>14}, at most {each['limit_ms']:g} ms"


def client_lines(figures: dict[str, Any]) -> Iterator[str]:
    """Return what is to be said of this client: what it took, and whether it was the bottleneck."""
    client = figures["client"]
    yield (
        f"this client: {client['processor_share']:.0%} of a core, its own loop late by"
        f" {client['loop_lag_p99_ms']:.1f} ms (p99), {client['loop_lag_max_ms']:.1f} ms at worst"
    )
    if client["is_bottleneck"]:
        yield "this client was the bottleneck: what was slow may be its own doing; ask less, or from a quieter machine"
    behind = [name for name, each in figures["endpoints"].items() if each["is_rate_achieved"] is False]
    if behind and not figures["stopped_early"]:
        who = "this client" if client["is_bottleneck"] else "the server"
        yield f"the rate was not kept on {', '.join(behind)}: {who} was too slow; latencies count from the due time"


def verdict_line(figures: dict[str, Any]) -> str:
    """Return how it ended, in a line."""
    code = figures["exit_code"]
    if figures["stopped_early"]:
        return "stopped early: not judged"
    if code == 0:
        return "passed"
    if code == 1:
        missed = [mark["name"] for mark in figures["marks"] if mark["outcome"] == "missed"]
        faults = sum(sum(each["faults"].values()) for each in figures["endpoints"].values())
        words = [f"missed: {', '.join(missed)}"] if missed else []
        words += [f"{faults} fault{'s' if faults > 1 else ''}"] if faults else []
        return f"not passed: {'; '.join(words)}"
    return "not judged: marks were missed while this client was the bottleneck, or nothing was asked"


def ms_words(value: float | None) -> str:
    """Return milliseconds as they are read."""
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004
