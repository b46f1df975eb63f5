"""The certificate of `serve`: read at start, and again whenever its files change, while connections stay open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
from typing import NoReturn

from tasker_health.deadline import in_thread
from tasker_health.errors import SettingsError
from tasker_health.settings import ServerSettings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_MOST_TURNS = 8
# What TLS 1.2 may use: forward secrecy and authenticated encryption only (RFC 9325 section 4.2); TLS 1.3 has no other.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_CERTIFICATE, _KEY, _PASSWORD = "server.tls_certificate_file", "server.tls_key_file", "server.tls_key_password"

Seen = tuple[tuple[int, ...], ...]


class Certificate:
    """What the server proves itself with.

    Args:
        certificate_file: The certificate and those between it and a root, as PEM.
        key_file: Its private key, as PEM.
        password: Of the key.

    Attributes:
        context: What to listen with; each handshake takes the pair that is good now.

    Raises:
        SettingsError: The pair cannot be used.
    """

    def __init__(self, certificate_file: str, key_file: str, password: str | None = None) -> None:
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._password = password
        self._expires_at = float("inf")
        self._fault = self._objection = ""
        self._was_asked = False
        self._seen = self._look_at_files()
        self.context: ssl.SSLContext = self._loaded()
        self._current = self.context
        # A new context for each pair: loading into one that serves would leave half of a pair that does not match.
        self.context.sni_callback = self._choose

    def problems(self) -> list[str]:
        """Return what is wrong with the certificate now, for the log."""
        expired = "the certificate has expired" if time.time() > self._expires_at else ""
        return [words for words in (self._fault, self._objection or expired) if words]

    def look(self) -> None:
        """Read the files again if they have changed, or could not be used; a pair that is of no use changes nothing."""
        seen = self._look_at_files()
        if seen == self._seen and not (self._fault or self._objection):
            return
        try:
            self._current = self._loaded()
        except SettingsError as error:
            if str(error) != self._fault:
                log.error("the certificate is not renewed, the old one stays: %s", error)  # noqa: TRY400 -- says it all
            self._fault = str(error)
        else:
            if seen != self._seen or self._fault:
                log.info("the certificate has been read again: %s", self._certificate_file)
            self._fault = ""
        self._seen = seen

    async def watch(self) -> None:
        """Look every few seconds, for ever, in a thread: a file system may hang."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                await in_thread(self.look, "certificate")

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _look_at_files(self) -> Seen:
        """Return what tells one version of the files from another, through symbolic links as Kubernetes swaps them."""
        seen = []
        for name in (self._certificate_file, self._key_file):
            with contextlib.suppress(OSError, ValueError):
                found = os.stat(name)  # noqa: PTH116 -- a path that is none shall not raise here
                seen.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        return tuple(seen)

    def _loaded(self) -> ssl.SSLContext:
        """Return a context with the pair as it is in the files.

        Raises:
            SettingsError: It is none.
        """
        for key, name in ((_CERTIFICATE, self._certificate_file), (_KEY, self._key_file)):
            _require_readable(key, name)
        context = new_context()
        try:
            client = _client_that_trusts(self._certificate_file)
        except (OSError, ValueError):
            remedy = "no certificate as PEM; correct it"
            raise SettingsError(_CERTIFICATE, repr(self._certificate_file), remedy) from None
        self._was_asked = False
        try:
            context.load_cert_chain(self._certificate_file, self._key_file, self._password_or_none)
            self._expires_at, objection = _rehearse(context, client)
        except (OSError, ValueError) as error:
            self._refuse(error)
        if objection and objection != self._objection:
            name = self._certificate_file
            log.warning("%s = %r: clients will refuse it: %s; name one that is valid", _CERTIFICATE, name, objection)
        self._objection = objection
        return context

    def _password_or_none(self) -> str:
        """Return the password; without this, OpenSSL asks for it at the terminal and waits."""
        self._was_asked = True
        return self._password or ""

    def _refuse(self, error: OSError | ValueError) -> NoReturn:
        """Say of an exception from OpenSSL what there is to do about it."""
        if self._was_asked:
            value, remedy = ("not set", "set it") if self._password is None else ("'***'", "correct it")
            raise SettingsError(_PASSWORD, value, f"{self._key_file} is encrypted; {remedy}") from None
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            words = "not the key of the certificate; name the two that belong together"
        elif reason:
            words = f"cannot be used with the certificate: {reason.replace('_', ' ').lower()}; make a new pair"
        else:
            words = "no private key as PEM; correct it"
        raise SettingsError(_KEY, repr(self._key_file), words) from None


def certificate_of(settings: ServerSettings) -> Certificate | None:
    """Return the certificate that *settings* name, or `None` where HTTP is spoken plainly.

    Raises:
        SettingsError: One file is named without the other, or they cannot be used.
    """
    certificate, key, password = settings.tls_certificate_file, settings.tls_key_file, settings.tls_key_password
    if certificate is None and key is None:
        if password is not None:
            raise SettingsError(_PASSWORD, "'***'", f"it opens nothing; set {_KEY} and {_CERTIFICATE}")
        return None
    if certificate is None or key is None:
        missing, other = (_CERTIFICATE, _KEY) if certificate is None else (_KEY, _CERTIFICATE)
        raise SettingsError(missing, "not set", f"{other} is; set both or none")
    return Certificate(certificate, key, password.get_secret_value() if password else None)


def new_context() -> ssl.SSLContext:
    """Return what a server of today agrees to: TLS 1.3, and of 1.2 what is sound."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # A client could have the costly half of a handshake done again and again on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _require_readable(key: str, name: str) -> None:
    try:
        with open(name, "rb"):  # noqa: PTH123 -- a path that is none (a NUL in it) is told like any other
            return
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "no path"
        raise SettingsError(key, repr(name), f"{words}; name a PEM file that can be read") from None


def _client_that_trusts(certificate_file: str) -> ssl.SSLContext:
    """Return what a client would connect with that trusts the certificates in the file, and nothing else.

    Raises:
        OSError, ValueError: There are none in it.
    """
    client = ssl.create_default_context(cafile=certificate_file)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return client


def _rehearse(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[float, str]:
    """Have the two shake hands; return when the certificate expires, and what the client objects to.

    Raises:
        OSError: No client could agree with the server, whatever it trusts.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server)
    for _ in range(_MOST_TURNS):
        for side in (asking, serving):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return float("inf"), str(error.verify_message)
    expires = (asking.getpeercert() or {}).get("notAfter")
    return (ssl.cert_time_to_seconds(expires) if isinstance(expires, str) else float("inf")), ""
