"""A site's routing as files: durable on disk, and published to nginx by one rename on tmpfs."""

from __future__ import annotations

import math
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from gateway.adapters.durable import write_durably
from gateway.core.admission import Admission, Door, Ordered
from gateway.core.model import Routing, Site, Slot
from gateway.errors import Failed
from gateway.paths import OUT_OF_SERVICE

# nginx remembers a steady routing until its clock's next whole second (open_file_cache_valid in
# templates/site.conf.j2), and its clock is that of the last turn of its event loop.
REMEMBERED_S = 1.1
# What nginx tests: a file is blue, a directory green, a pipe anything else.
TESTED = "slot"
T = TypeVar("T")
_RELEASE = r"r[1-9][0-9]*"
_FLAG = re.compile(
    rf"(blue|green)(?:-(observed|awake|warm|ready)|-canary-([1-9][0-9]?))?(?:\.({_RELEASE}))?(?:\+({_RELEASE}))?"
    r"(?:--(blue|green)-([1-9][0-9]{0,2}))?"
)


def routing_from_flag(flag: str) -> Routing:
    """Raises Failed when it is none: an unreadable state is never taken for "nothing"."""
    if flag == Routing().flag:
        return Routing()
    if not (parts := _FLAG.fullmatch(flag)):
        kinds = "-observed|-awake|-warm|-ready|-canary-<percent>"
        form = f"<slot>[{kinds}][.<release>][+<held>][--<slot>-<replicas>]"
        raise Failed(f"{flag!r} is no routing; it is maintenance or {form}")
    slot, kind, share, release, held, narrowed, within = parts.groups()
    return Routing(
        Slot(slot),
        observed=kind == "observed",
        awake=kind == "awake",
        warm=kind == "warm",
        ready=kind == "ready",
        share=int(share or 0),
        release=release,
        held=held,
        narrowed=Slot(narrowed) if narrowed else None,
        within=int(within or 0),
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """What nginx finds: whether the site is closed, and its routing behind that."""

    routing: Routing
    door: Door = Door.OPEN

    @property
    def is_steady(self) -> bool:
        return self.door is Door.OPEN and self.routing.is_steady

    @property
    def flag(self) -> str:
        return self.routing.flag if self.door is Door.OPEN else f"{self.door}-{self.routing.flag}"

    def stays(self, due: Shown) -> bool:
        """True when whoever still takes this for what serves is right when `due` is shown."""
        if self.routing.slot is None or self.door is Door.MAINTENANCE is due.door:
            return True
        same = due.door is Door.OPEN and due.routing.slot is self.routing.slot and not due.routing.narrowed
        same_visitors = due.routing.is_steady or due.routing.awake or due.routing.warm or due.routing.ready
        return same and same_visitors


def shown_from_flag(flag: str) -> Shown:
    """Raises Failed when it is none."""
    for door in (Door.PAUSED, Door.MAINTENANCE):
        if flag.startswith(f"{door}-"):
            return Shown(routing_from_flag(flag.removeprefix(f"{door}-")), door)
    return Shown(routing_from_flag(flag))


@dataclass(frozen=True, slots=True)
class Kept:
    """What was ordered last."""

    routing: Routing = field(default_factory=Routing)
    ordered: Ordered = field(default_factory=lambda: Ordered(Admission()))

    def due(self, now: float) -> Shown:
        """What nginx is to find, in service."""
        return Shown(self.routing, self.ordered.at(self.routing.slot, now=now).door)


class RoutingFiles:
    """One symlink a site: `<routing_dir>/<site>` leads to `.states/<flag>/`, which holds `slot`.

    Where the routing names a release, what is named after that has the kind, and `slot` is a pipe: only those
    whose session is on the release need not be asked who they are (templates/site.conf.j2).

    Thread-safe. `now` is a clock that nobody sets, `today` the one by which pauses end.
    """

    def __init__(
        self,
        routing_dir: str | Path,
        state_dir: str | Path,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._live, self._state = Path(routing_dir), Path(state_dir) / "routing"
        self._doors = Path(state_dir) / "admission"
        self._states = self._live / ".states"
        self._away = self._live / OUT_OF_SERVICE
        self._awake: dict[str, float] = {}  # site -> since when nginx need not remember anything of it
        self._now, self._sleep, self._today = now, sleep, today
        self._lock = threading.RLock()

    def publish(self, site: str, routing: Routing) -> None:
        """Durable first, then seen by nginx at once: a kill in between leaves the newer one to `restore`.

        Where a steady slot is to be left, or watched, it returns after up to REMEMBERED_S: not before each
        worker looks anew.
        """
        self._order(
            site,
            lambda kept: replace(kept, routing=routing),
            lambda: write_durably(self._state / site, routing.flag),
        )

    def admit(self, site: str, admission: Admission) -> None:
        """As `publish`; a pause is longer by what that took. Raises Failed."""
        asked = self._today()

        def keep() -> None:
            slot = self.kept(site).routing.slot
            until = admission.until + (self._today() - asked if admission.until else 0.0)
            write_durably(self._doors / site, f"{admission.door} {until:.3f} {slot or '-'}")

        self._order(site, lambda kept: replace(kept, ordered=Ordered(admission, kept.routing.slot)), keep)

    def _order(self, site: str, then: Callable[[Kept], Kept], keep: Callable[[], None]) -> None:
        while True:
            with self._lock:
                wait_s = self._remembered_s(site, self._due(then(self._kept_or_none(site))))
                if wait_s <= 0:
                    keep()
                    self._settle(site)
                    return
            self._sleep(wait_s)

    def wake(self, site: str, routing: Routing) -> None:
        """Do beforehand what `publish` of this may have to wait for."""
        while (wait_s := self._asleep_s(site, routing)) > 0:
            self._sleep(wait_s)

    def _asleep_s(self, site: str, routing: Routing) -> float:
        with self._lock:
            return self._remembered_s(site, self._due(replace(self._kept_or_none(site), routing=routing)))

    @property
    def in_service(self) -> bool:
        return not self._away.exists()

    def leave_service(self, why: str) -> None:
        """Show the maintenance page for every site, whatever is ordered. It may have to wait."""
        self._live.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._away.write_text(f"{why}\n")
            sites = self._shown_sites()
            wait_s = max((self._remembered_s(site, Shown(Routing())) for site in sites), default=0.0)
        self._sleep(max(0.0, wait_s))
        for site in sites:
            self._order(site, lambda kept: kept, lambda: None)

    def enter_service(self) -> None:
        """Show what is ordered. Raises Failed."""
        with self._lock:
            self._away.unlink(missing_ok=True)
            for site in self._shown_sites():
                self._settle(site)

    def _shown_sites(self) -> list[str]:
        return [entry.name for entry in os.scandir(self._live) if entry.is_symlink() and entry.name[0] != "."]

    def ordered_sites(self) -> list[str]:
        """Of which a routing, or who is let in, was ordered."""
        return sorted({file.name for folder in (self._state, self._doors) for file in folder.glob("[!.]*")})

    def _due(self, kept: Kept) -> Shown:
        return kept.due(self._today()) if self.in_service else Shown(Routing())

    def _kept_or_none(self, site: str) -> Kept:
        try:
            return self.kept(site)
        except Failed:  # what can't be read is replaced
            return Kept()

    def _remembered_s(self, site: str, due: Shown) -> float:
        """How much longer nginx may take the site for what it shows now, and must not."""
        if not (self._live / site).is_symlink():
            return 0.0
        try:
            shown = self.shown(site)
        except Failed:  # whatever it is, it goes; only what it was is not known
            shown = None
        if shown and shown.stays(due):
            return 0.0
        if shown and shown.is_steady:
            self._show(site, Shown(replace(shown.routing, awake=True)))
        # After a restart of ours nobody knows since when.
        return self._awake.setdefault(site, self._now()) + REMEMBERED_S - self._now()

    def settle(self) -> None:
        """End the pauses that are over, and what a kill left half done. Raises Failed, OSError."""
        failed: Failed | None = None
        for file in self._doors.glob("[!.]*"):
            try:
                self._settle_if_due(file.name)
            except Failed as error:  # one that can't be read keeps no other site closed
                failed = error
        if failed:
            raise failed

    def _settle_if_due(self, site: str) -> None:
        kept = self.kept(site)
        shown = self.shown(site) if (self._live / site).is_symlink() else None
        due = self._due(kept)
        if shown and (shown != due or due.door is Door.OPEN):
            self._order(site, lambda kept: kept, lambda: None)

    def _settle(self, site: str) -> None:
        kept = self.kept(site)
        self._show(site, self._due(kept))
        if kept.due(self._today()).door is Door.OPEN:
            (self._doors / site).unlink(missing_ok=True)

    def restore(self, sites: Iterable[Site]) -> None:
        """Show what was published last; the maintenance page where nothing ever was. Raises Failed."""
        names = {site.name for site in sites}
        self._states.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._show(name, self._due(self.kept(name)))
        for gone in self._live.iterdir():
            if gone.name not in names and gone not in (self._states, self._away):
                gone.unlink()

    def show_missing(self, sites: Iterable[str]) -> None:
        """For those that are new while nginx runs. Raises Failed."""
        self._live.mkdir(parents=True, exist_ok=True)
        there = set(self._shown_sites())
        for site in sites:
            if site not in there:
                self._show_if_missing(site)

    def _show_if_missing(self, site: str) -> None:
        with self._lock:
            if not (self._live / site).is_symlink():  # it may have been published by now
                self._show(site, self._due(self.kept(site)))

    def shown(self, site: str) -> Shown:
        """What nginx finds for a request. Raises Failed."""
        try:
            return shown_from_flag((self._live / site).readlink().name)
        except OSError as error:
            raise Failed(f"{self._live / site} can't be read: {error}") from error

    def paused_until(self, site: str) -> float | None:
        """None: it is not paused; infinity: it is being opened just now. Raises Failed."""
        # First what is ordered: an order to open is written before the site is open, and gone thereafter.
        ordered = self.kept(site).ordered.admission
        if self.shown(site).door is not Door.PAUSED:
            return None
        return ordered.until if ordered.door is Door.PAUSED else math.inf

    def kept(self, site: str) -> Kept:
        """Raises Failed."""
        routing = _read(self._state / site, routing_from_flag, Routing())
        return Kept(routing, _read(self._doors / site, _ordered, Ordered(Admission())))

    def _show(self, site: str, shown: Shown) -> None:
        self._prepare(shown)
        link = self._live / f".{uuid.uuid4().hex}.new"  # another process may settle the site, too
        link.symlink_to(f"{self._states.name}/{shown.flag}")
        link.replace(self._live / site)  # the switch
        if shown.is_steady:
            self._awake.pop(site, None)
        else:
            self._awake.setdefault(site, self._now())

    def _prepare(self, shown: Shown) -> None:
        """What the symlink is to lead to, made whole; it stays, for all sites."""
        state, routing = self._states / shown.flag, shown.routing
        if state.exists():
            return
        new = self._states / f".{uuid.uuid4().hex}.new"  # another site's thread may be at it, too
        new.mkdir(parents=True)
        if shown.is_steady and routing.release:
            _make(new / routing.release, routing.slot)
        _make(new / TESTED, routing.slot if shown.is_steady and not routing.release else None)
        try:
            new.rename(state)
        except OSError:
            shutil.rmtree(new)
            if not state.exists():
                raise


def _make(path: Path, slot: Slot | None) -> None:
    match slot:
        case Slot.BLUE:
            path.touch()
        case Slot.GREEN:
            path.mkdir()
        case _:
            os.mkfifo(path)


def _ordered(text: str) -> Ordered:
    """`paused 1790000000.000 blue`; without a slot, `-`. Raises ValueError."""
    door, until, slot = text.split()
    return Ordered(Admission(Door(door), float(until)), None if slot == "-" else Slot(slot))


def _read(file: Path, parse: Callable[[str], T], missing: T) -> T:
    try:
        return parse(file.read_text().strip())
    except FileNotFoundError:
        return missing
    except (Failed, OSError, ValueError) as error:
        raise Failed(f"{file} can't be read: {error}") from error
