"""The controller's memory: releases, deployments and their phases, in SQLite.

synchronous=FULL: what `save` wrote survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gateway.core.history import forgettable
from gateway.core.model import Deployment, Hook, Kind, Phase, Release, Scale, Slot
from gateway.core.transitions import PAST_ITS_WAY_BACK, TERMINAL
from gateway.errors import Failed, GatewayError, JournalError
from gateway.ports import Clock

SCHEMA_VERSION = 4
SCHEMA = """
CREATE TABLE releases (
    site TEXT NOT NULL, number INTEGER NOT NULL, stack TEXT NOT NULL, images TEXT NOT NULL,
    PRIMARY KEY (site, number)
) STRICT;
CREATE TABLE deployments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, kind TEXT NOT NULL, release TEXT NOT NULL,
    slot TEXT NOT NULL, previous TEXT, phase TEXT NOT NULL, created_at REAL NOT NULL,
    staged INTEGER NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, shares TEXT NOT NULL DEFAULT '[]',
    sessions INTEGER NOT NULL DEFAULT 0, scales TEXT NOT NULL DEFAULT '[]', scaled INTEGER NOT NULL DEFAULT 0,
    hooks TEXT NOT NULL DEFAULT '[]', contracted INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, ordered INTEGER NOT NULL DEFAULT 0,
    switch_ms REAL, diagnosis TEXT
) STRICT;
CREATE INDEX deployments_by_site ON deployments (site, number);
CREATE TABLE phases (deployment INTEGER NOT NULL, phase TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE INDEX phases_by_deployment ON phases (deployment);
"""
# From the version before to this one.
MIGRATIONS = {
    2: "ALTER TABLE deployments ADD COLUMN shares TEXT NOT NULL DEFAULT '[]';"
    "ALTER TABLE deployments ADD COLUMN sessions INTEGER NOT NULL DEFAULT 0;",
    3: "ALTER TABLE deployments ADD COLUMN hooks TEXT NOT NULL DEFAULT '[]';"
    "ALTER TABLE deployments ADD COLUMN contracted INTEGER NOT NULL DEFAULT 0;",
    4: "ALTER TABLE deployments ADD COLUMN scales TEXT NOT NULL DEFAULT '[]';"
    "ALTER TABLE deployments ADD COLUMN scaled INTEGER NOT NULL DEFAULT 0;",
}
_COLUMNS = (
    "number, site, kind, release, slot, previous, phase, created_at, staged, reason, by, shares, sessions,"
    " scales, scaled, hooks, contracted"
)


@contextmanager
def _translated() -> Iterator[None]:
    """A full disk or a busy file: nothing was written, and it may be tried again."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise JournalError(f"the journal can't be written: {error}. Is the disk full?") from error


class Journal:
    """One writer. Raises Failed when it is from a newer version or can't be read."""

    def __init__(self, db: sqlite3.Connection, name: str, clock: Clock) -> None:
        """`name`: how people know it."""
        self._db, self._clock, self._lock = db, clock, threading.RLock()
        try:
            self._migrate(name)
        except sqlite3.DatabaseError as error:
            raise Failed(f"{name} can't be read: {error}. Restore it from a backup.") from error

    def _migrate(self, name: str) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise Failed(f"{name} was written by a newer gateway (schema {version}): use that version")
        # One transaction: a crash leaves either the old schema or the whole new one.
        changes = SCHEMA if version == 0 else "".join(MIGRATIONS[v] for v in MIGRATIONS if v > version)
        if version < SCHEMA_VERSION:
            self._db.executescript(f"BEGIN; {changes} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction; durable when it ends. Raises JournalError: then nothing was written."""
        with _translated(), self._lock:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield
            self._stored()

    def _stored(self) -> None:
        """What is to be done before it counts as written."""

    def _change(self, sql: str, *values: Any) -> None:
        with self._changing():
            self._db.execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with _translated(), self._lock, closing(self._db.execute(sql, values)) as cursor:
            return cursor.fetchall()

    def add_release(self, site: str, stack: Mapping[str, Any], images: Mapping[str, str]) -> Release:
        with self._lock:
            release = Release(self.next_release(site), site, stack, images)
            self._change(
                "INSERT INTO releases VALUES (?, ?, ?, ?)",
                *(site, release.number, json.dumps(stack), json.dumps(dict(images))),
            )
            return release

    def next_release(self, site: str) -> int:
        """The number that the site's next release gets."""
        [(last,)] = self._rows("SELECT coalesce(max(number), 0) FROM releases WHERE site = ?", site)
        return int(last) + 1

    def release(self, site: str, release_id: str) -> Release | None:
        if not re.fullmatch(r"r[1-9][0-9]{0,8}", release_id):
            return None
        number = int(release_id[1:])
        rows = self._rows("SELECT stack, images FROM releases WHERE site = ? AND number = ?", site, number)
        return Release(number, site, json.loads(rows[0][0]), json.loads(rows[0][1])) if rows else None

    def begin(self, deployment: Deployment) -> Deployment:
        """Store a new deployment and return it with its number."""
        values = asdict(deployment) | {"number": None}
        values |= {name: json.dumps(values[name]) for name in ("shares", "scales", "hooks")}
        names = _COLUMNS.split(", ")
        with self._changing():
            cursor = self._db.execute(
                f"INSERT INTO deployments ({_COLUMNS}) VALUES ({', '.join('?' * len(names))})",
                [values[name] for name in names],
            )
            stored = replace(deployment, number=int(cursor.lastrowid or 0))
            self._note_phase(stored)
        return stored

    def save(self, deployment: Deployment) -> None:
        """Durable when it returns."""
        with self._changing():
            self._db.execute(
                "UPDATE deployments SET phase = ?, reason = ?, shares = ?, scaled = ?, hooks = ?,"
                " contracted = ?, ordered = ordered AND NOT ? WHERE number = ?",
                (
                    *(deployment.phase, deployment.reason, json.dumps(deployment.shares), deployment.scaled),
                    *(json.dumps(deployment.hooks), deployment.contracted),
                    # The order to go on that this phase waits for is a new one.
                    *(deployment.phase is Phase.PAUSED, deployment.number),
                ),
            )
            self._note_phase(deployment)

    def _note_phase(self, deployment: Deployment) -> None:
        self._db.execute(
            "INSERT INTO phases VALUES (?, ?, ?)", (deployment.number, deployment.phase, self._clock.now())
        )

    def cancel(self, number: int) -> None:
        self._change("UPDATE deployments SET cancelled = 1 WHERE number = ?", number)

    def order_switch(self, number: int) -> None:
        self._change("UPDATE deployments SET ordered = 1 WHERE number = ?", number)

    def orders(self, number: int) -> tuple[bool, bool]:
        """(cancelled, switch ordered)."""
        [(cancelled, ordered)] = self._rows(
            "SELECT cancelled, ordered FROM deployments WHERE number = ?", number
        )
        return bool(cancelled), bool(ordered)

    def note(self, number: int, *, switch_ms: float | None = None, diagnosis: Any = None) -> None:
        """Keep what was measured or found; None leaves the stored value."""
        text = None if diagnosis is None else json.dumps(diagnosis)
        self._change(
            "UPDATE deployments SET switch_ms = coalesce(?, switch_ms),"
            " diagnosis = coalesce(?, diagnosis) WHERE number = ?",
            *(switch_ms, text, number),
        )

    def details(self, number: int) -> dict[str, Any]:
        """switch_ms, diagnosis, and the timeline: when each phase began. Empty for one that was forgotten."""
        found = self._rows("SELECT switch_ms, diagnosis FROM deployments WHERE number = ?", number)
        switch_ms, diagnosis = found[0] if found else (None, None)
        phases = self._rows("SELECT phase, at FROM phases WHERE deployment = ? ORDER BY rowid", number)
        return {
            "switch_ms": switch_ms,
            "diagnosis": json.loads(diagnosis) if diagnosis else None,
            "timeline": [{"phase": phase, "at": at} for phase, at in phases],
        }

    def deployments(self, site: str) -> list[Deployment]:
        """Newest first."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM deployments WHERE site = ? ORDER BY number DESC", site)
        return [_deployment(row) for row in rows]

    def deployment(self, number: int) -> Deployment | None:
        rows = self._rows(f"SELECT {_COLUMNS} FROM deployments WHERE number = ?", number)
        return _deployment(rows[0]) if rows else None

    def in_progress(self) -> set[str]:
        """The sites with a deployment whose outcome is open."""
        over = [*TERMINAL, Phase.KEEPING, *PAST_ITS_WAY_BACK]
        marks = ", ".join("?" * len(over))
        rows = self._rows(f"SELECT DISTINCT site FROM deployments WHERE phase NOT IN ({marks})", *over)
        return {str(site) for (site,) in rows}

    def counts(self) -> dict[tuple[str, Phase], int]:
        """(site, phase) -> how many of its deployments are in it or ended so."""
        rows = self._rows("SELECT site, phase, count(*) FROM deployments GROUP BY site, phase")
        return {(site, Phase(phase)): count for site, phase, count in rows}

    def last_in_slots(self) -> dict[tuple[str, Slot], str]:
        """(site, slot) -> the release that was last started there."""
        rows = self._rows("SELECT site, slot, release, max(number) FROM deployments GROUP BY site, slot")
        return {(site, Slot(slot)): release for site, slot, release, _ in rows}

    def forget(self, site: str, *, keep: int) -> None:
        """Remove finished deployments beyond the newest `keep`, and releases that none left names.

        What is read from them stays however old (core.history.forgettable), and so does the newest
        release: its number must not be given again.
        """
        with self._changing():
            gone = [(number,) for number in forgettable(self.deployments(site), keep=keep)]
            self._db.executemany("DELETE FROM phases WHERE deployment = ?", gone)
            self._db.executemany("DELETE FROM deployments WHERE number = ?", gone)
            self._db.execute(
                "DELETE FROM releases WHERE site = :site"
                " AND number < (SELECT max(number) FROM releases WHERE site = :site)"
                " AND NOT EXISTS (SELECT 1 FROM deployments"
                " WHERE site = :site AND 'r' || releases.number IN (release, previous))",
                {"site": site},
            )

    def unfinished(self, site: str) -> Deployment | None:
        return next((d for d in self.deployments(site) if d.phase not in TERMINAL), None)


class SqliteJournal(Journal):
    """In a file of this machine."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)  # resolved stacks hold the values of environment variables
        super().__init__(db, str(path), clock)


class SharedJournal(Journal):
    """Where several machines keep it; here it is in memory. `save` raises GatewayError: nothing was saved."""

    def __init__(self, load: Callable[[], bytes], save: Callable[[bytes], None], clock: Clock) -> None:
        self._save = save
        super().__init__(_in_memory(load()), "the journal in the Swarm's configs", clock)
        self._saved = self._db.serialize()

    def _stored(self) -> None:
        try:
            self._save(written := self._db.serialize())
        except GatewayError as error:
            # By another connection: statements that this one has prepared would go on with what was freed.
            self._db.close()
            self._db = _in_memory(self._saved)
            raise JournalError(f"the journal can't be written: {error}") from error
        self._saved = written


def _in_memory(data: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    if data:
        db.deserialize(data)
    return db


def _deployment(row: tuple[Any, ...]) -> Deployment:
    number, site, kind, release, slot, previous, phase, created_at, staged, reason, by, *rest = row
    shares, sessions, scales, scaled, hooks, contracted = rest
    return Deployment(
        number=number,
        site=site,
        kind=Kind(kind),
        release=release,
        slot=Slot(slot),
        previous=previous,
        phase=Phase(phase),
        created_at=created_at,
        staged=bool(staged),
        shares=tuple(json.loads(shares)),
        scales=tuple(Scale(**scale) for scale in json.loads(scales)),
        scaled=scaled,
        sessions=bool(sessions),
        hooks=tuple(Hook(hook) for hook in json.loads(hooks)),
        contracted=bool(contracted),
        reason=reason,
        by=by,
    )
