"""Which step a phase stands for, and the whole plan of a deployment before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from gateway.core import labels, rolling
from gateway.core.model import Deployment, Hook, Kind, Phase, Release, Routing, Scale, Site, Slot, Strategy
from gateway.core.transitions import HOOK_OF


@dataclass(frozen=True, slots=True)
class StartStack:
    """`serving` is what the site serves meanwhile. `replicas`: of the serving service; None: all."""

    slot: Slot
    serving: Routing
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run a hook of the candidate's release once, to its end."""

    hook: Hook
    slot: Slot


@dataclass(frozen=True, slots=True)
class Probe:
    slot: Slot


@dataclass(frozen=True, slots=True)
class AwaitOrder:
    """A person's, to send visitors to the slot. `paused`: to go on doing so.

    `serving` is what the site serves meanwhile; None: what it does.
    """

    slot: Slot
    serving: Routing | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ShiftShare:
    """Send the routing's share of the visitors to the candidate, and watch how they fare."""

    routing: Routing
    slot: Slot


@dataclass(frozen=True, slots=True)
class SwitchUpstream:
    routing: Routing


@dataclass(frozen=True, slots=True)
class Observe:
    slot: Slot


@dataclass(frozen=True, slots=True)
class Hold:
    """Let those whose session began in the slot end it there; `serving` is what the site serves meanwhile."""

    slot: Slot | None
    serving: Routing


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait until `leaving` has nothing in flight; `serving` is what the site serves meanwhile."""

    leaving: Slot | None
    serving: Routing


@dataclass(frozen=True, slots=True)
class Keep:
    slot: Slot | None


@dataclass(frozen=True, slots=True)
class StopStack:
    """`serving` is what the site serves from now on."""

    slot: Slot | None
    serving: Routing


Step = (
    StartStack
    | RunHook
    | Probe
    | AwaitOrder
    | ShiftShare
    | rolling.ScaleSlot
    | SwitchUpstream
    | Observe
    | Hold
    | Drain
    | Keep
    | StopStack
)


def next_step(deployment: Deployment) -> Step | None:
    """The step that the deployment's phase names; None at an end. Repeating it is safe."""
    slot, previous = deployment.slot, deployment.previous_slot
    if hook := HOOK_OF.get(deployment.phase):
        return RunHook(hook, slot)
    back, share = replace(_before(deployment), awake=previous is not None), next(iter(deployment.shares), 0)
    stepping = replace(
        _before(deployment), share=share, held=deployment.release if deployment.sessions and share else None
    )
    whole = not deployment.scales  # no release is ever there in part
    kept = previous is not None and whole
    after = replace(_after(deployment, held=None), awake=not kept, warm=kept)
    steps: dict[Phase, Step] = {
        Phase.STARTING: StartStack(slot, back, deployment.scales[1].candidate if deployment.scales else None),
        Phase.PROBING: Probe(slot),
        Phase.READY: AwaitOrder(slot, replace(back, awake=False, ready=True) if whole and previous else None),
        Phase.STEPPING: rolling.forward(deployment) if deployment.scales else ShiftShare(stepping, slot),
        Phase.PAUSED: AwaitOrder(slot, paused=True),
        Phase.CUTOVER: SwitchUpstream(replace(_after(deployment, held=deployment.previous), observed=True)),
        Phase.OBSERVING: Observe(slot),
        Phase.HOLDING: Hold(previous, _after(deployment, held=deployment.previous)),
        Phase.DRAINING: Drain(previous, after),
        Phase.KEEPING: Keep(previous),
        Phase.RETIRING: StopStack(previous, _after(deployment, held=None)),
        Phase.REVERTING: rolling.backward(deployment) if deployment.scales else SwitchUpstream(back),
        Phase.UNWINDING: Drain(slot, back),
        Phase.ABORTING: StopStack(slot, _before(deployment)),
    }
    return steps.get(deployment.phase)


def _before(deployment: Deployment) -> Routing:
    """What served when the deployment began."""
    return Routing(deployment.previous_slot, release=deployment.previous if deployment.sessions else None)


def _after(deployment: Deployment, *, held: str | None) -> Routing:
    if not deployment.sessions:
        return Routing(deployment.slot)
    return Routing(deployment.slot, release=deployment.release, held=held)


