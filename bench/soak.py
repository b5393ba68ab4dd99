"""Many deploys in a row under load: nothing is lost, and nothing grows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.analysis import Switch, analyse, flat, quarters
from bench.lab import SITE, Broken, Lab, Outcome, containers, finish, run, say
from bench.load import Load, Target

# What one look may differ from another by, of itself: share of the first quarter, and absolute.
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "controller_rss_mb": (0.10, 8.0),
    "nginx_rss_mb": (0.10, 8.0),
    "controller_descriptors": (0.10, 8.0),
    "nginx_descriptors": (0.10, 40.0),
    "containers": (0.0, 0.5),
    "files_tmp": (0.0, 2.0),
    "files_shm": (0.0, 2.0),
    "files_state": (0.0, 2.0),
}
# Longer than a deploy takes: each one finds the one before it keeping its old release, and ends that.
KEEP_S = 60
# One line a process: its name, open descriptors, resident kB. Then the number of files in each folder.
LOOK = r"""
for p in /proc/[0-9]*; do
    echo process $(cat $p/comm) $(ls $p/fd | wc -l) $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' $p/status)
done 2>/dev/null
echo files_tmp $(find /tmp 2>/dev/null | wc -l)
echo files_shm $(find /dev/shm/gateway 2>/dev/null | wc -l)
echo files_state $(find /var/lib/gateway 2>/dev/null | wc -l)
"""
OURS = ("python", "gateway", "uvicorn")


def read_look(text: str) -> dict[str, float]:
    """The numbers in LOOK's answer, summed by role."""
    found = dict.fromkeys((name for name in TOLERANCES if name != "containers"), 0.0)
    for line in text.splitlines():
        match line.split():
            case ["process", name, descriptors, rss_kb]:
                role = "nginx" if name == "nginx" else "controller" if name.startswith(OURS) else ""
                if role:
                    found[f"{role}_descriptors"] += float(descriptors)
                    found[f"{role}_rss_mb"] += float(rss_kb) / 1024
            case [name, count] if name in found:
                found[name] = float(count)
    return found


def look(lab: Lab) -> dict[str, float]:
    projects = (lab.project, f"{SITE}-blue", f"{SITE}-green")
    return {
        **read_look(run("docker", "exec", lab.container, "sh", "-c", LOOK)),
        "containers": float(sum(len(containers(project)) for project in projects)),
    }


def deploy(lab: Lab, release: str) -> Outcome:
    outcome = lab.deploy(f"gateway-demo:{release}", BOOT_S="0.1")
    if not outcome.good:
        raise Broken(f"release {release}: exit code {outcome.exit_code}: {outcome.reason}")
    return outcome


def soak(lab: Lab, deploys: int) -> tuple[Mapping[str, Any], bool]:
    deploy(lab, "1")
    switches, switch_ms, looks = [], [], []
    began = time.monotonic()
    with Load(Target("127.0.0.1", lab.port, lab.domain), connections=16, think_s=0.05) as load:
        for number in range(1, deploys + 1):
            release = "2" if number % 2 else "1"
            outcome = deploy(lab, release)
            switches.append(Switch(release, outcome.switched_at))
            switch_ms.append(outcome.switch_ms)
            looks.append(look(lab))
            if number % 10 == 0 or number == deploys:
                bad = sum(not r.complete for r in load.records)
                say(
                    f"{time.monotonic() - began:7.1f} s  {number} deploys,"
                    f" {len(load.records):,} requests, {bad} lost, {told(looks[-1])}"
                )
    report = analyse(load.records, switches)
    grown = growing(looks)
    for name in TOLERANCES:
        first, last = quarters([one[name] for one in looks])
        verdict = "GROWS" if name in grown else "flat"
        share, absolute = TOLERANCES[name]
        allowed = f"{share:.0%} or {absolute:g}"
        say(f"{name:24} first quarter {first:9.1f}, last {last:9.1f}, at most {allowed} more: {verdict}")
    result = {
        "deploys": deploys,
        "requests": report.requests,
        "lost": report.lost,
        "wrong_release": report.wrong_release,
        "mixed_window_ms_max": round(report.mixed_window_ms_max, 3),
        "switch_ms_p50": round(median(switch_ms), 3),
        "grown": grown,
        **{name: [round(mean, 1) for mean in quarters([one[name] for one in looks])] for name in TOLERANCES},
    }
    return result, not (report.lost or report.wrong_release or grown)


def growing(looks: Sequence[Mapping[str, float]]) -> list[str]:
    return [
        name
        for name, (share, absolute) in TOLERANCES.items()
        if not flat([one[name] for one in looks], share=share, absolute=absolute)
    ]


def told(seen: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in seen.items())


def main() -> tuple[Mapping[str, Any], bool]:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--deploys", type=int, required=True)
    deploys = parser.parse_args().deploys
    settings = {"GATEWAY_OBSERVE_S": "0.2", "GATEWAY_KEEP_S": str(KEEP_S)}
    with Lab("gateway-soak", settings=settings) as lab:
        return soak(lab, deploys)


if __name__ == "__main__":
    finish(main)
