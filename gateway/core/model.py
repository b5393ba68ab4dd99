"""What the gateway talks about: sites, slots, releases, deployments. Values, without effects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from gateway.core.serving import Protocol, Proxying, Tls


class Slot(StrEnum):
    """A site's two fixed places. A colour says where a release runs, never how old it is."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Slot:
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


class Phase(StrEnum):
    """Names the step in progress: a restart repeats exactly that step."""

    EXPANDING = "expanding"
    STARTING = "starting"
    PROBING = "probing"
    READY = "ready"
    PREPARING = "preparing"
    STEPPING = "stepping"
    PAUSED = "paused"
    CUTOVER = "cutover"
    ANNOUNCING = "announcing"
    OBSERVING = "observing"
    HOLDING = "holding"
    DRAINING = "draining"
    KEEPING = "keeping"
    RETIRING = "retiring"
    CONTRACTING = "contracting"
    REVERTING = "reverting"
    UNWINDING = "unwinding"
    ABORTING = "aborting"
    REPORTING = "reporting"
    SUCCEEDED = "succeeded"
    ABORTED = "aborted"
    FAILED = "failed"


class Hook(StrEnum):
    """What a release may bring along to be run once, in its own image, in the course of a deployment."""

    EXPAND = "expand"
    PRE_SWITCH = "pre-switch"
    POST_SWITCH = "post-switch"
    CONTRACT = "contract"
    ON_FAILURE = "on-failure"


class Strategy(StrEnum):
    """How a candidate takes the place of the live release."""

    BLUE_GREEN = "blue-green"  # all visitors at once
    CANARY = "canary"  # more and more visitors
    ROLLING = "rolling"  # some replicas at a time, and their visitors


class Kind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class ProbePolicy:
    """When a candidate counts as healthy: `successes` good answers in a row a replica."""

    path: str = "/"
    status_min: int = 200
    status_max: int = 399
    body: str | None = None  # a substring that the body must hold
    interval_s: float = 0.1
    timeout_s: float = 5.0
    successes: int = 2
    start_deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """One site: its domains, what serves it, and how a deploy of it behaves."""

    name: str
    domains: tuple[str, ...]
    service: str  # the compose service that takes the traffic
    port: int  # the port that this service listens on inside its container
    stack_file: str  # compose file of the stack, as a path inside the controller
    probe: ProbePolicy = field(default_factory=ProbePolicy)
    observe_s: float = 10.0
    strategy: Strategy = Strategy.BLUE_GREEN
    steps: tuple[int, ...] = ()  # of a canary: percent of the visitors before all; rising
    step_s: float = 60.0  # how long each of these steps is watched
    canary_override: bool = False  # visitors may choose between live release and candidate meanwhile
    preview_token_file: str | None = (
        None  # who has the token sees a candidate before it takes over; None: nobody
    )
    old_assets: tuple[str, ...] = ()  # paths, as /assets/: what is not found there is asked of the one before
    max_5xx_share: float = 0.05  # 0..1, of the requests seen while observing, beyond the live release's share
    max_p95_ratio: float = 3.0  # slower than the live release by more than this, and it goes; 0: not compared
    session_timeout_s: float = 0.0  # how long a visitor may stay with a release that was replaced; 0: not
    session_idle_s: float = 1800.0  # a session that asked nothing for so long has ended
    drain_timeout_s: float = 30.0
    websocket_timeout_s: float = 60.0
    keep_s: float = 600.0
    hook_timeout_s: float = 600.0
    redirects: tuple[tuple[str, str], ...] = ()  # host name -> the one of `domains` that it leads to
    path: str | None = (
        None  # what it has of its domains, as /blog; None: all, and no other site has any of it
    )
    tls: Tls = field(default_factory=Tls)
    proxying: Proxying = field(default_factory=Proxying)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name that is the site's, those that only lead to another of its own included."""
        return (*self.domains, *(name for name, _ in self.redirects)) if self.redirects else self.domains

    @property
    def health_path(self) -> str:
        """What is asked from outside whether the application is well; "" where that is a page like others."""
        path = self.probe.path.partition("?")[0]
        plain = self.proxying.protocol is Protocol.HTTP and re.fullmatch(r"/[A-Za-z0-9._/-]+", path)
        return path if plain else ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its domains, with the path that it has of them."""
        path = "" if self.path in (None, "/") else self.path
        return tuple(f"{domain}{path}" for domain in self.domains)


@dataclass(frozen=True, slots=True)
class Routing:
    """Which slot answers for a site; None is the maintenance page.

    `observed`: its answers are counted. `share`: percent of the visitors that the other slot gets,
    while the answers of both are counted. `release`: what the slot holds, for sites with sessions;
    `held`: what the other slot holds for those whose session began there. `awake`: nothing else is different
    from without it, but the slot may change at once (see `is_steady`). `warm`: awake, and the other slot
    still has the release before, whole. `ready`: awake, and the other slot has a candidate that is proven and
    waits for its order. `narrowed`: of this slot only the replicas numbered up to `within` get requests that
    begin now.
    """

    slot: Slot | None = None
    observed: bool = False
    share: int = 0
    release: str | None = None
    held: str | None = None
    awake: bool = False
    warm: bool = False
    ready: bool = False
    narrowed: Slot | None = None
    within: int = 0

    @property
    def is_steady(self) -> bool:
        """True when nginx may remember for a moment that this slot alone serves, instead of looking anew."""
        stirs = self.observed, self.share, self.held, self.awake, self.warm, self.ready, self.narrowed
        return self.slot is not None and not any(stirs)

    @property
    def flag(self) -> str:
        """Names it in the routing directory and in nginx's configuration."""
        if self.slot is None:
            return "maintenance"
        kinds = {
            f"-canary-{self.share}": self.share,
            "-observed": self.observed,
            "-awake": self.awake,
            "-warm": self.warm,
            "-ready": self.ready,
        }
        kind = next((kind for kind, holds in kinds.items() if holds), "")
        releases = (f".{self.release}" if self.release else "") + (f"+{self.held}" if self.held else "")
        narrowed = f"--{self.narrowed}-{self.within}" if self.narrowed else ""
        return f"{self.slot}{kind}{releases}{narrowed}"

    def serves(self, slot: Slot) -> bool:
        """True when somebody's requests go to the slot."""
        return slot is self.slot or (self.slot is not None and bool(self.share or self.held))


