"""What `gateway status` says of certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.gateways import Start
from tests.made_certificates import make_certificate

pytestmark = [pytest.mark.docker, pytest.mark.own_gateway]


def test_status_names_certificates_that_end_soon_or_can_t_be_used(
    start_gateway: Start, tmp_path: Path
) -> None:
    (tmp_path / "certs").mkdir()
    for stem, days in [("fine.test", 89.5), ("soon.test", 12.5), ("over.test", -1)]:
        make_certificate(tmp_path / "certs", stem, stem, days=days)
    domains = "fine.test,soon.test,over.test,none.test"
    gateway = start_gateway(GATEWAY_CERTS_DIR="/stacks/certs", GATEWAY_DOMAIN=domains)
    told = [line.strip() for line in gateway.cli("status").out.splitlines() if "certificate" in line]
    assert told[0] == "certificate of soon.test: 12 days left"
    assert told[1].startswith("certificate of over.test: the certificate is not valid now (until ")
    assert told[2] == "certificate of none.test: no certificate: served over HTTP"
    assert len(told) == 3
    shown = gateway.cli("status", "--json").final["certificates"]
    assert [(one["domain"], one["days_left"]) for one in shown[:2]] == [("fine.test", 89), ("soon.test", 12)]
