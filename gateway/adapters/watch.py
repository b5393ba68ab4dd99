"""Notices that something in a folder may have changed. Never says what: whoever listens looks again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from gateway.core.debounce import Burst, due, noticed

QUIET_S = 0.2
LONGEST_S = 2.0
# Some mounts (network, desktop) tell of no change.
LOOK_ANYWAY_S = 10.0
_READING = ("opened", "closed_no_write")


class Watcher(FileSystemEventHandler):
    """Calls `look` after each burst of changes, and every LOOK_ANYWAY_S, on one thread of its own."""

    def __init__(self, folders: Iterable[Path], look: Callable[[], object]) -> None:
        self._folders, self._look = tuple(folders), look
        self._burst: Burst | None = None
        self._changed = threading.Condition()
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="configuration", daemon=True).start()

    def notice(self) -> None:
        """Something may have changed."""
        with self._changed:
            self._burst = noticed(self._burst, time.monotonic())
            self._changed.notify_all()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _READING:
            self.notice()

    def _run(self) -> None:
        while True:
            self._watch()
            self._wait()
            self._look()

    def _watch(self) -> None:
        """Watch the folders that are there; one that appears later is found by the slow look."""
        if self._observer is not None and self._observer.is_alive():
            return
        there = [folder for folder in self._folders if folder.is_dir()]
        if not there:
            return
        try:
            observer = Observer()
            for folder in there:
                observer.schedule(self, str(folder), recursive=True)
            observer.start()
        except OSError:  # no more inotify watches: the slow look has to do
            return
        self._observer = observer

    def _wait(self) -> None:
        until = time.monotonic() + LOOK_ANYWAY_S
        with self._changed:
            while True:
                now = time.monotonic()
                when = due(self._burst, quiet_s=QUIET_S, longest_s=LONGEST_S) if self._burst else until
                if now >= min(when, until):
                    self._burst = None
                    return
                self._changed.wait(min(when, until) - now)
