"""A site's routing as files: durable on disk, and published to nginx by one rename on tmpfs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from gateway.core.model import Routing, Site, Slot
from gateway.errors import Failed

_RELEASE = r"r[1-9][0-9]*"
_FLAG = re.compile(
    rf"(blue|green)(-observed)?(?:-canary-([1-9][0-9]?))?(?:\.({_RELEASE}))?(?:\+({_RELEASE}))?"
)


def routing_from_flag(flag: str) -> Routing:
    """Raises Failed when it is none: an unreadable state is never taken for "nothing"."""
    if flag == Routing().flag:
        return Routing()
    if not (parts := _FLAG.fullmatch(flag)):
        form = "<slot>[-observed|-canary-<percent>][.<release>][+<held release>]"
        raise Failed(f"{flag!r} is no routing; it is maintenance or {form}")
    slot, observed, share, release, held = parts.groups()
    return Routing(Slot(slot), observed=bool(observed), share=int(share or 0), release=release, held=held)


class RoutingFiles:
    """One symlink a site: `<routing_dir>/<site>` leads to `.states/<flag>`.

    What lies there is told apart by kind (templates/gateway.conf.j2): a file is blue, a directory is
    green, a pipe is anything else.
    """

    def __init__(self, routing_dir: str | Path, state_dir: str | Path) -> None:
        self._live, self._state = Path(routing_dir), Path(state_dir) / "routing"
        self._states = self._live / ".states"

    def publish(self, site: str, routing: Routing) -> None:
        """Durable first, then seen by nginx at once: a kill in between leaves the newer one to `restore`."""
        self._keep(site, routing)
        self._show(site, routing)

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
        self._prepare(routing.flag)
        link = self._live / f".{site}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{self._states.name}/{routing.flag}")
        link.replace(self._live / site)  # the switch

    def _prepare(self, flag: str) -> None:
        """What the symlink is to lead to; it stays, for all sites."""
        self._states.mkdir(parents=True, exist_ok=True)
        state = self._states / flag
        if state.exists():
            return
        match flag:
            case Slot.BLUE:
                state.touch()
            case Slot.GREEN:
                state.mkdir()
            case _:
                os.mkfifo(state)
