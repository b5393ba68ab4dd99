"""A real ACME server (RFC 8555) on loopback with an authority of its own: PORT FOLDER.

It validates http-01 as any does, except that whatever host it asks on port 80 is the gateway under test: its
port stands in the folder.
"""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CONFIG = """\
[serles]
backend = tests.docker.acme_server
database = sqlite:///{folder}/serles.sqlite3
subjectNameTemplate = CN={{SAN[0]}}
"""


class Backend:
    """What the server calls to sign."""

    def __init__(self, _config: object) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def sign(self, csr: bytes | str, *_: object) -> tuple[str, None]:
        asked = x509.load_pem_x509_csr(csr.encode() if isinstance(csr, str) else csr)
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf = self._certificate(asked.subject, asked.public_key())
        leaf = leaf.add_extension(names, critical=False)
        chain = [leaf, self._certificate(self._name, self._key.public_key())]
        signed = [one.sign(self._key, hashes.SHA256()) for one in chain]
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in signed), None

    def _certificate(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=90))
        )


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    (folder / "serles.ini").write_text(CONFIG.format(folder=folder))
    os.environ["CONFIG"] = str(folder / "serles.ini")
    asked = socket.getaddrinfo

    def to_the_gateway(host: Any, service: Any, *args: Any, **kwargs: Any) -> Any:
        if service == 80:
            service = int((folder / "gateway-port").read_text())
        return asked("127.0.0.1", service, *args, **kwargs)

    socket.getaddrinfo = to_the_gateway
    from serles import create_app

    create_app().run(host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
