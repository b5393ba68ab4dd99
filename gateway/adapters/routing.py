"""A site's routing as files: durable on disk, and published to nginx by one rename on tmpfs."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from gateway.core.model import Routing, Site, Slot
from gateway.errors import Failed

# nginx remembers a steady routing until its clock's next whole second (open_file_cache_valid in
# templates/site.conf.j2), and its clock is that of the last turn of its event loop.
REMEMBERED_S = 1.1
# What nginx tests: a file is blue, a directory green, a pipe anything else.
TESTED = "slot"
_RELEASE = r"r[1-9][0-9]*"
_FLAG = re.compile(
    rf"(blue|green)(?:-(observed|awake)|-canary-([1-9][0-9]?))?(?:\.({_RELEASE}))?(?:\+({_RELEASE}))?"
    r"(?:--(blue|green)-([1-9][0-9]{0,2}))?"
)


def routing_from_flag(flag: str) -> Routing:
    """Raises Failed when it is none: an unreadable state is never taken for "nothing"."""
    if flag == Routing().flag:
        return Routing()
    if not (parts := _FLAG.fullmatch(flag)):
        form = "<slot>[-observed|-awake|-canary-<percent>][.<release>][+<held release>][--<slot>-<replicas>]"
        raise Failed(f"{flag!r} is no routing; it is maintenance or {form}")
    slot, kind, share, release, held, narrowed, within = parts.groups()
    return Routing(
        Slot(slot),
        observed=kind == "observed",
        awake=kind == "awake",
        share=int(share or 0),
        release=release,
        held=held,
        narrowed=Slot(narrowed) if narrowed else None,
        within=int(within or 0),
    )


class RoutingFiles:
    """One symlink a site: `<routing_dir>/<site>` leads to `.states/<flag>/`, which holds `slot`.

    Where the routing names a release, what is named after that has the kind, and `slot` is a pipe: only those
    whose session is on the release need not be asked who they are (templates/site.conf.j2).
    """

    def __init__(
        self,
        routing_dir: str | Path,
        state_dir: str | Path,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._live, self._state = Path(routing_dir), Path(state_dir) / "routing"
        self._states = self._live / ".states"
        self._awake: dict[str, float] = {}  # site -> since when nginx need not remember anything of it
        self._now, self._sleep = now, sleep

    def publish(self, site: str, routing: Routing) -> None:
        """Durable first, then seen by nginx at once: a kill in between leaves the newer one to `restore`.

        Where a steady slot is to be left, or watched, it returns after up to REMEMBERED_S: not before each
        worker looks anew.
        """
        self._await_oblivion(site, routing)
        self._keep(site, routing)
        self._show(site, routing)

    def _await_oblivion(self, site: str, routing: Routing) -> None:
        if not (self._live / site).is_symlink():
            return
        try:
            shown = self.shown(site)
        except Failed:  # whatever it is, it goes; only what it was is not known
            shown = None
        if shown:
            whole = (routing.is_steady or routing.awake) and not routing.narrowed
            stays = routing.slot == shown.slot and whole
            if shown.slot is None or stays:
                return
            if shown.is_steady:
                self._show(site, replace(shown, awake=True))
        # After a restart of ours nobody knows since when.
        since = self._awake.setdefault(site, self._now())
        self._sleep(max(0.0, since + REMEMBERED_S - self._now()))

    def restore(self, sites: Iterable[Site]) -> None:
        """Show what was published last; the maintenance page where nothing ever was. Raises Failed."""
        names = {site.name for site in sites}
        self._states.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._show(name, self.kept(name))
        for gone in self._live.iterdir():
            if gone.name not in names and gone != self._states:
                gone.unlink()

    def show_if_missing(self, site: str) -> None:
        """For a site that is new while nginx runs. Raises Failed."""
        if not (self._live / site).is_symlink():
            self._show(site, self.kept(site))

    def shown(self, site: str) -> Routing:
        """What nginx finds for a request. Raises Failed."""
        try:
            return routing_from_flag((self._live / site).readlink().name)
        except OSError as error:
            raise Failed(f"{self._live / site} can't be read: {error}") from error

    def kept(self, site: str) -> Routing:
        try:
            return routing_from_flag((self._state / site).read_text().strip())
        except FileNotFoundError:
            return Routing()
        except (Failed, OSError, ValueError) as error:
            raise Failed(f"{self._state / site} can't be read: {error}") from error

    def _keep(self, site: str, routing: Routing) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        new = self._state / f".{site}.new"
        with new.open("w") as file:
            file.write(f"{routing.flag}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._state / site)
        # The rename itself is durable only when the directory is (man 2 fsync).
        directory = os.open(self._state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _show(self, site: str, routing: Routing) -> None:
        self._prepare(routing)
        link = self._live / f".{site}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{self._states.name}/{routing.flag}")
        link.replace(self._live / site)  # the switch
        if routing.is_steady:
            self._awake.pop(site, None)
        else:
            self._awake.setdefault(site, self._now())

    def _prepare(self, routing: Routing) -> None:
        """What the symlink is to lead to, made whole; it stays, for all sites."""
        state = self._states / routing.flag
        if state.exists():
            return
        new = self._states / f".{uuid.uuid4().hex}.new"  # another site's thread may be at it too
        new.mkdir(parents=True)
        if routing.is_steady and routing.release:
            _make(new / routing.release, routing.slot)
        _make(new / TESTED, routing.slot if routing.is_steady and not routing.release else None)
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
