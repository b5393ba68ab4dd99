"""The control plane's orders: deploy, switch, rollback, abort, cleanup."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gateway import errors
from gateway.core.model import Deployment, Kind, Phase, Site, Slot
from gateway.core.plan import Request, candidate
from gateway.core.transitions import CANCELLABLE
from gateway.runner import Runner, Running
from gateway.world import World

log = logging.getLogger("gateway")


def site_named(sites: Mapping[str, Site], name: str) -> Site:
    try:
        return sites[name]
    except KeyError:
        known = ", ".join(sorted(sites))
        raise errors.UsageError(f"no site {name!r}; this gateway serves: {known}") from None


class Controller:
    """One a gateway. Thread-safe; raises errors.GatewayError with what to do next."""

    def __init__(self, sites: Mapping[str, Site], world: World, runner: Runner) -> None:
        self._sites, self._world, self._runner = sites, world, runner

    def site(self, name: str) -> Site:
        return site_named(self._sites, name)

    def resume(self) -> None:
        """Go on with what was in progress when we last ended."""
        for site in self._sites.values():
            if unfinished := self._world.journal.unfinished(site.name):
                log.info("resuming %s of %s in %s", unfinished.id, site.name, unfinished.phase)
                self._runner.run(site, unfinished)

    def deploy(self, name: str, request: Request) -> Deployment:
        site = self.site(name)
        self._refuse_if_busy(site)
        model = self._world.engine.resolve(site, request.images, request.values)
        live, before = self._world.live(site)
        with self._runner.lock:
            self._refuse_if_busy(site)
            self._end_keeping(site)
            release = self._world.journal.add_release(site.name, model, request.images)
            deployment = candidate(site, release, live, before, request, now=self._world.clock.now())
            deployment = self._world.journal.begin(deployment)
            self._runner.run(site, deployment)
        return deployment

    def rollback(self, name: str, *, to: str | None = None, by: str = "") -> Deployment:
        """Bring the previous release back: at once while it is warm, else as a new deployment."""
        site = self.site(name)
        with self._runner.lock:
            running = self._runner.running.get(site.name)
            if running and to in (None, running.deployment.previous):
                return self._revert(running)
            self._refuse_if_busy(site)
            live, before = self._world.live(site)
            release = self._world.journal.release(site.name, to or self._release_before(site, before))
            if release is None:
                raise errors.UsageError(
                    f"no release {to!r} of {site.name}; see `gateway history {site.name}`"
                )
            if release.id == before:
                raise errors.UsageError(f"{release.id} of {site.name} is live already")
            self._end_keeping(site)
            deployment = candidate(
                site, release, live, before, Request(by=by, kind=Kind.ROLLBACK), now=self._world.clock.now()
            )
            deployment = self._world.journal.begin(deployment)
            self._runner.run(site, deployment)
        return deployment

    def _revert(self, running: Running) -> Deployment:
        deployment = running.deployment
        if deployment.phase not in CANCELLABLE:
            raise errors.Busy(_busy(deployment, self._world.clock.now()))
        if deployment.previous is None:
            raise errors.UsageError(
                f"{deployment.release} is the first release of {deployment.site}: nothing to go back to"
                f" (`gateway abort {deployment.site}` brings the maintenance page back)"
            )
        self._world.journal.cancel(deployment.number)
        return deployment

    def switch(self, name: str, slot: str | None) -> Deployment | None:
        """Send the traffic to what stands ready in the slot. None: it answers already."""
        site = self.site(name)
        if slot is not None and slot not in tuple(Slot):
            raise errors.UsageError(f"no slot {slot!r}; a site has the slots blue and green")
        with self._runner.lock:
            live, _ = self._world.live(site)
            if slot is not None and slot == live:
                return None
            running = self._runner.running.get(site.name)
            if running and running.deployment.phase is Phase.READY:
                self._world.journal.order_switch(running.deployment.number)
                return running.deployment
            if running and live == running.deployment.slot:
                return self._revert(running)
            holds = "; ".join(f"{s}: {h or 'empty'}" for s, h in self._world.held(site).items())
            raise errors.UsageError(f"nothing stands ready to be switched to ({holds}): deploy first")

    def abort(self, name: str) -> Deployment:
        """Undo the running deployment; acknowledged only when it is saved."""
        site = self.site(name)
        with self._runner.lock:
            running = self._runner.running.get(site.name)
            if running is None:
                raise errors.UsageError(f"no deployment of {site.name} is running")
            if running.deployment.phase not in CANCELLABLE:
                raise errors.Busy(
                    _busy(running.deployment, self._world.clock.now()) + "; it is past its way back"
                )
            self._world.journal.cancel(running.deployment.number)
            return running.deployment

    def cleanup(self, name: str) -> dict[str, Any]:
        """Stop what a slot holds that neither answers nor belongs to a deployment."""
        site = self.site(name)
        self._refuse_if_busy(site)
        live, _ = self._world.live(site)
        with self._runner.lock:
            self._end_keeping(site)
            stopped = []
            for slot in Slot:
                if slot != live and self._world.engine.replicas(site, slot):
                    self._world.engine.stop(site, slot)
                    stopped.append(str(slot))
        return {"site": site.name, "stopped": stopped}

    # Inside

    def _release_before(self, site: Site, live: str | None) -> str:
        """The newest older release that was live. Never a newer one: that was rolled back from."""
        served = [d for d in self._world.journal.deployments(site.name) if d.phase is Phase.SUCCEEDED]
        numbers = [int(d.release[1:]) for d in served if live is None or int(d.release[1:]) < int(live[1:])]
        if not numbers:
            raise errors.UsageError(f"no earlier release of {site.name} was ever live: nothing to go back to")
        return f"r{max(numbers)}"

    def _refuse_if_busy(self, site: Site) -> None:
        running = self._runner.running.get(site.name)
        if running and running.deployment.phase is not Phase.KEEPING:
            raise errors.Busy(_busy(running.deployment, self._world.clock.now()))

    def _end_keeping(self, site: Site) -> None:
        """The slot is needed: let the deployment that keeps the previous release warm retire it now."""
        running = self._runner.running.get(site.name)
        if running is None or running.thread is None:
            return
        running.slot_needed.set()
        self._runner.lock.release()
        try:
            running.thread.join()
        finally:
            self._runner.lock.acquire()
        self._refuse_if_busy(site)


def _busy(deployment: Deployment, now: float) -> str:
    by = f" by {deployment.by}" if deployment.by else ""
    return (
        f"{deployment.site} is busy: {deployment.id} ({deployment.release} to {deployment.slot}) is"
        f" {deployment.phase}, started{by} {now - deployment.created_at:.0f} s ago"
    )
