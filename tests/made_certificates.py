"""Self-signed certificates for the tests, as `<stem>.crt` and `<stem>.key`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(folder: Path, stem: str, *names: str, days: float = 90, passphrase: str = "") -> None:
    """For `names` (none: a common name alone), valid until `days` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)])
    until = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=365))
        .not_valid_after(until)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    hiding = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hiding)
    chain = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / f"{stem}.crt").write_bytes(chain)
    (folder / f"{stem}.key").write_bytes(key.private_bytes(*form))


def read_until(crt: Path) -> float:
    """When it ends, in seconds since the epoch."""
    return x509.load_pem_x509_certificate(crt.read_bytes()).not_valid_after_utc.timestamp()
