"""Advances deployments, one thread a site; repeats a step while Docker or nginx can't be asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway import errors
from gateway.core import rolling
from gateway.core.events import Event
from gateway.core.model import Deployment, DrainClock, Hook, Leaving, Phase, Site
from gateway.core.plan import Step, StopStack, SwitchUpstream
from gateway.core.transitions import CANCELLABLE, HOOK_OF
from gateway.deploy import Cancelled, advance, decide
from gateway.diagnose import diagnose
from gateway.perform import Orders, Performer
from gateway.progress import Progress
from gateway.world import World

log = logging.getLogger("gateway")
RETRY_S = 1.0
HISTORY = 100  # finished deployments that a site keeps


@dataclass(slots=True)
class Running:
    """A deployment that a thread of ours is advancing."""

    deployment: Deployment
    progress: Progress = field(default_factory=Progress)
    slot_needed: threading.Event = field(default_factory=threading.Event)
    going_back: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    until: Mapping[DrainClock, float] = field(default_factory=dict)  # of the step in progress

    @property
    def leaving(self) -> Leaving | None:
        """None: nobody is given time now."""
        d = self.deployment
        slot = d.slot if d.phase is Phase.UNWINDING else d.previous_slot
        return Leaving(slot, self.until) if slot and self.until else None


class Runner:
    """`running`: site name -> what runs. Hold the site's lock to look at it and act in one go."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.running: dict[str, Running] = {}
        self._locks: dict[str, threading.Lock] = {}

    def lock(self, site: str) -> threading.Lock:
        """One a site: what one waits for must not hold up the others."""
        return self._locks.setdefault(site, threading.Lock())

    def run(self, site: Site, deployment: Deployment) -> None:
        running = Running(deployment)
        running.thread = threading.Thread(
            target=self._advance, args=(site, running), name=deployment.id, daemon=True
        )
        self.running[site.name] = running
        self._report(running, deployment)
        running.thread.start()

    def leaving(self) -> dict[str, Leaving]:
        """Site -> the slot that is still given time."""
        return {site: found for site, running in list(self.running.items()) if (found := running.leaving)}

    def _report(self, running: Running, deployment: Deployment) -> None:
        running.deployment, running.until = deployment, {}
        line = {"step": str(deployment.phase), "at": self._world.clock.now(), "reason": deployment.reason}
        if deployment.phase is Phase.STEPPING and deployment.shares:
            line["share"] = deployment.shares[0]
        if deployment.scales and deployment.phase in (Phase.STEPPING, Phase.REVERTING):
            line["replicas"] = rolling.said(deployment)
        running.progress.tell(line)
        log.info("%s %s %s %s", deployment.site, deployment.id, deployment.phase, deployment.reason)

    def _advance(self, site: Site, running: Running) -> None:
        number = running.deployment.number
        try:
            release = self._world.journal.release(site.name, running.deployment.release)
            if release is None:
                raise errors.Failed(f"{running.deployment.release} is missing in the journal")
            performer = Performer(
                site=site,
                release=release,
                engine=self._world.engine,
                jobs=self._world.jobs,
                proxy=self._world.proxy,
                clock=self._world.clock,
                orders=Orders(
                    cancelled=lambda: self._world.journal.orders(number)[0],
                    switch_ordered=lambda: self._world.journal.orders(number)[1],
                    slot_needed=running.slot_needed.is_set,
                    going_back=running.going_back.is_set,
                ),
                say=lambda text: self._say(running, text),
                gives=lambda until: self._give(running, until),
                previous=self._world.journal.release(site.name, running.deployment.previous or ""),
            )
            advance(
                running.deployment,
                perform=lambda d, step: self._perform(performer, d, step),
                settle=lambda d, event: self._settle(site, running, d, event),
            )
            self._forget(site, running)
        except Exception:
            # A bug. The phase is durable; the next start of the controller repeats its step.
            log.exception("%s stopped unexpectedly", running.deployment.id)
        finally:
            with self.lock(site.name):
                if self.running.get(site.name) is running:
                    del self.running[site.name]
            running.progress.close()

    def _forget(self, site: Site, running: Running) -> None:
        with self.lock(site.name):
            if running.slot_needed.is_set():
                return  # the order that waits for us may have chosen an old release; its own end forgets
            try:
                self._world.journal.forget(site.name, keep=HISTORY)
            except errors.JournalError as error:
                log.warning("%s: old deployments stay in the journal: %s", site.name, error)

    def _settle(self, site: Site, running: Running, deployment: Deployment, event: Event) -> Deployment:
        while True:
            try:
                settled = self._settle_once(running, deployment, event)
                break
            except errors.JournalError as error:
                self._say(running, f"trying again: {error}")
                self._world.clock.sleep(RETRY_S)
        if hook := HOOK_OF.get(deployment.phase):
            self._forget_hook(site, deployment, hook)
        return settled

    def _forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        """Its result is saved. If we can't, its container goes with its slot."""
        try:
            self._world.jobs.forget_hook(site, deployment, hook)
        except (errors.EngineError, errors.EngineUnreachable) as error:
            log.warning("%s: the container of the hook %s stays for now: %s", site.name, hook, error)

    def _settle_once(self, running: Running, deployment: Deployment, event: Event) -> Deployment:
        with self.lock(deployment.site):  # cancels are acknowledged under it too
            cancel_requested, _ = self._world.journal.orders(deployment.number)
            deployment = decide(deployment, event, cancel_requested=cancel_requested)
            self._world.journal.save(deployment)
            self._report(running, deployment)
        return deployment

    def _give(self, running: Running, until: Mapping[DrainClock, float]) -> None:
        running.until = until

    def _say(self, running: Running, text: str) -> None:
        phase = str(running.deployment.phase)
        running.progress.tell({"step": phase, "at": self._world.clock.now(), "waiting": text})

    def _perform(self, performer: Performer, deployment: Deployment, step: Step) -> Event:
        """Perform the step; repeat it while Docker or nginx can't be asked."""
        while True:
            began = self._world.clock.now()
            try:
                event = performer(deployment, step)
            except (errors.EngineError, errors.ProxyError, errors.JournalError, errors.Unreachable) as error:
                performer.say(f"trying again: {error}")
                self._world.clock.sleep(RETRY_S)
                if deployment.phase in CANCELLABLE and performer.orders.cancelled():
                    raise Cancelled from error
                continue
            if isinstance(step, SwitchUpstream):
                took_ms = (self._world.clock.now() - began) * 1000
                self._world.journal.note(deployment.number, switch_ms=took_ms)
            elif deployment.phase is Phase.REPORTING and event.reason:
                log.warning("%s %s: %s", deployment.site, deployment.id, event.reason)
            elif event.reason and not isinstance(step, StopStack):
                found = diagnose(self._world, performer.site, deployment)
                self._world.journal.note(deployment.number, diagnosis=found)
            return event
