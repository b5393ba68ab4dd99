"""Facts of the metrics, on the real image: a port of their own, and what is read there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.model import Routing, Slot
from tests.docker.conftest import ENV, SITE, Plane, docker, eventually, running_plane
from tests.made_certificates import make_certificate, read_until

pytestmark = pytest.mark.docker
SOON_S = 15.0  # a burst's quiet time, a test, a reload; the slow look at the latest


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    env = ENV | {"GATEWAY_METRICS_PORT": "9100"}
    with running_plane(network, env=env, run=("-p", "127.0.0.1::9100")) as plane:
        yield plane


@pytest.fixture(scope="module")
def scraped(plane: Plane) -> httpx.Client:
    where = docker("port", plane.name, "9100").stdout.splitlines()[0]
    client = httpx.Client(base_url=f"http://{where}")

    def answers() -> bool:
        """Where nobody listens, Docker's own proxy hangs up."""
        with suppress(httpx.TransportError):
            return client.get("/metrics").is_success
        return False

    eventually(answers)
    return client


def values(text: str) -> dict[str, float]:
    """Sample -> value, both as they are written."""
    return {
        f"{s.name} {' '.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}".strip(): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_a_scrape_names_the_quarantined_site_the_certificate_s_end_and_what_serves(
    plane: Plane, scraped: httpx.Client
) -> None:
    config = plane.folder / "config"
    (config / "sites").mkdir()
    (config / "certs").mkdir()
    (config / "sites" / "broken.env").write_text("DOMAIN=broken.test\nUPSTREAM=app:8000\nMAX_BODY=s3cret\n")
    make_certificate(config / "certs", "shop.test", "shop.test")
    plane.proxy().publish(SITE, Routing(Slot.GREEN))

    def quarantined() -> bool:
        return values(scraped.get("/metrics").text).get("gateway_site_quarantined site=broken") == 1

    eventually(quarantined, within_s=SOON_S)
    answer = scraped.get("/metrics")
    found = values(answer.text)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert found["gateway_site_info site=broken standing=unavailable"] == 1
    assert found["gateway_site_quarantined site=shop"] == 0
    assert found.get("gateway_site_live release=r0 site=shop slot=green") == 1, found
    until = read_until(config / "certs" / "shop.test.crt")
    assert found["gateway_certificate_expiry_timestamp_seconds domain=shop.test site=shop"] == until
    assert {value for name, value in found.items() if name.startswith("gateway_up")} == {1}
    assert any(name.startswith("gateway_configuration_generation_info generation=") for name in found)
    assert "s3cret" not in answer.text
    assert values(docker("exec", plane.name, "gateway", "metrics").stdout) == found


def test_nothing_else_is_served_there(scraped: httpx.Client) -> None:
    for path in ("/", "/sites", "/sites/shop/status", "/configuration"):
        assert scraped.get(path).status_code == 404
    assert scraped.post("/metrics").status_code == 405


def test_the_sites_do_not_serve_it(plane: Plane) -> None:
    assert "gateway_site_info" not in plane.get("/metrics")[1]


def test_who_holds_the_port_s_connections_keeps_scrapers_away_and_no_order(
    plane: Plane, scraped: httpx.Client
) -> None:
    url = scraped.base_url.join("/metrics")
    held = [socket.create_connection((url.host, url.port or 0)) for _ in range(20)]
    try:
        eventually(lambda: httpx.get(url).status_code == 503)
        assert "gateway_site_info" in docker("exec", plane.name, "gateway", "metrics").stdout
    finally:
        for each in held:
            each.close()
    eventually(lambda: httpx.get(url).status_code == 200)


def test_a_scrape_goes_on_without_nginx(plane: Plane, scraped: httpx.Client) -> None:
    """Its socket is taken away and put back: nobody can ask it meanwhile."""
    path = plane.folder / "run" / "nginx.sock"
    plane.proxy().publish(SITE, Routing(Slot.GREEN))
    path.rename(path.with_suffix(".away"))
    try:
        found = values(scraped.get("/metrics").text)
    finally:
        path.with_suffix(".away").rename(path)
    assert found["gateway_up part=nginx"] == 0
    assert found.get("gateway_site_live release=r0 site=shop slot=green") == 1, found
