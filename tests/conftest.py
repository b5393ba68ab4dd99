"""Settings of all tests, and what lets several processes run them side by side."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# No example fails for being slow: the machine may be busy with something else.
settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")

Lock = Callable[[], AbstractContextManager[object]]
HERE = Path(__file__).parent


class Scheduling(LoadScopeScheduling):
    """Tests that share a running gateway stay in one process.

    xdist's own groups would do, but 3.8 writes them where pytest 9.2 does not look for a test's id any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        match Path(file).parent.name:
            case "docker":
                return file
            case "swarm":
                return "swarm"  # all of them share its nodes
            case _:
                return nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    config.option.loadscopereorder = False  # by the number of tests, which says nothing
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes is not begun last, and before the others all processes are free."""

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("alone"):
            return 0
        return 1 if item.get_closest_marker("first") or item.path.parent.name == "swarm" else 2

    items.sort(key=turn)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before its time begins to count
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """While a test that is marked `alone` runs, no other process runs one."""
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with _locked(HERE, how) as gate, _locked(HERE / "e2e", how):
        # Whoever is to be alone keeps it while he waits for the others: no one else begins meanwhile.
        if how is fcntl.LOCK_SH:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int]:
    """The folder itself: no file is left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def own_tag() -> str:
    """What images of this process's tests are tagged with: another removes its own when it ends."""
    run, process = os.environ.get("TEST_TAG", "test"), os.environ.get("PYTEST_XDIST_WORKER")
    return f"{run}-{process}" if process else run


@pytest.fixture(scope="session")
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    """A lock between the processes: what the first builds, the next find in the cache."""
    place = tmp_path_factory.getbasetemp()
    shared = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    return lambda: _locked(shared, fcntl.LOCK_EX)
