"""What testssl.sh says of the image's TLS as it is without any setting."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import SITE, Plane, blue_serves, running_plane
from tests.made_certificates import make_authority, make_certificate

# A minute where nothing else runs.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# All that it has but the simulation of clients: protocols, ciphers, the server's preference, forward
# secrecy, the certificate, headers, and every vulnerability that it knows.
CHECKS = ("-p", "-s", "-P", "-f", "-S", "-h", "-U")
# Graded as SSL Labs' rating guide says; testssl.sh does it from 3.2 on.
AT_LEAST_A = {"A", "A+"}


@pytest.fixture(scope="module")
def findings(
    gateway_image: str, network: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, str]]]:
    """By their ids, of one run against a site that answers, whose certificate a trusted authority signed."""
    folder = tmp_path_factory.mktemp("testssl")
    certs = folder / "certs"
    certs.mkdir()
    authority = make_authority("Gateway Test CA")
    (folder / "ca.pem").write_bytes(authority.pem)
    make_certificate(certs, "shop.test", "shop.test", authority=authority)
    with running_plane(network, run=["-v", f"{certs}:/etc/gateway/certs:ro"]) as plane:
        blue_serves(plane, SITE)
        yield examined(plane, folder)


def examined(plane: Plane, folder: Path) -> dict[str, dict[str, str]]:
    told = folder / "findings.json"
    how = ["--ip", "127.0.0.1", "--nodns", "none", "--warnings", "off", "--quiet", "--color", "0"]
    what = [
        "--add-ca",
        str(folder / "ca.pem"),
        "--jsonfile",
        str(told),
        f"https://shop.test:{plane.https_port}",
    ]
    try:
        done = subprocess.run(
            ["testssl", *CHECKS, *how, *what], capture_output=True, text=True, timeout=500, cwd=folder
        )
    except FileNotFoundError:
        pytest.fail("testssl is missing: scripts/test brings it, or install testssl.sh 3.2 or newer")
    assert told.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    found = {one["id"]: one for one in json.loads(told.read_text())}
    assert "scanProblem" not in found, found["scanProblem"]["finding"]  # it gave up
    return found


def test_the_default_is_graded_at_least_a(findings: dict[str, dict[str, str]]) -> None:
    """As only testssl.sh 3.2 and newer does."""
    print({name: one["finding"] for name, one in findings.items() if "score" in name or "grade" in name})
    assert findings["overall_grade"]["finding"] in AT_LEAST_A


def test_nothing_severe_is_found_in_the_default(findings: dict[str, dict[str, str]]) -> None:
    """The chain is trusted, so no finding has to be excused."""
    assert findings["cert_chain_of_trust"]["severity"] == "OK"
    severe = [one for one in findings.values() if one["severity"] in ("HIGH", "CRITICAL", "FATAL")]
    assert severe == []


@pytest.mark.parametrize(
    "what", ["heartbleed", "CCS", "ROBOT", "SWEET32", "BEAST", "LUCKY13", "cipherlist_NULL"]
)
def test_it_is_looked_at_and_found_well(findings: dict[str, dict[str, str]], what: str) -> None:
    """A check that could not be made would have found nothing severe either."""
    assert findings[what]["severity"] == "OK"
