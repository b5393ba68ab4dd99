"""Deploys in a row under all that clients send: nothing is lost, and no drain takes longer than it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tests.conftest import Lock
from tests.e2e.gateways import ROOT, TAG, Gateway, Start, docker, published_port, wait_for
from tests.e2e.kinds.clients import KINDS, Exchange, Target
from tests.e2e.kinds.judge import Switch, drain_late_s, in_flight, misplaced, switch
from tests.made_certificates import make_certificate

pytestmark = [pytest.mark.docker, pytest.mark.own_gateway]
HERE = Path(__file__).with_name("kinds")
APP = f"kinds-{TAG}"
RELEASES = (1, 2)
# Of each of the two sites: fifty in all. Whether the layouts differ in something shows sooner.
DEPLOYS = {"drop-in": int(os.environ.get("GATEWAY_TEST_DEPLOYS", "25")), "hardened": 5}
DRAIN_LATE_S = 0.1
CLOCK_S = 4.0
RPC = """
DOMAIN=rpc.test
UPSTREAM=app:8000
PROTOCOL=grpc
PROBE_PATH=/
STACK_FILE=/stacks/stack.yaml
"""


@pytest.fixture(scope="module")
def releases(one_at_a_time: Lock) -> Iterator[None]:
    with one_at_a_time():
        for release in RELEASES:
            docker(
                *("build", "-q", "--network=host", "-t", f"{APP}:{release}"),
                *("--build-arg", f"RELEASE={release}", str(HERE)),
            )
    yield
    docker("image", "rm", "-f", *(f"{APP}:{release}" for release in RELEASES))


@dataclass(frozen=True)
class Sites:
    """Two sites behind one nginx: `web`, with TLS, and `rpc`, which speaks gRPC."""

    gateway: Gateway
    target: Target

    @property
    def programs(self) -> dict[str, str]:
        return {self.gateway.site: "web", f"{self.gateway.site}-rpc": "rpc"}

    def deploy(self, number: int) -> dict[str, Switch | None]:
        """Both at a time. None: the first deploy of a site leaves nothing."""
        with ThreadPoolExecutor(len(self.programs)) as pool:
            done = pool.map(lambda site: self._deploy(site, number), self.programs)
            return dict(zip(self.programs, done, strict=True))

    def _deploy(self, site: str, number: int) -> Switch | None:
        image = f"app={APP}:{RELEASES[number % len(RELEASES)]}"
        values = ("--set", f"PROGRAM={self.programs[site]}", "--set", f"DEPLOY={number}")
        done = self.gateway.cli("deploy", site, "--image", image, *values, "--json")
        assert done.code == 0, f"deploy {number} of {site}: {done.err}{done.out}"
        return switch(number, done.final) if done.final["previous"] else None


@pytest.fixture
def start_sites(start_gateway: Start, releases: None, tmp_path: Path) -> Callable[..., Sites]:
    return partial(_start_sites, start_gateway, tmp_path)


def _start_sites(start_gateway: Start, tmp_path: Path, **settings: str) -> Sites:
    for part in ("certs", "config/sites"):
        (tmp_path / part).mkdir(parents=True)
    make_certificate(tmp_path / "certs", "site.test", "site.test")
    gateway = start_gateway(
        GATEWAY_CONFIG_DIR="/stacks/config",
        GATEWAY_CERTS_DIR="/stacks/certs",
        GATEWAY_HTTPS_METHOD="noredirect",
        GATEWAY_STREAM_UPLOADS="on",
        GATEWAY_PROBE_PATH="/numbers",
        GATEWAY_OBSERVE_S="0.2",
        GATEWAY_KEEP_S="0",  # what a drain leaves behind is stopped at once
        **settings,
    )
    (tmp_path / "stack.yaml").write_text((HERE / "stack.yaml").read_text())
    rpc = f"{gateway.site}-rpc"
    (tmp_path / "config" / "sites" / f"{rpc}.env").write_text(RPC)
    wait_for(lambda: gateway.cli("status", rpc).code == 0, "both sites are known")
    authority = str(tmp_path / "certs" / "site.test.crt")
    https_port = published_port(gateway.container, "443")
    return Sites(gateway, Target(gateway.port, https_port, authority, "site.test", "rpc.test"))


@dataclass
class Clients:
    """A process a kind, and in the end what they saw."""

    target: Target
    kinds: Collection[str]
    exchanges: list[Exchange] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.e2e.kinds.clients"]
        told = json.dumps(asdict(self.target))
        processes = [
            subprocess.Popen([*command, kind, told], stdout=subprocess.PIPE, cwd=ROOT, text=True)
            for kind in self.kinds
        ]
        try:
            time.sleep(2)  # until all have begun
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                out, _ = process.communicate(timeout=60)
                self.exchanges += [Exchange(**json.loads(line)) for line in out.splitlines()]
        assert [process.returncode for process in processes] == [0] * len(processes)


def of_site(exchanges: Sequence[Exchange], site: str) -> list[Exchange]:
    return [one for one in exchanges if one.kind.startswith("gRPC") == site.endswith("-rpc")]


def told_by_kind(exchanges: Sequence[Exchange]) -> str:
    counted, lost = (
        Counter(one.kind for one in exchanges),
        Counter(one.kind for one in exchanges if one.wrong),
    )
    return "\n".join(f"{kind:20} {counted[kind]:6}, {lost[kind]} lost" for kind in sorted(counted))


@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("start_gateway", "deploys"), DEPLOYS.items(), indirect=["start_gateway"])
def test_deploys_in_a_row_are_noticed_by_no_client_of_any_kind(
    start_sites: Callable[..., Sites], deploys: int
) -> None:
    sites = start_sites()
    sites.deploy(0)
    clients, switches = Clients(sites.target, KINDS.keys() - {"staying"}), dict[str, list[Switch]]()
    began = time.monotonic()
    with clients.at_work():
        for number in range(1, deploys + 1):
            for site, one in sites.deploy(number).items():
                assert one
                switches.setdefault(site, []).append(one)
    print(f"{deploys} deploys of each site in {time.monotonic() - began:.0f} s")
    print(told_by_kind(clients.exchanges))
    assert [one for one in clients.exchanges if one.wrong] == []
    for site, ones in switches.items():
        exchanges = of_site(clients.exchanges, site)
        assert misplaced(exchanges, ones) == []
        met = [len(in_flight(exchanges, one)) for one in ones]
        late = [drain_late_s(exchanges, one) for one in ones]
        print(f"{site}: {min(met)} to {max(met)} exchanges in flight at a switch; after the last of them")
        print(f"  the drain ended within {median(late):.3f} s (median; {min(late):.3f} to {max(late):.3f})")
        assert min(met) > 0
        # The median: a client whose process waits for a processor sees its answer end late.
        assert abs(median(late)) <= DRAIN_LATE_S


def test_a_websocket_that_stays_is_told_goodbye_by_its_application_and_not_before_its_clock(
    start_sites: Callable[..., Sites],
) -> None:
    sites = start_sites(GATEWAY_WEBSOCKET_TIMEOUT_S=f"{CLOCK_S:g}")
    sites.deploy(0)
    clients, switches = Clients(sites.target, ["staying"]), list[Switch]()
    with clients.at_work():
        for number in (1, 2, 3):
            one = sites.deploy(number)[sites.gateway.site]
            assert one
            switches.append(one)
        time.sleep(CLOCK_S + 2)  # until the last have heard goodbye, and are back
    assert [one for one in clients.exchanges if one.wrong] == []
    assert misplaced(clients.exchanges, switches) == []
    for one in switches:
        left = [socket.ended for socket in clients.exchanges if socket.deploy == one.number - 1]
        assert len(left) == KINDS["staying"][1]
        assert min(left) >= one.ordered_at + CLOCK_S
