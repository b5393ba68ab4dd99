"""Which certificate a domain gets, and what is said of one that it doesn't get."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.certificates import CertificateFiles, CertificateFolder, by_domain
from gateway.core.model import Site
from gateway.core.serving import DomainCertificate, HttpsMethod, Tls
from gateway.paths import TESTERS
from tests.made_certificates import make_certificate

SITE = Site("shop", ("www.shop.test",), "app", 8000, "/stacks/stack.yaml")


def look(folder: Path, site: Site = SITE) -> tuple[DomainCertificate, ...]:
    return CertificateFolder(folder, now=time.time()).of(site)


def only(folder: Path, site: Site = SITE) -> DomainCertificate:
    (found,) = look(folder, site)
    return found


def chain(folder: Path, stem: str) -> str:
    return (folder / f"{stem}.crt").read_text()


def test_the_exact_name_counts_before_the_parent_s(tmp_path: Path) -> None:
    make_certificate(tmp_path, "shop.test", "shop.test", "*.shop.test")
    assert by_domain(look(tmp_path))["www.shop.test"].chain == chain(tmp_path, "shop.test")
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    assert by_domain(look(tmp_path))["www.shop.test"].chain == chain(tmp_path, "www.shop.test")


def test_a_broken_exact_one_is_told_and_the_parent_s_is_used(tmp_path: Path) -> None:
    make_certificate(tmp_path, "shop.test", "*.shop.test")
    (tmp_path / "www.shop.test.crt").write_text("x")
    found = only(tmp_path)
    assert found.certificate is not None
    assert found.problem == "www.shop.test: www.shop.test.key is missing"


def test_a_parent_s_that_is_not_for_this_name_is_no_certificate_and_no_problem(tmp_path: Path) -> None:
    """Else a certificate for example.com would send shop.example.com to an HTTPS that no browser accepts."""
    make_certificate(tmp_path, "shop.test", "shop.test")
    assert look(tmp_path) == ()


def test_without_certificates_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert look(tmp_path) == look(tmp_path / "missing") == ()


def test_a_site_without_https_is_not_looked_up(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    assert look(tmp_path, replace(SITE, tls=Tls(HttpsMethod.NOHTTPS))) == ()


def test_a_wildcard_domain_needs_a_wildcard_certificate(tmp_path: Path) -> None:
    wild = replace(SITE, domains=("*.shop.test",))
    make_certificate(tmp_path, "shop.test", "shop.test")
    assert only(tmp_path, wild).problem == "shop.test.crt is not for *.shop.test but for shop.test"
    make_certificate(tmp_path, "shop.test", "*.shop.test")
    assert only(tmp_path, wild).certificate is not None


def test_a_wildcard_stands_for_one_label(tmp_path: Path) -> None:
    make_certificate(tmp_path, "a.b.shop.test", "*.shop.test")
    assert only(tmp_path, replace(SITE, domains=("a.b.shop.test",))).certificate is None


def test_a_named_certificate_is_for_all_domains_and_must_be_there(tmp_path: Path) -> None:
    site = replace(SITE, domains=("a.test", "b.test"), tls=Tls(cert_name="both"))
    assert {one.problem for one in look(tmp_path, site)} == {f"both.crt is not in {tmp_path}"}
    make_certificate(tmp_path, "both", "a.test", "b.test")
    assert [one.certificate is not None for one in look(tmp_path, site)] == [True, True]


def test_a_domain_without_one_beside_a_domain_with_one_is_told(tmp_path: Path) -> None:
    site = replace(SITE, domains=("a.test",), redirects=(("www.b.test", "a.test"),))
    make_certificate(tmp_path, "a.test", "a.test")
    assert [(one.domain, one.problem) for one in look(tmp_path, site)] == [
        ("a.test", ""),
        ("www.b.test", "no certificate: served over HTTP"),
    ]


def test_an_expired_one_is_found_and_told(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test", days=-1)
    found = only(tmp_path)
    assert found.certificate is not None
    assert found.certificate.expired
    assert "not valid now" in found.problem


def _mismatched(folder: Path) -> None:
    make_certificate(folder, "other", "www.shop.test")
    shutil.copy(folder / "other.key", folder / "www.shop.test.key")


def _garbled(folder: Path) -> None:
    (folder / "www.shop.test.crt").write_text("not a certificate")


def _binary(folder: Path) -> None:
    (folder / "www.shop.test.crt").write_bytes(b"\xff\xfe\x00")


def _locked(folder: Path) -> None:
    make_certificate(folder, "www.shop.test", "www.shop.test", passphrase="secret")


def _a_folder(folder: Path) -> None:
    (folder / "www.shop.test.key").unlink()
    (folder / "www.shop.test.key").mkdir()


def _nameless(folder: Path) -> None:
    make_certificate(folder, "www.shop.test")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_mismatched, "KEY_VALUES_MISMATCH"),
        (_garbled, "can't be used"),
        (_binary, "can't be read"),
        (_locked, "can't be used"),
        (_a_folder, "can't be read"),
        (_nameless, "is not for www.shop.test but for no name"),
    ],
)
def test_one_that_can_t_be_used_is_told_and_left_out(tmp_path: Path, spoil: object, said: str) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    spoil(tmp_path)  # type: ignore[operator]
    found = only(tmp_path)
    assert found.certificate is None
    assert said in found.problem


def test_one_that_has_not_changed_expires_all_the_same(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test", days=1)
    first = CertificateFolder(tmp_path, now=time.time())
    (before,) = first.of(SITE)
    (after,) = CertificateFolder(tmp_path, now=time.time() + 2 * 86400, previous=first).of(SITE)
    assert before.certificate is not None and after.certificate is not None
    assert (before.certificate.expired, after.certificate.expired) == (False, True)
    assert before.certificate.digest == after.certificate.digest


def test_while_a_renewal_is_half_done_the_previous_pair_is_used(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    first = CertificateFolder(tmp_path, now=time.time())
    (before,) = first.of(SITE)
    old_key = (tmp_path / "www.shop.test.key").read_text()
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    new_key = (tmp_path / "www.shop.test.key").read_text()
    (tmp_path / "www.shop.test.key").write_text(old_key)
    second = CertificateFolder(tmp_path, now=time.time(), previous=first)
    (between,) = second.of(SITE)
    assert between.certificate == before.certificate
    assert "KEY_VALUES_MISMATCH" in between.problem
    (tmp_path / "www.shop.test.key").write_text(new_key)
    third = CertificateFolder(tmp_path, now=time.time(), previous=second)
    (after,) = third.of(SITE)
    assert (after.certificate == before.certificate, after.problem) == (False, "")
    (tmp_path / "www.shop.test.crt").unlink()
    assert CertificateFolder(tmp_path, now=time.time(), previous=third).of(SITE) == ()


def test_what_nginx_reads_is_a_private_copy_named_by_its_content(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    files, folder = CertificateFiles(tmp_path / "tls"), tmp_path / "tls"
    first = by_domain(look(tmp_path))["www.shop.test"]
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    renewed = by_domain(look(tmp_path))["www.shop.test"]
    assert first.digest != renewed.digest
    files.write([first, renewed, first])
    assert (folder / f"{first.digest}.crt").read_text() == first.chain
    shown = (folder / f"{first.digest}.key").stat()
    # Root's, and of a group that nobody is in.
    private = (0o640, TESTERS) if os.geteuid() == 0 else (0o600, os.getegid())
    assert (stat.S_IMODE(shown.st_mode), shown.st_gid) == private
    files.forget_all_but([renewed.digest])
    assert {file.stem for file in folder.iterdir()} == {renewed.digest}


def test_the_key_is_in_no_representation(tmp_path: Path) -> None:
    make_certificate(tmp_path, "www.shop.test", "www.shop.test")
    assert "PRIVATE KEY" not in repr(look(tmp_path))
