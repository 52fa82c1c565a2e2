"""Throw-away certificates for logins and for strangers."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from support.secrets import SECRETS


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def thumbprint(self) -> bytes:
        """SHA-1 over the DER, which is what `x5t` carries."""
        return self.certificate.fingerprint(hashes.SHA1())


def self_signed(name: str, days: int = 30, starts: int = 0) -> Certificate:
    """A certificate valid from `starts` days from now (negative: in the past) for `days` days."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=starts, minutes=-5)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(key, certificate)
    SECRETS.add(made.key_pem.splitlines()[3])
    return made


def server_certificate(host: str) -> tuple[str, str]:
    """A server certificate for a host on loopback, and the CA that signed it: (key and certificate, CA) in PEM."""
    authority = self_signed("tests' CA")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    start = authority.certificate.not_valid_before_utc
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    pair = Certificate(key, certificate)
    return pair.key_pem + pair.certificate_pem, authority.certificate_pem
