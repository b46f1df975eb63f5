"""Certificates that tests make for themselves: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = dt.timedelta(days=1)
_NO_USE = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
) | {"encipher_only": False, "decipher_only": False}
_SIGNS = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **_NO_USE)


@dataclass
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[str, str]:
        """Write both into *folder* and return their paths."""
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "tls.crt").write_bytes(self.certificate)
        (folder / "tls.key").write_bytes(self.key)
        return str(folder / "tls.crt"), str(folder / "tls.key")


@dataclass
class Authority:
    """Signs certificates; `pem` is what a client trusts it by."""

    name: str = "An authority of the tests"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.pem = self._signed(self.name, self._key, days=(-1, 30), is_authority=True).public_bytes(
            serialization.Encoding.PEM
        )

    def pair(self, name: str = "localhost", *, days: tuple[float, float] = (-1, 30), password: str = "") -> Pair:
        """Return a new pair for *name* and 127.0.0.1, valid from and until so many *days* from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, key, days=days, is_authority=False)
        hidden = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden),
        )

    def _signed(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, days: tuple[float, float], is_authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            # What Python verifies strictly from 3.13 on.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if is_authority:
            builder = builder.add_extension(_SIGNS, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
