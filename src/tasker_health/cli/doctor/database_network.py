"""What lies between here and a database server: how it is reached, who can read along, how long a dead path is held."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import NamedTuple

from tasker_health.cli.doctor.findings import Finding, note, warning
from tasker_health.settings import DatabaseSettings

SILENCE_SECONDS = 200
"""Balancers and firewalls forget a silent connection after some minutes (the shortest of the well-known: 240 s)."""

IDLE_SECONDS = 600
"""A server that ends idle connections sooner may end one of ours between two questions."""


class Keepalive(NamedTuple):
    """What TCP does on a silent connection, in seconds.

    Attributes:
        on: Whether it asks at all.
        idle: Silence after which it asks.
        interval: After how long it asks again.
        probes: How often before it gives up.
    """

    on: bool
    idle: int
    interval: int
    probes: int

    @property
    def notices_after(self) -> int:
        """After how much silence a dead path is noticed."""
        return self.idle + self.interval * self.probes


class Network(NamedTuple):
    """How a server is reached.

    Attributes:
        peer: Its address; empty: a socket in the file system.
        keepalive: Of our end of the connection.
        tls: Version of the protocol, in words; empty: none.
        verified: Whether the server's certificate is.
    """

    peer: str
    keepalive: Keepalive | None
    tls: str
    verified: bool

    @property
    def is_local(self) -> bool:
        """Whether it does not leave this machine."""
        if not self.peer:
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.peer.partition("%")[0]).is_loopback
        return False


def network_of(own: socket.socket, *, tls: str, verified: bool) -> Network:
    """Return how the server at the other end of *own* is reached."""
    if own.family not in {socket.AF_INET, socket.AF_INET6}:
        return Network("", None, tls, verified)
    keepalive = Keepalive(
        bool(own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    )
    return Network(own.getpeername()[0], keepalive, tls, verified)


def transport(network: Network, tls_remedy: str) -> Finding:
    """Tell who can read along."""
    way = f"TCP to {network.peer}" if network.peer else "a socket in the file system"
    if network.tls:
        if network.verified or network.is_local:
            return Finding(what="transport", measured=f"{way}, {network.tls}")
        return note("transport", f"{way}, {network.tls}, its certificate not verified", tls_remedy)
    if network.is_local:
        return Finding(what="transport", measured=f"{way}, plain, and does not leave this machine")
    return warning("transport", f"{way}, plain: whoever is on the way reads along", tls_remedy)


def keepalive(network: Network, settings: DatabaseSettings) -> Finding | None:
    """Tell when a path that has died is noticed, and whether one that is silent is kept open."""
    seen, figures = network.keepalive, {}
    if seen is None:
        return None
    if not seen.on:
        words = "off: a dead path is never noticed between two questions"
    else:
        words = (
            f"asks after {seen.idle} s of silence, {seen.probes} times every {seen.interval} s:"
            f" a dead path is noticed after {seen.notices_after} s"
        )
        figures = {"keepalive_idle_s": float(seen.idle), "keepalive_notices_after_s": float(seen.notices_after)}
    if (seen.on and seen.idle <= SILENCE_SECONDS) or network.is_local:
        return Finding(what="keepalive", measured=words, figures=figures)
    own = f"database.keepalive_seconds is {settings.keepalive_seconds:g}"
    remedy = f"{own}: at most {SILENCE_SECONDS}, or a balancer on the way forgets the connection before; 30 is usual"
    return warning("keepalive", words, remedy, figures)


def idle_end(seconds: float, words: str, remedy: str) -> Finding:
    """Tell after how long the server ends an idle connection, which our next question would be told as an error."""
    figures = {"idle_end_s": seconds}
    if not seconds:
        return Finding(what="idle connections", measured="the server keeps them")
    measured = f"the server ends them after {seconds:g} s ({words})"
    if seconds >= IDLE_SECONDS:
        return Finding(what="idle connections", measured=measured, figures=figures)
    return warning(
        "idle connections", measured, f"under {IDLE_SECONDS} s it may end one between two questions: {remedy}", figures
    )


def clocks(difference_seconds: float, round_trip_seconds: float) -> Finding:
    """Tell by how much the server's clock is before ours."""
    words = f"{abs(difference_seconds):.3f} s apart, give or take {round_trip_seconds / 2:.3f} s"
    figures = {"clock_difference_s": round(difference_seconds, 4)}
    if abs(difference_seconds) - round_trip_seconds / 2 <= 1:
        return Finding(what="clocks", measured=words, figures=figures)
    side = "ahead of" if difference_seconds > 0 else "behind"
    remedy = "set both by NTP: figures are by the database's clock, timestamps by this one, and people compare them"
    return warning("clocks", f"{words}: the database is {side} this machine", remedy, figures)


def writing(why_not: str, settings: DatabaseSettings) -> Finding:
    """Tell whether the database can be written to, and if not, whether that matters."""
    if not why_not:
        return Finding(what="writing", measured="possible")
    if settings.require_writable:
        remedy = "database.require_writable is true: name the primary, or take that back"
        return warning("writing", f"read-only: {why_not}", remedy)
    return note("writing", f"read-only: {why_not}", "it would not be ready if database.require_writable were true")


def connections(used: int, maximum: int, ratio: float, remedy: str) -> Finding:
    """Tell how many connections the server has, of how many it takes."""
    share = used / maximum if maximum else 1.0
    words = f"{used} of {maximum} ({share:.0%})"
    figures = {"connections": float(used), "connections_maximum": float(maximum), "connections_ratio": round(share, 4)}
    if share < ratio:
        return Finding(what="connections", measured=words, figures=figures)
    return warning("connections", words, f"from {ratio:.0%} (health.degraded_connection_ratio) on: {remedy}", figures)
