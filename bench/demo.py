"""The main job, shown and measured: releases go live one after the other under load, nothing is lost."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from bench.analysis import Switch, analyse
from bench.lab import SITE, Broken, Lab, Outcome, finish, plain_start_s, say
from bench.load import Load, Target

REQUESTS = 20_000
OBSERVE_S = 1
KEEP_S = 60


class Demo:
    """Runs the story step by step and keeps what each switch measured."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.switches: list[Switch] = []
        self.deploys: list[Outcome] = []
        self.switch_ms: list[float] = []
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        say(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def step(self, text: str) -> None:
        self.note(f"    {text}")

    def first(self) -> None:
        self.note("release 1 is deployed, the first of this site (before it: the maintenance page)")
        self._succeeds(self.lab.deploy("gateway-demo:1", progress=self.step))

    def deploy(self, release: str) -> None:
        self.note(f"release {release} is deployed")
        outcome = self._succeeds(self.lab.deploy(f"gateway-demo:{release}", progress=self.step))
        self.deploys.append(outcome)
        self._switched(release, outcome)

    def refuse(self, release: str) -> None:
        self.note(f"a bad build of release {release} is deployed: it answers 500 to everything")
        outcome = self.lab.deploy(f"gateway-demo:{release}", progress=self.step, MODE="error500")
        if outcome.exit_code != 1 or outcome.answer.get("outcome") != "aborted":
            raise Broken(f"a bad release was not refused (exit code {outcome.exit_code}): {outcome.answer}")
        self.note(f"refused after {outcome.took_s:.1f} s, the live release is untouched: {outcome.reason}")

    def roll_back(self, release: str) -> None:
        self.note(f"back to release {release}, which is still warm")
        outcome = self._succeeds(self.lab.cli("rollback", SITE, progress=self.step))
        self._switched(release, outcome)

    def _succeeds(self, outcome: Outcome) -> Outcome:
        if not outcome.good:
            raise Broken(f"exit code {outcome.exit_code}: {outcome.reason or outcome.answer}")
        return outcome

    def _switched(self, release: str, outcome: Outcome) -> None:
        self.switches.append(Switch(release, outcome.switched_at))
        self.switch_ms.append(outcome.switch_ms)
        self.note(
            f"release {release} is live after {outcome.took_s:.1f} s;"
            f" the switch itself took {outcome.switch_ms:.1f} ms"
        )


def tell(demo: Demo) -> tuple[Mapping[str, Any], bool]:
    demo.first()
    target = Target("127.0.0.1", demo.lab.port, demo.lab.domain)
    with Load(target) as load:
        demo.note("from here on 24 clients keep asking, on kept-alive connections, and never ask twice")
        load.wait_for(500, timeout_s=30)
        story: tuple[Callable[[], None], ...] = (
            lambda: demo.deploy("2"),
            lambda: demo.deploy("3"),
            lambda: demo.refuse("4"),
            lambda: demo.deploy("4"),
            lambda: demo.roll_back("3"),
        )
        for chapter in story:
            chapter()
            demo.note(f"{len(load.records):,} requests so far")
        demo.note("the same application is started 3 times without the gateway, to compare")
        start_s = median(plain_start_s("2") for _ in range(3))
        load.wait_for(REQUESTS, timeout_s=60)
    report = analyse(load.records, demo.switches)
    overhead_s = median(deploy.work_s for deploy in demo.deploys) - start_s
    command_s = median(deploy.took_s - deploy.waited_s for deploy in demo.deploys) - start_s
    for record in [r for r in load.records if not r.complete][:5]:
        demo.note(f"lost: {record}")
    demo.note(
        f"{report.requests:,} requests, {report.lost} lost, {report.wrong_release} answered by an older"
        f" release after a newer one; {len(demo.switches)} switches"
    )
    demo.note(
        f"a deploy takes {overhead_s:.2f} s more than the application's own start ({start_s:.2f} s),"
        f" watching and draining not counted; with the command line's own start and end {command_s:.2f} s"
    )
    for outcome in demo.deploys:
        demo.note(f"    of {outcome.answer['release']}: {outcome.breakdown}")
    result = {
        "requests": report.requests,
        "lost": report.lost,
        "wrong_release": report.wrong_release,
        "switches": len(demo.switches),
        "switch_ms_p50": round(median(demo.switch_ms), 3),
        "mixed_window_ms_max": round(report.mixed_window_ms_max, 3),
        "deploy_overhead_s": round(overhead_s, 3),
        "command_overhead_s": round(command_s, 3),
    }
    return result, report.lost == 0 and report.wrong_release == 0 and report.requests >= REQUESTS


def main() -> tuple[Mapping[str, Any], bool]:
    argparse.ArgumentParser(prog="scripts/demo", description=__doc__).parse_args()
    settings = {"GATEWAY_OBSERVE_S": str(OBSERVE_S), "GATEWAY_KEEP_S": str(KEEP_S)}
    say("the drop-in gateway is started")
    with Lab("gateway-demo", settings=settings) as lab:
        return tell(Demo(lab))


if __name__ == "__main__":
    finish(main)
