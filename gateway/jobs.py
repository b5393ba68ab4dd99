"""What is waited for beside requests: a hook's end, and workers that finish what they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway import errors
from gateway.core.model import Deployment, Hook, HookRun, Release, Site, Slot
from gateway.ports import Clock, Jobs

LOOK_S = 0.05
# What of a hook's output goes into the reason, which is one line; the diagnosis has more.
REASON_LINES, REASON_CHARACTERS = 3, 200


@dataclass(frozen=True, slots=True)
class Waits:
    """Bounded waits for a site's jobs. `say`: what is waited for, for people."""

    site: Site
    release: Release
    jobs: Jobs
    clock: Clock
    say: Callable[[str], None]

    def hook(
        self,
        deployment: Deployment,
        hook: Hook,
        *,
        amiss: Callable[[], str],
        cancelled: Callable[[], bool],
        pause: Callable[[float], None],
    ) -> str:
        """Run the hook to its end. Why that did not go well, else nothing.

        `amiss` is asked meanwhile, and at the end: why its end need not be waited for.
        """
        until = self.clock.now() + self.site.hook_timeout_s
        while True:
            try:
                run = self.jobs.run_hook(self.site, deployment, self.release, hook, cancelled=cancelled)
            except errors.EngineError as error:
                return f"the hook {hook} could not be run: {error}"
            if run.exit_code:
                return f"the hook {hook} ({run.service}) exited with code {run.exit_code}{_last(run)}"
            if why := amiss():
                return f"while the hook {hook} ran: {why}"
            if run.exit_code == 0:
                return ""
            if self.clock.now() >= until:
                limit = f"{self.site.hook_timeout_s:g} s"
                return f"the hook {hook} ({run.service}) did not end within {limit}{_last(run)}"
            self.say(f"the hook {hook} runs{_last(run, lines=1)}")
            pause(LOOK_S)

    def quiesced(self, slot: Slot) -> None:
        """Workers that have something to be told are told, and get their time."""
        limits, began = self.jobs.quiesce(self.site, slot), self.clock.now()
        while limits:
            passed_s = self.clock.now() - began
            busy = [name for name in self.jobs.busy(self.site, slot) if passed_s < limits.get(name, 0.0)]
            if not busy:
                return
            self.say(f"{', '.join(busy)} finish their work")
            self.clock.sleep(LOOK_S)


def _last(run: HookRun, *, lines: int = REASON_LINES) -> str:
    told = [line.strip()[:REASON_CHARACTERS] for line in run.lines if line.strip()][-lines:]
    return f": {' | '.join(told)}" if told else ""
