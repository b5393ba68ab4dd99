"""A site's routing as files: durable on disk, and published to nginx by one rename on tmpfs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gateway.core.model import Routing, Site, Slot
from gateway.errors import Failed

_ROUTINGS = {r.flag: r for slot in (None, *Slot) for o in (False, True) for r in [Routing(slot, o)]}


def routing_from_flag(flag: str) -> Routing:
    """Raises Failed when it is none: an unreadable state is never taken for "nothing"."""
    try:
        return Routing() if flag == "maintenance" else _ROUTINGS[flag]
    except KeyError:
        raise Failed(f"{flag!r} is no routing; it is one of {', '.join(sorted(_ROUTINGS))}") from None


class RoutingFiles:
    """One directory a site; `<site>/live` leads to a directory with exactly one file: the flag."""

    def __init__(self, routing_dir: str | Path, state_dir: str | Path) -> None:
        self._live, self._state = Path(routing_dir), Path(state_dir) / "routing"

    def publish(self, site: str, routing: Routing) -> None:
        """Durable first, then seen by nginx at once: a kill in between leaves the newer one to `restore`."""
        self._keep(site, routing)
        self._show(site, routing)

    def restore(self, sites: Iterable[Site]) -> None:
        """Show what was published last; the maintenance page where nothing ever was. Raises Failed."""
        self._live.mkdir(parents=True, exist_ok=True)
        names = {site.name for site in sites}
        for name in names:
            self._show(name, self.kept(name))
        for gone in self._live.iterdir():
            if gone.name not in names:
                shutil.rmtree(gone)

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
        folder = self._live / site
        folder.mkdir(parents=True, exist_ok=True)
        prepared = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        prepared.chmod(0o755)  # nginx's workers look into it
        (prepared / routing.flag).touch()
        link = folder / ".live"
        link.unlink(missing_ok=True)
        link.symlink_to(prepared.name)
        link.replace(folder / "live")  # the switch
        for old in folder.iterdir():
            if old.is_dir() and not old.is_symlink() and old.name != prepared.name:
                shutil.rmtree(old, ignore_errors=True)
