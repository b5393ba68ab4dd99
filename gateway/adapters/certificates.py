"""Certificates in a folder: `<domain>.crt` with its chain, and `<domain>.key`."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from gateway.core.model import Site
from gateway.core.serving import Certificate, DomainCertificate, HttpsMethod
from gateway.paths import TESTERS


@dataclass(frozen=True, slots=True)
class _Usable:
    certificate: Certificate
    names: frozenset[str]  # that it is for
    begins_at: float  # seconds since the epoch

    def at(self, now: float) -> _Usable:
        valid = self.begins_at <= now < self.certificate.expires_at
        return replace(self, certificate=replace(self.certificate, expired=not valid))


_Loaded = _Usable | str | None  # a problem; None: there is no such certificate


class CertificateFolder:
    """One look at the folder: each file is read at most once. Raises nothing: what is wrong is told.

    What `previous`, the look before, could use is used on where it can't be used now: a renewal writes two
    files, one after the other. What has not changed since is not looked over again.
    """

    def __init__(self, folder: str | Path, *, now: float, previous: CertificateFolder | None = None) -> None:
        self._folder, self._now = Path(folder), now
        self._stems = _stems_in(self._folder)
        self._loaded: dict[str, _Loaded] = {}
        usable = previous._usable if previous else {}
        self._usable: dict[str, _Usable] = {stem: one for stem, one in usable.items() if self._may_be(stem)}

    def of(self, site: Site) -> tuple[DomainCertificate, ...]:
        """One for each name that has a certificate or a problem; none when the site is HTTP alone."""
        if site.tls.method is HttpsMethod.NOHTTPS:
            return ()
        found = {name: self._find(name, site.tls.cert_name) for name in site.hosts}
        if any(one and one.certificate for one in found.values()):
            # Where some names have a certificate, one that has none was probably forgotten.
            missing = "no certificate: served over HTTP"
            return tuple(one or DomainCertificate(name, None, missing) for name, one in found.items())
        return tuple(filter(None, found.values()))

    def _find(self, domain: str, cert_name: str | None) -> DomainCertificate | None:
        """The certificate of its own, else its parent's if that covers the domain. None: nothing to tell."""
        base = domain.removeprefix("*.")
        own, parent = cert_name or base, None if cert_name else base.partition(".")[2]
        problem = ""
        for stem in filter(None, (own, parent)):
            loaded = self._load(stem)
            if isinstance(loaded, str):
                problem = problem or f"{stem}: {loaded}"
                loaded = self._usable.get(stem)
            if loaded and _covers(loaded.names, domain):
                certificate = loaded.certificate
                return DomainCertificate(domain, certificate, problem or _untimely(certificate))
            if loaded and stem == own:
                names = ", ".join(sorted(loaded.names)) or "no name"
                problem = problem or f"{stem}.crt is not for {domain} but for {names}"
            elif not loaded and cert_name:
                problem = problem or f"{stem}.crt is not in {self._folder}"
        return DomainCertificate(domain, None, problem) if problem else None

    def _may_be(self, stem: str) -> bool:
        return self._stems is None or stem in self._stems

    def _load(self, stem: str) -> _Loaded:
        if not self._may_be(stem):
            return None
        if stem not in self._loaded:
            self._loaded[stem] = loaded = self._read(stem)
            if isinstance(loaded, _Usable):
                self._usable[stem] = loaded
            elif loaded is None:
                self._usable.pop(stem, None)  # it was taken away on purpose
        return self._loaded[stem]

    def _read(self, stem: str) -> _Loaded:
        try:
            chain = (self._folder / f"{stem}.crt").read_text()
            key = (self._folder / f"{stem}.key").read_text()
        except FileNotFoundError as error:
            return None if str(error.filename).endswith(".crt") else f"{stem}.key is missing"
        except (OSError, ValueError) as error:
            return f"can't be read: {error}"
        known = self._usable.get(stem)
        if known and (known.certificate.chain, known.certificate.key) == (chain, key):
            return known.at(self._now)  # to look it over again would take OpenSSL a millisecond
        try:
            _load_as_nginx_would(chain, key)
            leaf = x509.load_pem_x509_certificate(chain.encode())
            names = frozenset(_names(leaf))
        except (ssl.SSLError, ValueError) as error:
            return f"can't be used: {getattr(error, 'reason', None) or error}"
        begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        return _Usable(Certificate(chain, key, ends), names, begins).at(self._now)


def _stems_in(folder: Path) -> frozenset[str] | None:
    """Of its `.crt`. None: it can't be listed, which does not mean that nothing in it can be read."""
    try:
        names = (entry.name for entry in os.scandir(folder))
        return frozenset(name.removesuffix(".crt") for name in names if name.endswith(".crt"))
    except FileNotFoundError:
        return frozenset()
    except OSError:
        return None


def by_domain(found: Iterable[DomainCertificate]) -> Mapping[str, Certificate]:
    return {one.domain: one.certificate for one in found if one.certificate}


class CertificateFiles:
    """The pairs that nginx reads: copies named by their content, so no half-renewed pair is ever read."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def write(self, certificates: Iterable[Certificate]) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, parents=True)
            _let_test_read(self._folder, 0o750)
        for certificate in certificates:
            _write_private(self._folder / f"{certificate.digest}.key", certificate.key)
            _write_private(self._folder / f"{certificate.digest}.crt", certificate.chain)

    def forget_all_but(self, digests: Collection[str]) -> None:
        for file in self._folder.glob("*"):
            if file.stem not in digests:
                file.unlink(missing_ok=True)


def _write_private(file: Path, text: str) -> None:
    if not file.exists():
        new = file.with_suffix(f"{file.suffix}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(text)
        _let_test_read(new, 0o640)
        new.replace(file)


def _let_test_read(path: Path, mode: int) -> None:
    """nginx's own test runs without root's rights (adapters.nginx_test)."""
    if os.geteuid() == 0:
        os.chown(path, 0, TESTERS)
        path.chmod(mode)


def _load_as_nginx_would(chain: str, key: str) -> None:
    """Both let OpenSSL judge: whether the key matches, is strong enough, has no passphrase."""
    with tempfile.TemporaryDirectory() as folder:  # for the owner alone
        files = CertificateFiles(folder)
        pair = Certificate(chain, key, expires_at=0)
        files.write([pair])
        path = f"{folder}/{pair.digest}"
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            f"{path}.crt", f"{path}.key", password=lambda: b""
        )


def _names(leaf: x509.Certificate) -> list[str]:
    """The DNS names; RFC 9525 section 2 leaves the common name out, and so do clients."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _covers(names: frozenset[str], domain: str) -> bool:
    """RFC 9525 section 6.3: a wildcard stands for one label."""
    return domain in names or f"*.{domain.partition('.')[2]}" in names


def _untimely(certificate: Certificate) -> str:
    if not certificate.expired:
        return ""
    until = datetime.fromtimestamp(certificate.expires_at, UTC)
    return f"the certificate is not valid now (until {until:%Y-%m-%d}): HTTP is not redirected to it"
