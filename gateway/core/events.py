"""What happened, in the past tense. Events carry a reason, never an instruction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """`reason` is shown to people; empty when all is well."""

    reason: str = ""


class HookDue(Event):
    """All is well so far, and a hook of the release comes next."""


class HookPassed(Event): ...


class HookFailed(Event): ...


class StackStarted(Event): ...


class StackFailed(Event): ...


class ProbesPassed(Event): ...


class ProbesFailed(Event): ...


class SwitchOrdered(Event): ...


class StepsOrdered(Event):
    """Go on, but not with all visitors at once."""


class StepPassed(Event):
    """A share of the visitors had nothing to complain of; there is another step."""


class StepsPassed(Event): ...


class StepsPaused(Event):
    """A step failed, and a person is to say how it goes on."""


class StepUndone(Event):
    """One change of the number of replicas is undone; there was another before it."""


class StepFailed(Event): ...


class CandidateLost(Event): ...


class CutoverConfirmed(Event): ...


class CutoverUnconfirmed(Event):
    """Nginx could not be seen to serve the candidate; it may or may not."""


class ObservationPassed(Event): ...


class SessionsHeld(Event):
    """The observation passed; visitors whose session began on the previous release stay with it."""


class SessionsEnded(Event):
    """None is left, the time is up, or the slot is needed for the next candidate."""


class ObservationFailed(Event): ...


class Drained(Event): ...


class KeepEnded(Event):
    """The time is up, or the slot is needed for the next candidate."""


class Retired(Event): ...


class StopFailed(Event): ...


class RevertConfirmed(Event): ...


class RevertUnconfirmed(Event): ...


class CancelRequested(Event):
    """A person wants the previous release back."""