def observe_s(site: Site, deployment: Deployment) -> float:
    """Seconds to watch the candidate. A rollback is not watched: it must not be rolled back itself."""
    return 0.0 if deployment.kind is Kind.ROLLBACK else site.observe_s


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for."""

    images: Mapping[str, str] = field(default_factory=dict)  # service -> image reference
    values: Mapping[str, str] = field(default_factory=dict)  # variables of the stack file
    kind: Kind = Kind.DEPLOY
    staged: bool = False
    by: str = ""


def candidate(
    site: Site,
    release: Release,
    live: Slot | None,
    previous: str | None,
    request: Request,
    *,
    now: float,
    replicas: int = 0,
) -> Deployment:
    """The deployment that puts the release into the slot that is not live. Not yet numbered.

    `replicas`: how many of the live release can be left out one by one; none before the first rolling one.
    """
    # A rollback is an emergency, and what its hooks have to do was done when the release was deployed.
    hooks = labels.hooks(release.stack["services"]) if request.kind is Kind.DEPLOY else {}
    return Deployment(
        number=0,
        site=site.name,
        kind=request.kind,
        release=release.id,
        slot=Slot.BLUE if live is None else live.other,
        previous=previous,
        phase=Phase.EXPANDING if Hook.EXPAND in hooks else Phase.STARTING,
        created_at=now,
        staged=request.staged,
        # A rollback is an emergency, and before the first release there is nothing to compare with.
        sessions=site.session_timeout_s > 0,
        shares=site.steps if live is not None and request.kind is Kind.DEPLOY else (),
        scales=_scales(site, release, replicas),
        hooks=tuple(hook for hook in Hook if hook in hooks),
        by=request.by,
    )


def _scales(site: Site, release: Release, live: int) -> tuple[Scale, ...]:
    if site.strategy is not Strategy.ROLLING or not live:
        return ()
    service = release.stack["services"][site.service]
    return rolling.scales(live, rolling.replicas(service), rolling.update_config(service))


def describe(site: Site, deployment: Deployment) -> list[str]:
    """The plan in plain words, a line a step."""
    d, probe = deployment, site.probe
    before = d.previous or "the maintenance page"
    some = f" with {d.scales[1].candidate} of {d.scales[-1].candidate} replicas" if d.scales else ""
    lines = [
        *_hook(site, d, Hook.EXPAND, f"before anything of {d.release} is started; stop here if it fails"),
        f"start {d.release} in {d.slot}{some}",
        f"probe {probe.path} through nginx until {probe.successes} good answers in a row a replica"
        f" (at most {probe.start_deadline_s:g} s)",
    ]
    if d.staged:
        lines.append(f"wait for `gateway switch {site.name}`")
    lines += _hook(site, d, Hook.PRE_SWITCH, "before the first visitor comes; stop here if it fails")
    for share in d.shares:
        lines.append(f"send {share} % of the visitors to {d.release}; watch them for {site.step_s:g} s")
    lines += _changes(d)
    lines.append(f"switch all traffic of {', '.join(site.addresses)} from {before} to {d.release}")
    lines += _hook(site, d, Hook.POST_SWITCH, "go back if it fails")
    if watch_s := observe_s(site, d):
        lines.append(f"watch {d.release} for {watch_s:g} s; go back above {site.max_5xx_share:.0%} of 5xx")
    if d.previous and d.sessions:
        lines.append(
            f"leave sessions that began on {d.previous} with it (at most {site.session_timeout_s:g} s)"
        )
    if d.previous:
        lines.append(f"let {d.previous} finish its requests (at most {site.drain_timeout_s:g} s)")
        longer = f", its WebSockets up to {site.websocket_timeout_s:g} s"
        longer = longer if site.websocket_timeout_s > site.keep_s else ""
        kept = "" if d.scales else f"keep {d.previous} warm for {site.keep_s:g} s{longer}, then "
        lines.append(f"{kept}stop {'it' if kept else d.previous}")
    lines += _hook(site, d, Hook.CONTRACT, f"no rollback to a release before {d.release} from then on")
    return lines + _hook(site, d, Hook.ON_FAILURE, f"only if {d.release} did not stay")


def _changes(deployment: Deployment) -> list[str]:
    """A line a change of the number of replicas."""
    d, lines = deployment, []
    for number, (old, new) in enumerate(pairwise(d.scales)):
        share = f"{round(100 * new.candidate / (new.candidate + new.live))} % of the visitors"
        if new.candidate > old.candidate:
            grown = "" if number == 0 else f"start up to {new.candidate} replicas of {d.release}; "
            lines.append(f"{grown}send {share} to {d.release}; watch it")
        else:
            lines.append(f"send {share} to {d.release}; drain {d.previous} down to {new.live} replicas")
    return lines


def _hook(site: Site, deployment: Deployment, hook: Hook, what: str) -> list[str]:
    said = f"run the hook {hook} once (at most {site.hook_timeout_s:g} s): {what}"
    return [said] if hook in deployment.hooks else []
