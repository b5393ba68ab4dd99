"""Reload after reload of a really changed configuration loses nothing; scripts/soak --reloads does many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.load import Load, Target
from bench.slow import slow_load
from tests.docker.conftest import SITE, Plane, blue_serves, docker, eventually, running_plane

pytestmark = pytest.mark.docker
RELOADS = 60
LARGE = "/?pad=2000000"


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network) as plane:
        blue_serves(plane, SITE)
        yield plane


def reload(plane: Plane, number: int) -> None:
    """A domain of its own each time; until a fresh connection is answered by what was changed."""
    sites = plane.folder / "config" / "sites"
    (sites / ".churn.new").write_text(f"DOMAIN=churn{number}.test\nUPSTREAM=app:8000\n")
    (sites / ".churn.new").replace(sites / "churn.env")
    eventually(lambda: plane.get(host=f"churn{number}.test")[0] == 503, within_s=20)


def generations(plane: Plane) -> list[str]:
    """That nginx was seen to run, in order."""
    said = docker("logs", plane.name).stderr.splitlines()
    return [line.split()[-1] for line in said if "nginx runs generation" in line]


def test_reloads_lose_no_request_of_thinking_and_of_slow_clients(plane: Plane) -> None:
    (plane.folder / "config" / "sites").mkdir()
    target = Target("127.0.0.1", plane.port, "shop.test")
    large = Target("127.0.0.1", plane.port, "shop.test", LARGE)
    loads = [Load(target, connections=12, think_s=0.1), *slow_load(target, large)]
    with ExitStack() as stack:
        for load in loads:
            stack.enter_context(load)
        for number in range(RELOADS):
            reload(plane, number)
    assert [r for load in loads for r in load.records if not r.complete] == []
    assert [len(load.records) > RELOADS for load in loads] == [True] * 3
    assert len(set(generations(plane))) >= RELOADS
