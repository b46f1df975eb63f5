"""Whether those who are told something can be reached: a connection and its certificate, and not a word more."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from tasker_health.cli.doctor.findings import Finding, Verdict, note, warning
from tasker_health.deadline import in_thread, within
from tasker_health.reasons import reason_of
from tasker_health.settings.exporters import DatadogSettings, DatadogTarget

PATIENCE_SECONDS = 5.0

_KINDS = {"unixgram": [socket.SOCK_DGRAM], "unixstream": [socket.SOCK_STREAM]}
_ANY_KIND = [socket.SOCK_DGRAM, socket.SOCK_STREAM]
_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where somebody listens.

    Attributes:
        host, port: Its address; all of a URL that may be shown.
        tls: How its certificate is verified; `None`: there is none.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}{'' if self.tls else ', without TLS'}"


def place_of(url: str, tls: ssl.SSLContext) -> Place | None:
    """Return where *url* leads; `None`: it is no address of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return Place(parts.hostname, port, tls if parts.scheme == "https" else None) if parts.hostname else None


async def reached(what: str, place: Place | None, key: str) -> Finding:
    """Return whether somebody listens at *place*, which the setting *key* names, and shows a certificate that fits."""
    if place is None:
        return warning(what, "on, but its address is none", f"write {key} as https://host/path")
    began = time.monotonic()
    try:
        await within(in_thread(lambda: _connect(place), "doctor"), PATIENCE_SECONDS)
    except Exception as error:  # noqa: BLE001 -- whatever is raised on the way is what is to be told
        return warning(what, f"{place}: {_why(error)}", f"see to it that it can be reached, or put {key} right")
    took = (time.monotonic() - began) * 1000
    return Finding(what=what, measured=f"{place}: reached in {took:.0f} ms", figures={"connect_ms": round(took, 3)})


async def reached_agent(what: str, settings: DatadogSettings) -> Finding:
    """Return whether a Datadog Agent can be there: a datagram is not answered, but a socket's file is open."""
    address, target = settings.address, settings.target
    try:
        await within(in_thread(lambda: _look_for_agent(target), "doctor"), PATIENCE_SECONDS)
    except Exception as error:  # noqa: BLE001 -- as above
        remedy = "start the Agent, mount the folder of its socket, or put exporters.datadog.address right"
        return warning(what, f"{address}: {_why(error)}", remedy)
    if target.socket_path:
        return Finding(what=what, measured=f"{address}: somebody listens")
    return note(what, f"{address}, by UDP", "a datagram is not answered: the Agent's own status tells what arrived")


def _look_for_agent(target: DatadogTarget) -> None:
    if not target.socket_path:
        socket.getaddrinfo(target.host, target.port)
        return
    scheme, _, path = target.socket_path.partition("://")
    kinds = _KINDS.get(scheme, _ANY_KIND)
    for kind in kinds:
        with socket.socket(socket.AF_UNIX, kind) as line:
            line.settimeout(PATIENCE_SECONDS)
            try:
                line.connect(path)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE or kind is kinds[-1]:
                    raise
            else:
                return


def _connect(place: Place) -> None:
    with socket.create_connection((place.host, place.port), PATIENCE_SECONDS) as line:
        if place.tls is not None:
            place.tls.wrap_socket(line, server_hostname=place.host).close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return f"{reason_of(error)} ({type(error).__name__})"


def off(what: str) -> Finding:
    """Return that *what* is not wanted."""
    return Finding(what=what, measured="off", verdict=Verdict.OK)
