"""The control plane's orders: deploy, switch, rollback, abort, cleanup."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from gateway import errors
from gateway.core import policy, rolling
from gateway.core.admission import LONGEST_PAUSE_S, Admission, Door
from gateway.core.history import contracted_since, release_before
from gateway.core.model import Deployment, Kind, Phase, Release, Routing, Site, Slot
from gateway.core.plan import Request, candidate
from gateway.core.roster import Standing
from gateway.core.transitions import CANCELLABLE, PAST_ITS_WAY_BACK, TERMINAL, WAITING
from gateway.directory import Directory
from gateway.perform import CONFIRM_TIMEOUT_S, LOOK_S
from gateway.runner import Runner, Running
from gateway.world import World

log = logging.getLogger("gateway")
# How long an order waits until the slot that it needs is free.
STOP_WAIT_S = 120.0
REFUSE, ACCEPT = "refuse", "accept"
ON, OFF = "on", "off"
# Its thread needs no more than to be waited for.
LEAVES_THE_SITE = (*WAITING, *PAST_ITS_WAY_BACK, *TERMINAL)


@dataclass(frozen=True, slots=True)
class Order:
    """A deployment that was given an order. `back`: it is on its way back, not forward.

    `warning`: what may break by it, where that was asked for.
    """

    deployment: Deployment
    back: bool = False
    warning: str = ""


class Controller:
    """One a gateway. Thread-safe; raises errors.GatewayError with what to do next."""

    def __init__(self, directory: Directory, world: World, runner: Runner) -> None:
        self._directory, self._world, self._runner = directory, world, runner

    def site(self, name: str) -> Site:
        return self._directory.site(name)

    def resume(self) -> None:
        """Go on with what was in progress when we last ended."""
        for site in self._directory.sites():
            with self._runner.lock(site.name):
                if site.name in self._runner.running:
                    continue  # an order came first
                if unfinished := self._world.journal.unfinished(site.name):
                    log.info("resuming %s of %s in %s", unfinished.id, site.name, unfinished.phase)
                    self._runner.run(site, unfinished)
                elif self._directory.serves(site.name) and not self._world.journal.deployments(site.name):
                    self._adopt(site)

    def _adopt(self, site: Site) -> None:
        """After a lost state volume: what runs in one slot alone can only be what was live."""
        try:
            runs = [
                slot
                for slot in Slot
                if not policy.gone(self._world.engine.replicas(site, slot), site.service)
            ]
            if len(runs) == 1:
                self._world.proxy.publish(site, Routing(runs[0]))
                log.warning("%s: nothing is known of it, and %s runs: it serves again", site.name, runs[0])
        except errors.GatewayError as error:
            log.warning("%s: can't look for a release that runs: %s", site.name, error)

    def deploy(self, name: str, request: Request) -> Deployment:
        site, ordered_at = self.site(name), self._world.clock.now()
        self._refuse_if_busy(site)
        model = self._world.engine.resolve(site, request.images, request.values)
        with self._runner.lock(site.name):
            self._free_the_slot(site)
            release = self._world.journal.add_release(site.name, model, request.images)
            return self._begin(site, release, request, ordered_at)

    def _begin(self, site: Site, release: Release, request: Request, ordered_at: float) -> Deployment:
        """With the lock held and the slot free: only now what is live stands still."""
        live, before = self._world.live(site)
        replicas = self._world.replaceable(site, live, before)
        deployment = candidate(site, release, live, before, request, now=ordered_at, replicas=replicas)
        deployment = self._world.journal.begin(deployment)
        self._runner.run(site, deployment)
        return deployment

    def rollback(self, name: str, *, to: str | None = None, by: str = "", across: str = REFUSE) -> Order:
        """Bring the previous release back: at once while it is warm, else as a new deployment.

        `across` a later release's contract: REFUSE, or ACCEPT what breaks.
        """
        site, ordered_at = self.site(name), self._world.clock.now()
        with self._runner.lock(site.name):
            running = self._runner.running.get(site.name)
            if running and to in (None, running.deployment.previous):
                if running.deployment.phase not in WAITING or self._is_warm(site, running):
                    return self._revert(running)
                to = running.deployment.previous  # it died while it waited: start it again
            self._refuse_if_busy(site)
            _, before = self._world.live(site)
            release = self._world.journal.release(site.name, to or self._release_before(site, before))
            if release is None:
                raise errors.UsageError(
                    f"no release {to!r} of {site.name}; see `gateway history {site.name}`"
                )
            if release.id == before:
                raise errors.UsageError(f"{release.id} of {site.name} is live already")
            # Again when the slot is free: a contract may have been running.
            self._what_breaks(site, release, across)
            self._free_the_slot(site, going_back=True)
            breaks = self._what_breaks(site, release, across)
            begun = self._begin(site, release, Request(by=by, kind=Kind.ROLLBACK), ordered_at)
            return Order(begun, warning=breaks)

    def _what_breaks(self, site: Site, release: Release, across: str) -> str:
        """What the release may miss. Raises UsageError unless that is accepted."""
        later = contracted_since(self._world.journal.deployments(site.name), release.id)
        if later is None:
            return ""
        breaks = (
            f"the contract of {later} has run: what {release.id} reads or writes may be gone"
            f" (columns, tables, formats), and {release.id} fails where it needs that"
        )
        if across != ACCEPT:
            raise errors.UsageError(
                f"{breaks}. Deploy a later release instead, or bring the data back first;"
                " `--force` goes back nevertheless"
            )
        return breaks

    def _is_warm(self, site: Site, running: Running) -> bool:
        slot = running.deployment.previous_slot
        return slot is None or not policy.gone(self._world.engine.replicas(site, slot), site.service)

    def _revert(self, running: Running) -> Order:
        deployment = running.deployment
        if deployment.phase not in CANCELLABLE:
            raise errors.Busy(_busy(deployment, self._world.clock.now()))
        if deployment.previous is None:
            raise errors.UsageError(
                f"{deployment.release} is the first release of {deployment.site}: nothing to go back to"
            )
        self._world.journal.cancel(deployment.number)
        return Order(deployment, back=True)

    def switch(self, name: str, slot: str | None) -> Order | None:
        """Send the traffic to what stands ready in the slot. None: it answers already."""
        site = self.site(name)
        if slot is not None and slot not in tuple(Slot):
            raise errors.UsageError(f"no slot {slot!r}; a site has the slots blue and green")
        with self._runner.lock(site.name):
            live, _ = self._world.live(site)
            if slot is not None and slot == live:
                return None
            running = self._runner.running.get(site.name)
            if running and running.deployment.phase in (Phase.READY, Phase.PAUSED):
                self._world.journal.order_switch(running.deployment.number)
                return Order(running.deployment)
            # Without a named slot it never goes back: typed twice, it must not flip.
            if running and slot is not None and live == running.deployment.slot:
                if not self._is_warm(site, running):
                    raise errors.UsageError(f"{slot} runs no more: `gateway rollback {site.name}` starts it")
                return self._revert(running)
            holds = "; ".join(f"{s}: {h or 'empty'}" for s, h in self._world.held(site).items())
            raise errors.UsageError(f"nothing stands ready to be switched to ({holds}): deploy first")

    def abort(self, name: str) -> Order:
        """Undo the running deployment; acknowledged only when it is saved."""
        site = self.site(name)
        with self._runner.lock(site.name):
            running = self._runner.running.get(site.name)
            if running is None or running.deployment.phase in WAITING:
                raise errors.UsageError(
                    f"no deployment of {site.name} is in progress;"
                    f" `gateway rollback {site.name}` undoes one that is done"
                )
            if running.deployment.phase not in CANCELLABLE:
                raise errors.Busy(
                    _busy(running.deployment, self._world.clock.now()) + "; it is past its way back"
                )
            self._world.journal.cancel(running.deployment.number)
            return Order(running.deployment, back=True)

    def pause(self, name: str, for_s: float) -> Admission:
        """Hold new requests until the site is resumed or switched, at most so long."""
        site = self.site(name)
        if not 0 < for_s <= LONGEST_PAUSE_S:
            raise errors.UsageError(f"a pause takes more than 0 and up to {LONGEST_PAUSE_S:g} s")
        with self._runner.lock(site.name):
            if self._world.live(site)[0] is None:
                raise errors.UsageError(f"no release of {site.name} is live: there is nothing to wait for")
            if self._world.proxy.admission(site).door is Door.MAINTENANCE:
                raise errors.UsageError(
                    f"{site.name} is in maintenance; `gateway maintenance {site.name} off` ends that"
                )
            return self._admit(site, Admission(Door.PAUSED, self._world.clock.now() + for_s))

    def unpause(self, name: str) -> Admission:
        """Let in who is held, to what is live now. A site in maintenance stays so."""
        return self._end(name, Door.PAUSED)

    def maintenance(self, name: str, wanted: str) -> Admission:
        """Answer with the maintenance page, or no more: ON, OFF. Ends a pause."""
        if wanted not in (ON, OFF):
            raise errors.UsageError(f"maintenance is {ON} or {OFF}, not {wanted!r}")
        if wanted == OFF:
            return self._end(name, Door.MAINTENANCE)
        site = self.site(name)
        with self._runner.lock(site.name):
            return self._admit(site, Admission(Door.MAINTENANCE))

    def _end(self, name: str, door: Door) -> Admission:
        site = self.site(name)
        with self._runner.lock(site.name):
            now = self._world.proxy.admission(site)
            return self._admit(site, Admission()) if now.door is door else now

    def _admit(self, site: Site, admission: Admission) -> Admission:
        """Order it and look until nginx says so. Raises ProxyError."""
        proxy, clock = self._world.proxy, self._world.clock
        deadline = clock.now() + CONFIRM_TIMEOUT_S
        proxy.admit(site, admission)
        while proxy.admission(site).door is not admission.door:
            if clock.now() >= deadline:
                raise errors.ProxyError(f"nginx does not say that {site.name} is {admission.door}")
            clock.sleep(LOOK_S)
        return admission

    def cleanup(self, name: str) -> dict[str, Any]:
        """Stop what a slot holds that neither answers nor belongs to a deployment.

        Nothing of a dropped site answers: all of it is stopped, and its routing and settings forgotten.
        """
        entry = self._directory.entry(name)
        dropped = entry.standing is Standing.DROPPED
        site = entry.site if entry.site and dropped else self.site(name)
        with self._runner.lock(site.name):
            self._free_the_slot(site)
            if dropped:
                self._world.proxy.publish(site, Routing())
                self._world.proxy.admit(site, Admission())
            live = None if dropped else self._world.live(site)[0]
            if live:
                self._send_away(site, live)
            stopped = []
            for slot in Slot:
                if slot != live and self._world.engine.replicas(site, slot):
                    self._world.engine.stop(site, slot)
                    stopped.append(str(slot))
            if dropped:
                self._directory.forget(name)
        return {"site": site.name, "stopped": stopped}

    # Inside

    def _send_away(self, site: Site, live: Slot) -> None:
        """A deployment that FAILED may have left visitors with the other slot."""
        world, other = self._world, live.other
        if world.proxy.serving(site).serves(other):
            world.proxy.publish(site, Routing(live))
            until, parts = world.clock.now() + site.drain_timeout_s, range(1, rolling.MOST_REPLICAS + 1)
            while world.clock.now() < until and world.proxy.in_flight(site, other, parts):
                world.clock.sleep(LOOK_S)

    def _release_before(self, site: Site, live: str | None) -> str:
        before = release_before(self._world.journal.deployments(site.name), live)
        if before is None:
            raise errors.UsageError(f"no earlier release of {site.name} was ever live: nothing to go back to")
        return before

    def _refuse_if_busy(self, site: Site) -> None:
        running = self._runner.running.get(site.name)
        deployment = running.deployment if running else self._world.journal.unfinished(site.name)
        if deployment is None or (running and deployment.phase in LEAVES_THE_SITE):
            return
        if running is None:
            # Its thread ended on a bug; nothing else may begin before it is finished.
            self._runner.run(site, deployment)
        raise errors.Busy(_busy(deployment, self._world.clock.now()))

    def _free_the_slot(self, site: Site, *, going_back: bool = False) -> None:
        """With the lock held: let a deployment that keeps the previous release warm retire it now.

        `going_back`: without its contract. Gives the lock up while it waits, so what was looked at before
        must be looked at again.
        """
        self._refuse_if_busy(site)
        running = self._runner.running.get(site.name)
        if running is None or running.thread is None:
            return
        if going_back:
            running.going_back.set()
        running.slot_needed.set()
        self._runner.lock(site.name).release()
        try:
            running.thread.join(STOP_WAIT_S)
        finally:
            self._runner.lock(site.name).acquire()
        if running := self._runner.running.get(site.name):
            raise errors.Busy(_busy(running.deployment, self._world.clock.now()))


def _busy(deployment: Deployment, now: float) -> str:
    by = f" by {deployment.by}" if deployment.by else ""
    return (
        f"{deployment.site} is busy: {deployment.id} ({deployment.release} to {deployment.slot}) is"
        f" {deployment.phase}, started{by} {now - deployment.created_at:.0f} s ago"
    )
