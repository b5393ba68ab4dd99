"""Three nodes, three gateways, six replicas: every strategy, under load on all gateways."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.analysis import Record, lost
from bench.lab import SITE, Broken, finish, say
from bench.load import Load, Target
from bench.nodes import Node, published, registry, swarm
from bench.swarm import Swarm, app_stack
from bench.swarm_compare import Row, by_swarm, measured, table, told

NODES, REPLICAS, CLIENTS = 3, 6, 8
BLUE_GREEN, CANARY = 20, 5
STEPS, ROLLED = "steps", "rolled"
OBSERVE_S = 0.2
STACK = app_stack(REPLICAS, boot_s=0.2, update_config={"parallelism": 2, "monitor": "1s"})
SETTINGS = {
    "GATEWAY_SITE": "",
    "GATEWAY_DOMAIN": "",
    "GATEWAY_UPSTREAM": "",
    "GATEWAY_SITES": f"{SITE},{STEPS},{ROLLED}",
    **{f"GATEWAY_{name.upper()}_DOMAIN": f"{name}.test" for name in (SITE, STEPS, ROLLED)},
    **{f"GATEWAY_{name.upper()}_UPSTREAM": "app:8000" for name in (SITE, STEPS, ROLLED)},
    **{f"GATEWAY_{name.upper()}_STACK_FILE": "/stacks/stack.yaml" for name in (SITE, STEPS, ROLLED)},
    "GATEWAY_STEPS_CANARY_STEPS": "10,50",
    "GATEWAY_STEPS_CANARY_STEP_S": "0.5",
    "GATEWAY_ROLLED_STRATEGY": "rolling",
    "GATEWAY_OBSERVE_S": str(OBSERVE_S),
    "GATEWAY_KEEP_S": "0",
}


class Loads:
    """On every gateway at a time, for one site."""

    def __init__(self, nodes: Sequence[Node], site: str) -> None:
        targets = {node.name: Target(node.ip, 80, f"{site}.test") for node in nodes}
        self.by_node = {name: Load(target, connections=CLIENTS) for name, target in targets.items()}
        self._ends = ExitStack()

    def __enter__(self) -> Loads:
        for load in self.by_node.values():
            self._ends.enter_context(load)
        for load in self.by_node.values():
            load.wait_for(100, timeout_s=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def records(self) -> list[Record]:
        return [record for load in self.by_node.values() for record in load.records]

    def spread_ms(self, release: str, since: float) -> float:
        """From the first gateway's first answer of the release to the last one's."""
        firsts = [
            min((r.ended for r in load.records if r.release == release and r.sent > since), default=None)
            for load in self.by_node.values()
        ]
        if None in firsts:
            raise Broken(f"release {release} was not answered by every gateway")
        found = [first for first in firsts if first is not None]
        return (max(found) - min(found)) * 1000

    def went_back(self, old: str, new: str, since: float) -> int:
        """Answers of the old release to what was sent after the same gateway answered with the new one."""
        count = 0
        for load in self.by_node.values():
            records = [r for r in load.records if r.sent > since]
            first = min(r.ended for r in records if r.release == new)
            count += sum(1 for r in records if r.release == old and r.sent > first)
        return count


def deployed(fleet: Swarm, image: str, site: str) -> None:
    outcome = fleet.deploy(image, site=site)
    if not outcome.good:
        raise Broken(f"exit code {outcome.exit_code}: {outcome.reason or outcome.answer}\n{fleet.report()}")


def tell(fleet: Swarm, images: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
    spreads: list[float] = []
    found: dict[str, Any] = {}
    back = 0
    for site, count in ((SITE, BLUE_GREEN), (STEPS, CANARY), (ROLLED, 1)):
        say(f"{site}: the first release")
        deployed(fleet, images["1"], site)
        fleet.settled(site)
        with Loads(fleet.nodes, site) as loads:
            for number in range(count):
                old, new = ("1", "2") if number % 2 == 0 else ("2", "1")
                since, began = time.perf_counter(), time.monotonic()
                deployed(fleet, images[new], site)
                time.sleep(0.1)
                if site == SITE:
                    spreads.append(loads.spread_ms(new, since))
                    back += loads.went_back(old, new, since)
                say(f"{site}: release {new} after {time.monotonic() - began:.1f} s")
                fleet.settled(site)
        missing = lost(loads.records)
        found[site] = {"deploys": count, "requests": len(loads.records), "lost": len(missing)}
        say(f"{site}: {found[site]} {[r.error or r.status for r in missing[:5]]}")
    found |= {
        "spread_ms_p50": round(median(spreads), 1),
        "spread_ms_max": round(max(spreads), 1),
        "went_back": back,
    }
    good = back == 0 and not any(found[site]["lost"] for site in (SITE, STEPS, ROLLED))
    return found, good


def by_gateway(fleet: Swarm, images: Mapping[str, str]) -> Row:
    say("the same by the gateway")
    deployed(fleet, images["1"], SITE)
    fleet.settled(SITE)

    def target(node: Node) -> Target:
        return Target(node.ip, 80, f"{SITE}.test")

    return measured("gateway, blue-green", fleet.nodes, target, lambda: deployed(fleet, images["2"], SITE))


def main() -> tuple[Mapping[str, Any], bool]:
    with tempfile.TemporaryDirectory() as folder, swarm(NODES) as nodes, registry(Path(folder)):
        say(f"{NODES} nodes form a Swarm")
        gateway = published(nodes[0], "gateway:local", "gateway:1")
        nginx = published(nodes[0], "nginx:1.30", "nginx:1.30")
        images = {n: published(nodes[0], f"gateway-demo:{n}", f"app:{n}") for n in ("1", "2")}
        with Swarm(nodes, gateway, STACK, SETTINGS) as fleet:
            say(f"a gateway on each; the controller on {fleet.leader()[1].name} leads")
            result, good = tell(fleet, images)
            rows = [by_gateway(fleet, images)]
        rows = [*by_swarm(nodes, images, nginx), *rows]
        for line in table(rows):
            say(line)
        return result | {"compared": told(rows)}, good and not rows[-1].failed


if __name__ == "__main__":
    finish(main)
