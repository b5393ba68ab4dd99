"""A slot that is narrowed to some of its replicas, on the real image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core import stack
from gateway.core.model import InFlight, Routing, Slot, Strategy
from tests.docker.conftest import APP, ENV, SITE, Plane, docker, eventually, running_plane

pytestmark = pytest.mark.docker

ROLLING = replace(SITE, strategy=Strategy.ROLLING)
WIDE = Routing(Slot.BLUE, awake=True)
NARROW = replace(WIDE, narrowed=Slot.BLUE, within=1)


def replica(plane: Plane, number: int) -> None:
    """One of two, of blue, whose release is its number."""
    names = [stack.alias(ROLLING, Slot.BLUE), *stack.parts(ROLLING, Slot.BLUE, number, 2)]
    place = [word for name in names for word in ("--network-alias", name)]
    what = ["-e", f"RELEASE={number}", "-v", f"{APP}:/app.py:ro", "--entrypoint", "python3"]
    name = ["--name", f"{plane.network}-replica-{number}", "--network", plane.network]
    docker("run", "-d", *name, *place, *what, "gateway-lab/python:3", "/app.py")


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network, env=ENV | {"GATEWAY_STRATEGY": "rolling"}) as plane:
        docker("rm", "-fv", f"{network}-blue")
        try:
            for number in (1, 2):
                replica(plane, number)
            plane.proxy().publish(ROLLING, WIDE)
            eventually(lambda: all(plane.get()[0] == 200 for _ in range(20)))
            eventually(lambda: set(asked(plane, 20)) == {"1", "2"})
            yield plane
        finally:
            docker("rm", "-fv", *(f"{network}-replica-{number}" for number in (1, 2)), check=False)


def asked(plane: Plane, times: int) -> Counter[str]:
    return Counter(plane.release() for _ in range(times))


def test_no_request_begins_on_what_a_slot_is_narrowed_away_from(plane: Plane, proxy: NginxProxy) -> None:
    for _ in range(3):
        proxy.publish(ROLLING, NARROW)
        assert proxy.serving(ROLLING) == NARROW
        assert asked(plane, 40) == {"1": 40}
        proxy.publish(ROLLING, WIDE)
        assert set(asked(plane, 40)) == {"1", "2"}


def test_a_share_can_be_narrowed_on_either_side(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(ROLLING, Routing(Slot.GREEN, share=99, narrowed=Slot.BLUE, within=1))
    assert set(asked(plane, 20)) <= {"1", "green"}
    proxy.publish(ROLLING, Routing(Slot.BLUE, share=1, narrowed=Slot.BLUE, within=1))
    assert set(asked(plane, 20)) <= {"1", "green"}


def test_what_began_on_a_part_is_counted_by_it_and_by_no_other(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(ROLLING, NARROW)
    with plane.websocket(), plane.unfinished():
        eventually(lambda: proxy.in_flight(ROLLING, Slot.BLUE, [1]) == InFlight(1, 1))
        assert proxy.in_flight(ROLLING, Slot.BLUE) == InFlight()
        assert proxy.in_flight(ROLLING, Slot.BLUE, [2]) == InFlight()
        proxy.publish(ROLLING, WIDE)
        with plane.unfinished():
            eventually(lambda: proxy.in_flight(ROLLING, Slot.BLUE) == InFlight(1))
            assert proxy.in_flight(ROLLING, Slot.BLUE, [1, 2]) == InFlight(2, 1)
    eventually(lambda: not proxy.in_flight(ROLLING, Slot.BLUE, [1, 2]))


def test_a_steady_slot_is_narrowed_for_every_worker_at_once(plane: Plane, proxy: NginxProxy) -> None:
    """Though each may remember for a second what it found."""
    for _ in range(3):
        proxy.publish(ROLLING, Routing(Slot.BLUE))
        asked(plane, 20)
        proxy.publish(ROLLING, NARROW)
        assert asked(plane, 40) == {"1": 40}
