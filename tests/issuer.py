"""An issuer of JSON web tokens: keys, tokens good and bad, and a real HTTPS server of its public keys."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import canary
from certificates import Authority
from tasker_health.request import Request

PATIENCE_SECONDS = 60
SECRET = canary.secret("jwt") + "-" * 40
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SYMMETRIC = ("HS256", "HS384", "HS512")
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private_key(algorithm: str, number: int = 0) -> Any:
    """Return the issuer's key for *algorithm*; each *number* is another one."""
    return _made("RSA" if algorithm[0] in "RP" else algorithm, number)


@functools.cache
def _made(kind: str, number: int) -> Any:
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


def pem(algorithm: str, number: int = 0) -> str:
    """Return the public key for *algorithm*."""
    public = private_key(algorithm, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(algorithm: str, kid: str | None, number: int = 0, /, **members: Any) -> dict[str, Any]:
    """Return the public key for *algorithm* as a member of a set, with *members* over what it has; `None`: without."""
    handler = jwt.get_algorithm_by_name(algorithm)
    key = handler.to_jwk(private_key(algorithm, number).public_key(), as_dict=True)
    key = {**key, "kid": kid, "alg": algorithm, "use": "sig", **members}
    return {name: value for name, value in key.items() if value is not None}


def document(*keys: Any) -> bytes:
    """Return a set of *keys*."""
    return json.dumps({"keys": keys}).encode()


def encoded(part: bytes) -> str:
    """Return one part of a token."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token, with *changes*; `None`: without that claim."""
    now = int(time.time())
    made = {"sub": "ops", "iat": now - 5, "nbf": now - 5, "exp": now + 600, "roles": ["reader"], **changes}
    return {name: value for name, value in made.items() if value is not None}


def token(
    algorithm: str = "RS256",
    payload: dict[str, Any] | bytes | None = None,
    *,
    number: int = 0,
    key: Any = None,
    header: dict[str, Any] | bytes | None = None,
    **members: Any,
) -> str:
    """Return a signed token; whatever is given stands in place of what a good one has, however wrong.

    Args:
        algorithm: What it is really signed with.
        payload: Its claims, or the very bytes.
        number: Which of the issuer's keys signs.
        key: Signs in place of the issuer's.
        header: The whole header, or its very bytes.
        members: Further ones of the header.
    """
    if header is None:
        header = {"typ": "JWT", "alg": algorithm, **members}
    head, body = (
        each if isinstance(each, bytes) else json.dumps(each).encode()
        for each in (header, claims() if payload is None else payload)
    )
    signed = f"{encoded(head)}.{encoded(body)}"
    if key is None:
        key = SECRET.encode() if algorithm in SYMMETRIC else private_key(algorithm, number)
    return f"{signed}.{encoded(jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key))}"


def asking(value: str, *more: str) -> Request:
    """Return a request with the credentials *value*, and further headers of the same name."""
    return Request("GET", "/", [(b"authorization", each.encode()) for each in (f"Bearer {value}", *more)], "192.0.2.1")


class Issuer:
    """Serves a set of keys over HTTPS on a free port, as the test wants it.

    Attributes:
        url: Where the set is.
        answer: What is sent, after the status line.
        status: The code that is sent.
        headers: Further ones.
        fetches: How many were begun.
        slow: Whether the answer is sent byte by byte, for as long as one listens.
        open: Cleared, it lets those who ask hang until it is set.
    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.answer = document()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.slow = False
        self.fetches = 0
        self.paths: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.closing = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.pair().write(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def serve(self, *keys: Any) -> None:
        """Let the set be of *keys* from now on."""
        self.answer = document(*keys)

    def close(self) -> None:
        """End the server."""
        self.slow = False
        self.closing.set()
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE_SECONDS

            def do_GET(self) -> None:
                issuer.fetches += 1
                issuer.paths.append(self.path)
                issuer.open.wait(PATIENCE_SECONDS)
                with contextlib.suppress(OSError):
                    self.send_response(issuer.status)
                    for name, value in {"content-length": str(len(issuer.answer)), **issuer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    while issuer.slow:
                        self.wfile.write(b" ")
                        issuer.closing.wait(0.05)
                    self.wfile.write(issuer.answer)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Handler


@contextlib.contextmanager
def issuer(folder: Path) -> Iterator[tuple[Issuer, str]]:
    """Yield a running issuer, and the file of the authority that it is trusted by."""
    authority = Authority()
    trusted = folder / "authority.pem"
    trusted.write_bytes(authority.pem)
    running = Issuer(folder / "issuer", authority)
    try:
        yield running, str(trusted)
    finally:
        running.close()
