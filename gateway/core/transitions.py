"""All phase changes of a deployment, in one table. Only `apply` changes a phase.

Rules that the table keeps (each has its test):
- once a cutover or a step may have begun, the only way out is to revert, never to abort;
- a candidate that may have served is drained before it is stopped;
- from RETIRING there is no way back: the previous release is being stopped;
- a release's contract runs only after that, and its expand before anything of it is started;
- what a rolling deployment did to the replicas is undone change by change, each as safely as it was done;
- nothing stops a stack when the outcome of a switch is unknown (FAILED needs a person).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gateway.core import events as e
from gateway.core.model import Deployment, Hook, Phase

Table = Mapping[Phase, Mapping[type[e.Event], Phase]]

TABLE: Table = MappingProxyType(
    {
        Phase.EXPANDING: {
            e.HookPassed: Phase.STARTING,
            e.HookFailed: Phase.ABORTING,
            e.CancelRequested: Phase.ABORTING,
        },
        Phase.STARTING: {
            e.StackStarted: Phase.PROBING,
            e.StackFailed: Phase.ABORTING,
            e.CancelRequested: Phase.ABORTING,
        },
        Phase.PROBING: {
            e.ProbesPassed: Phase.READY,
            e.ProbesFailed: Phase.ABORTING,
            e.CancelRequested: Phase.ABORTING,
        },
        Phase.READY: {
            e.SwitchOrdered: Phase.CUTOVER,
            e.StepsOrdered: Phase.STEPPING,
            e.HookDue: Phase.PREPARING,
            e.CandidateLost: Phase.ABORTING,
            e.CancelRequested: Phase.ABORTING,
        },
        Phase.PREPARING: {
            e.SwitchOrdered: Phase.CUTOVER,
            e.StepsOrdered: Phase.STEPPING,
            e.HookFailed: Phase.ABORTING,
            e.CancelRequested: Phase.ABORTING,
        },
        Phase.STEPPING: {
            e.StepPassed: Phase.STEPPING,
            e.StepsPassed: Phase.CUTOVER,
            e.StepFailed: Phase.REVERTING,
            e.StepsPaused: Phase.PAUSED,
            e.CancelRequested: Phase.REVERTING,
        },
        Phase.PAUSED: {e.StepsOrdered: Phase.STEPPING, e.CancelRequested: Phase.REVERTING},
        Phase.CUTOVER: {
            e.CutoverConfirmed: Phase.OBSERVING,
            e.HookDue: Phase.ANNOUNCING,
            e.CutoverUnconfirmed: Phase.REVERTING,
            e.CancelRequested: Phase.REVERTING,
        },
        Phase.ANNOUNCING: {
            e.HookPassed: Phase.OBSERVING,
            e.HookFailed: Phase.REVERTING,
            e.CancelRequested: Phase.REVERTING,
        },
        Phase.OBSERVING: {
            e.ObservationPassed: Phase.DRAINING,
            e.SessionsHeld: Phase.HOLDING,
            e.ObservationFailed: Phase.REVERTING,
            e.CancelRequested: Phase.REVERTING,
        },
        Phase.HOLDING: {e.SessionsEnded: Phase.DRAINING, e.CancelRequested: Phase.REVERTING},
        Phase.DRAINING: {e.Drained: Phase.KEEPING, e.CancelRequested: Phase.REVERTING},
        Phase.KEEPING: {e.KeepEnded: Phase.RETIRING, e.CancelRequested: Phase.REVERTING},
        Phase.RETIRING: {
            e.Retired: Phase.SUCCEEDED,
            e.HookDue: Phase.CONTRACTING,
            e.StopFailed: Phase.FAILED,
        },
        Phase.CONTRACTING: {e.HookPassed: Phase.SUCCEEDED, e.HookFailed: Phase.FAILED},
        Phase.REVERTING: {
            e.StepUndone: Phase.REVERTING,
            e.RevertConfirmed: Phase.UNWINDING,
            e.RevertUnconfirmed: Phase.FAILED,
        },
        Phase.UNWINDING: {e.Drained: Phase.ABORTING},
        Phase.ABORTING: {
            e.Retired: Phase.ABORTED,
            e.HookDue: Phase.REPORTING,
            e.StopFailed: Phase.FAILED,
        },
        # What the hook left behind is stopped as the candidate was.
        Phase.REPORTING: {e.HookPassed: Phase.ABORTING, e.HookFailed: Phase.ABORTING},
        Phase.SUCCEEDED: {},
        Phase.ABORTED: {},
        Phase.FAILED: {},
    }
)

TERMINAL = frozenset(phase for phase, row in TABLE.items() if not row)
# The candidate is live; the previous release still runs, for its sessions or for a rollback.
WAITING = frozenset({Phase.HOLDING, Phase.KEEPING})
# The candidate is live, and there is no way back inside the deployment any more.
PAST_ITS_WAY_BACK = frozenset({Phase.RETIRING, Phase.CONTRACTING})
CANCELLABLE = frozenset(phase for phase, row in TABLE.items() if e.CancelRequested in row)


HOOK_OF: Mapping[Phase, Hook] = MappingProxyType(
    {
        Phase.EXPANDING: Hook.EXPAND,
        Phase.PREPARING: Hook.PRE_SWITCH,
        Phase.ANNOUNCING: Hook.POST_SWITCH,
        Phase.CONTRACTING: Hook.CONTRACT,
        Phase.REPORTING: Hook.ON_FAILURE,
    }
)


def is_hook_due(deployment: Deployment) -> bool:
    """True when the release has a hook for what comes after the deployment's phase."""
    leads = TABLE[deployment.phase].get(e.HookDue)
    return leads is not None and HOOK_OF[leads] in deployment.hooks


class IllegalTransition(Exception):
    """A bug: the event cannot happen in this phase."""


def apply(deployment: Deployment, event: e.Event, *, table: Table = TABLE) -> Deployment:
    """The deployment after the event. The first reason is kept: it is the cause, later ones are effects.

    Unless a person said that it is none.

    Raises IllegalTransition when the table has no row for the event.
    """
    try:
        phase = table[deployment.phase][type(event)]
    except KeyError:
        raise IllegalTransition(f"{type(event).__name__} in {deployment.phase}") from None
    shares = deployment.shares[1:] if isinstance(event, e.StepPassed) else deployment.shares
    done = {e.StepPassed: 1, e.StepUndone: -1}.get(type(event), 0) if deployment.scales else 0
    goes_on = deployment.phase is Phase.PAUSED and isinstance(event, e.StepsOrdered)
    hooks = tuple(hook for hook in deployment.hooks if hook is not HOOK_OF.get(deployment.phase))
    return replace(
        deployment,
        phase=phase,
        shares=shares,
        scaled=deployment.scaled + done,
        hooks=hooks,
        contracted=deployment.contracted or phase is Phase.CONTRACTING,
        reason="" if goes_on else deployment.reason or event.reason,
    )