@dataclass(frozen=True, slots=True)
class Release:
    """One immutable, fully resolved version of a site's stack."""

    number: int
    site: str
    stack: Mapping[str, Any]  # a compose model as `docker compose config` prints it
    images: Mapping[str, str]  # service -> image reference that was asked for

    @property
    def id(self) -> str:
        return f"r{self.number}"


@dataclass(frozen=True, slots=True)
class Scale:
    """How many replicas take traffic in a moment of a rolling deployment."""

    candidate: int
    live: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt to make `release` live in `slot`. Only `core.transitions.apply` changes its phase."""

    number: int
    site: str
    kind: Kind
    release: str  # Release.id of the candidate
    slot: Slot  # where the candidate runs
    previous: str | None  # Release.id that was live when it began; None: the maintenance page
    phase: Phase
    created_at: float  # when it was ordered, seconds since the epoch
    staged: bool = False  # stops in READY until it is ordered to switch
    shares: tuple[int, ...] = ()  # steps that are still to come, the one in progress first
    scales: tuple[Scale, ...] = ()  # of a rolling one: from what it found to what it ends with
    scaled: int = 0  # how many of the changes between them are done
    sessions: bool = False  # visitors stay with the release on which their session began
    hooks: tuple[Hook, ...] = ()  # of the release, those that are still to come
    contracted: bool = False  # its contract has begun: earlier releases may find their data changed
    reason: str = ""  # why it left the straight way
    by: str = ""  # who asked for it

    @property
    def id(self) -> str:
        return f"d{self.number}"

    @property
    def previous_slot(self) -> Slot | None:
        return None if self.previous is None else self.slot.other


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe through the gateway's own path. `status` None: no HTTP answer (then `detail` says why)."""

    ok: bool
    status: int | None
    body: str  # the first 300 characters
    detail: str


@dataclass(frozen=True, slots=True)
class Replica:
    """One container of a stack as Docker reports it."""

    name: str
    service: str
    state: str  # created, running, restarting, exited, dead
    health: str | None  # starting, healthy, unhealthy; None: no health check
    exit_code: int | None
    oom_killed: bool
    restarts: int
    scheduler: bool = False  # runs on the live slot alone
    number: int = 0  # nginx can be told to leave out those from this number on; 0: not this one
    aside: bool = False  # it failed, the others go on without it: nginx can't find it


@dataclass(frozen=True, slots=True)
class HookRun:
    """One run of a hook. `exit_code` None: it has not ended."""

    service: str
    exit_code: int | None
    lines: tuple[str, ...] = ()  # the last that it wrote


@dataclass(frozen=True, slots=True)
class InFlight:
    """What a slot is answering now. Exact up to COUNTED each; beyond, no more than there are."""

    requests: int = 0
    sockets: int = 0  # WebSockets

    COUNTED: ClassVar[int] = 1000

    def __bool__(self) -> bool:
        return bool(self.requests or self.sockets)

    def __str__(self) -> str:
        parts = ((self.requests, "request"), (self.sockets, "WebSocket"))
        more = "at least " if max(self.requests, self.sockets) > self.COUNTED else ""
        return more + " and ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in parts if n)


class DrainClock(StrEnum):
    """What may stay with a release that traffic has left, each for a time of its own."""

    SESSIONS = "sessions"
    REQUESTS = "requests"
    WEBSOCKETS = "websockets"
    WARMTH = "warmth"  # nothing but the release itself, for a rollback


@dataclass(frozen=True, slots=True)
class Leaving:
    """A slot that traffic has left. `until`: the latest end of each clock that runs or comes next."""

    slot: Slot
    until: Mapping[DrainClock, float]  # seconds since the epoch

    def left_s(self, now: float) -> dict[str, float]:
        return {str(clock): max(0.0, round(until - now, 1)) for clock, until in self.until.items()}


@dataclass(frozen=True, slots=True)
class Sample:
    """Answers counted since the routing became observed."""

    requests: int = 0
    errors_5xx: int = 0
    unreachable: int = (
        0  # requests for which it could not be connected to at first; nginx may have tried again
    )
    p95_s: float = 0.0  # until the application's first byte
    held: int = 0  # requests of sessions that stayed with the slot when it was replaced
    sessions: int = 0  # of these, those that asked for something within session_idle_s

    @property
    def share_5xx(self) -> float:
        return self.errors_5xx / self.requests if self.requests else 0.0

    @property
    def share_unreachable(self) -> float:
        return self.unreachable / self.requests if self.requests else 0.0
