"""The control plane's answers: plan, status, history, progress. They change nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway import errors
from gateway.core import policy, stack
from gateway.core.admission import Admission, Door
from gateway.core.kubernetes import export
from gateway.core.model import Deployment, Release, Site, Slot, Strategy
from gateway.core.plan import Request, candidate, describe
from gateway.core.roster import Entry, Standing
from gateway.core.serving import DomainCertificate
from gateway.core.transitions import PAST_ITS_WAY_BACK, TERMINAL, WAITING
from gateway.directory import Directory
from gateway.ports import Certificates
from gateway.progress import Progress
from gateway.runner import Runner, Running
from gateway.world import World

DAY_S = 86400
NOT_ROLLED = (
    "the live release was not started by the strategy rolling, or not all of its replicas run: this deploy"
    " replaces them all at once"
)


class Views:
    """Thread-safe; raises errors.GatewayError with what to do next."""

    def __init__(
        self, directory: Directory, world: World, runner: Runner, certificates: Certificates
    ) -> None:
        self._directory, self._world, self._runner = directory, world, runner
        self._certificates = certificates

    def site(self, name: str) -> Site:
        return self._directory.site(name)

    def names(self) -> list[str]:
        return sorted(self._directory.roster.entries)

    def configuration(self) -> dict[str, Any]:
        """How each site stands to what is configured, and the problems of no single site."""
        roster = self._directory.roster
        return {
            "problems": list(roster.problems),
            "sites": {name: _standing(entry) for name, entry in roster.entries.items()},
        }

    def plan(self, name: str, request: Request) -> dict[str, Any]:
        """What a deploy would do; changes nothing."""
        site = self.site(name)
        release = self._next(site, request)
        live, before = self._world.live(site)
        current = self._world.journal.release(site.name, before) if before else None
        replicas = self._world.replaceable(site, live, before)
        deployment = candidate(
            site, release, live, before, request, now=self._world.clock.now(), replicas=replicas
        )
        at_once = site.strategy is Strategy.ROLLING and live is not None and not deployment.scales
        return {
            "site": site.name,
            "release": release.id,
            "slot": str(deployment.slot),
            "live": before,
            "steps": describe(site, deployment),
            "changes": stack.diff(current.stack if current else None, release.stack),
            "warnings": [*stack.warnings(release.stack), *([NOT_ROLLED] if at_once else [])],
        }

    def _next(self, site: Site, request: Request) -> Release:
        """What the next deploy of this would be. It is stored nowhere."""
        model = self._world.engine.resolve(site, request.images, request.values)
        return Release(self._world.journal.next_release(site.name), site.name, model, request.images)

    def kubernetes(
        self, name: str, request: Request, slot: Slot, *, share: int, parent: str
    ) -> dict[str, Any]:
        """What a deploy would start, as manifests."""
        site = self.site(name)
        release = self._next(site, request)
        found = export(site, release, slot, share=share, parent=parent)
        return {"manifests": found.manifests, "warnings": found.warnings}

    def status(self, name: str) -> dict[str, Any]:
        entry = self._directory.entry(name)
        told = {"site": name, "domains": list(entry.domains), "configuration": _standing(entry)}
        site = entry.site
        if site is None:
            nothing: dict[str, Any] = {
                "door": "open",
                "paused_s": None,
                "live": None,
                "release": None,
                "slots": {},
                "certificates": [],
                "deployment": None,
            }
            return told | nothing
        dropped = entry.standing is Standing.DROPPED
        live, release = (None, None) if dropped else self._world.live(site)
        running = self._runner.running.get(site.name)
        slots = {}
        for slot, held in self._world.held(site).items():
            replicas = self._world.engine.replicas(site, slot)
            due = [r for r in replicas if slot == live or not r.scheduler]
            why = (policy.broken(due, site.service) or policy.set_aside(due)) if replicas else ""
            in_flight = asdict(self._world.proxy.in_flight(site, slot)) if replicas else None
            slots[str(slot)] = {
                "release": held,
                "containers": len(replicas),
                "problem": why,
                "in_flight": in_flight,
                "sessions": self._world.proxy.sample(site, slot).sessions,  # that stayed when it was replaced
            }
        admission = Admission() if dropped else self._world.proxy.admission(site)
        return told | {
            **self.admitted(name, admission),
            "live": str(live) if live else None,
            "release": release,
            "slots": slots,
            "certificates": [self._certificate(found) for found in self._certificates(site)],
            "deployment": self._running(running) if running else None,
        }

    def _running(self, running: Running) -> dict[str, Any]:
        leaving = running.leaving
        return self.describe(running.deployment.number) | {
            "waiting": running.progress.waiting,
            # Of those who may stay with what traffic has left: seconds, by clock.
            "left_s": leaving.left_s(self._world.clock.now()) if leaving else {},
        }

    def admitted(self, name: str, admission: Admission) -> dict[str, Any]:
        """`paused_s`: seconds until a pause ends by itself."""
        left = admission.until - self._world.clock.now() if admission.door is Door.PAUSED else None
        return {
            "site": name,
            "door": str(admission.door),
            "paused_s": None if left is None else max(0.0, round(left, 1)),
        }

    def _certificate(self, found: DomainCertificate) -> dict[str, Any]:
        """As it lies in the folder now. `days_left` None: nothing there that can be used."""
        until = found.certificate.expires_at if found.certificate else None
        left = None if until is None else int((until - self._world.clock.now()) // DAY_S)
        return {"domain": found.domain, "expires_at": until, "days_left": left, "problem": found.problem}

    def history(self, name: str) -> list[dict[str, Any]]:
        name = self._directory.entry(name).name
        return [self._described(d) for d in self._world.journal.deployments(name)]

    def describe(self, number: int) -> dict[str, Any]:
        """A deployment as people and scripts get it."""
        d = self._world.journal.deployment(number)
        if d is None:
            raise errors.UsageError(f"no deployment d{number}")
        return self._described(d)

    def _described(self, d: Deployment) -> dict[str, Any]:
        outcome = str(d.phase) if d.phase in TERMINAL else "running"
        if d.phase in (*WAITING, *PAST_ITS_WAY_BACK):
            outcome = "succeeded"
        return {
            "deployment": d.id,
            "site": d.site,
            "kind": str(d.kind),
            "release": d.release,
            "slot": str(d.slot),
            "previous": d.previous,
            "phase": str(d.phase),
            "outcome": outcome,
            "shares": list(d.shares),
            "contracted": d.contracted,
            "reason": d.reason,
            "by": d.by,
            "created_at": d.created_at,
            **self._world.journal.details(d.number),
        }

    def progress(self, number: int) -> Progress:
        """The lines of a deployment; those of one that has ended are told from the journal."""
        for running in list(self._runner.running.values()):
            if running.deployment.number == number:
                return running.progress
        ended = Progress()
        for entry in self.describe(number)["timeline"]:
            ended.tell({"step": entry["phase"], "at": entry["at"]})
        ended.close()
        return ended


def _standing(entry: Entry) -> dict[str, Any]:
    return {"standing": str(entry.standing), "reasons": list(entry.reasons)}
