"""The real thing: a Docker Engine, the built image, and applications to deploy. Never skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Lock
from tests.e2e import layouts
from tests.e2e.gateways import APP, DEMO, IMAGE, ROOT, Gateway, Start, docker


@pytest.fixture(scope="session")
def images(one_at_a_time: Lock) -> Iterator[None]:
    """The gateway, and an application in releases 1 to 3."""
    with one_at_a_time():
        docker("build", "-q", "--network=host", "-t", IMAGE, str(ROOT))
        for release in (1, 2, 3):
            docker(
                *("build", "-q", "--network=host", "-t", f"{APP}:{release}"),
                *("--build-arg", f"RELEASE={release}", str(DEMO)),
            )
    yield
    docker("image", "rm", "-f", IMAGE, *(f"{APP}:{release}" for release in (1, 2, 3)))


@pytest.fixture(scope="session")
def shared_gateway(
    images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Gateway]]:
    """One of each layout, started when it is needed first."""
    started: dict[str, Gateway] = {}

    def shared(layout: str) -> Gateway:
        if layout not in started:
            folder = tmp_path_factory.mktemp(layout)
            (folder / "config" / "sites").mkdir(parents=True)
            settings = {"GATEWAY_DOMAIN": "shared.test", "GATEWAY_CONFIG_DIR": layouts.CONFIG_DIR[layout]}
            started[layout] = layouts.start(layout, folder, settings)
        return started[layout]

    yield shared
    for gateway in started.values():
        layouts.remove(gateway)


@pytest.fixture(params=layouts.LAYOUTS)
def start_gateway(
    request: pytest.FixtureRequest, tmp_path: Path, shared_gateway: Callable[[str], Gateway]
) -> Iterator[Start]:
    """Adds a site with other settings to a gateway that runs; takes away everything that came of it.

    A test that is marked `own_gateway` does what the sites of others would notice: it gets one of its own.
    """
    is_own = request.node.get_closest_marker("own_gateway")
    started: list[Gateway] = []

    def start(**settings: str) -> Gateway:
        if is_own:
            gateway = layouts.start(request.param, tmp_path, settings)
        else:
            gateway = layouts.add_site(shared_gateway(request.param), settings)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        (layouts.remove if is_own else layouts.drop_site)(gateway)


@pytest.fixture
def gateway(start_gateway: Start) -> Gateway:
    return start_gateway()
