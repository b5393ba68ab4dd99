"""Certificates for the tests, as `<stem>.crt` and `<stem>.key`: self-signed, or of an authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Authority:
    """It signs as a public one would. `pem`: what a client has to trust."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def stamp(self, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        """With what a public authority puts into a server's certificate."""
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        responder = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test/")
        )
        return (
            builder.add_extension(issuer, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityInformationAccess([responder]), critical=False)
        )


def make_authority(name: str) -> Authority:
    key, subject = ec.generate_private_key(ec.SECP256R1()), _named(name)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


def make_certificate(
    folder: Path,
    stem: str,
    *names: str,
    days: float = 90,
    passphrase: str = "",
    authority: Authority | None = None,
) -> None:
    """For `names` (none: a common name alone), valid until `days` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(stem)
    until = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=365))
        .not_valid_after(until)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    if authority:
        builder = authority.stamp(builder)
    hiding = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hiding)
    signed = builder.sign(authority.key if authority else key, hashes.SHA256())
    (folder / f"{stem}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{stem}.key").write_bytes(key.private_bytes(*form))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def read_until(crt: Path) -> float:
    """When it ends, in seconds since the epoch."""
    return x509.load_pem_x509_certificate(crt.read_bytes()).not_valid_after_utc.timestamp()
