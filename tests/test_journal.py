"""The journal on a real SQLite file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.clock import SystemClock
from gateway.adapters.journal import SCHEMA_VERSION, SqliteJournal
from gateway.core.model import Deployment, Kind, Phase, Slot
from gateway.errors import Failed

DEPLOYMENT = Deployment(
    number=0,
    site="shop",
    kind=Kind.DEPLOY,
    release="r1",
    slot=Slot.BLUE,
    previous=None,
    phase=Phase.STARTING,
    created_at=1.0,
    by="ann@laptop",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def test_what_was_saved_is_there_after_a_restart(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(DEPLOYMENT)
    journal.save(replace(stored, phase=Phase.PROBING))
    journal.cancel(stored.number)
    again = SqliteJournal(path, SystemClock())  # the first is not closed: as after a kill
    assert again.unfinished("shop") == replace(stored, phase=Phase.PROBING)
    assert again.orders(stored.number) == (True, False)
    assert [entry["phase"] for entry in again.details(stored.number)["timeline"]] == ["starting", "probing"]


def test_an_ended_deployment_is_not_unfinished(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    journal.save(replace(journal.begin(DEPLOYMENT), phase=Phase.ABORTED))
    assert journal.unfinished("shop") is None


@pytest.mark.parametrize("phase", Phase)
def test_a_deployment_is_in_progress_until_its_outcome_is_known(path: Path, phase: Phase) -> None:
    journal = SqliteJournal(path, SystemClock())
    journal.save(replace(journal.begin(DEPLOYMENT), phase=phase))
    known = {Phase.KEEPING, Phase.RETIRING, Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED}
    assert journal.in_progress() == (set() if phase in known else {"shop"})


def test_releases_are_numbered_a_site_and_come_back_whole(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    model = {"services": {"app": {"image": "shop:1"}}}
    assert [journal.add_release(s, model, {"app": "shop:1"}).id for s in ("a", "a", "b")] == [
        "r1",
        "r2",
        "r1",
    ]
    found = journal.release("a", "r2")
    assert found is not None
    assert (found.stack, found.images) == (model, {"app": "shop:1"})
    assert journal.release("a", "r9") is journal.release("a", "nonsense") is None


def test_an_outcome_survives_with_what_was_measured(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    number = journal.begin(DEPLOYMENT).number
    journal.note(number, switch_ms=1.5)
    journal.note(number, diagnosis={"hint": "port"})
    details = journal.details(number)
    assert (details["switch_ms"], details["diagnosis"]) == (1.5, {"hint": "port"})


def test_a_journal_of_a_newer_gateway_is_refused_and_left_as_it_is(path: Path) -> None:
    SqliteJournal(path, SystemClock()).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(Failed, match="newer gateway"):
        SqliteJournal(path, SystemClock())


def test_a_journal_of_the_version_before_is_taken_over(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    journal.begin(DEPLOYMENT)
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE deployments DROP COLUMN shares")
        db.execute("ALTER TABLE deployments DROP COLUMN sessions")
        db.execute("PRAGMA user_version=1")
    assert SqliteJournal(path, SystemClock()).unfinished("shop") == replace(DEPLOYMENT, number=1)


def test_the_steps_to_come_survive_a_restart(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(replace(DEPLOYMENT, shares=(10, 50), sessions=True))
    journal.save(replace(stored, phase=Phase.STEPPING, shares=(50,)))
    journal.close()
    found = SqliteJournal(path, SystemClock()).unfinished("shop")
    assert found == replace(stored, phase=Phase.STEPPING, shares=(50,))


def test_a_garbled_journal_is_an_error_and_never_an_empty_one(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Failed, match="can't be read"):
        SqliteJournal(path, SystemClock())
    assert path.read_bytes().startswith(b"not a database")


def test_a_commit_is_durable_before_save_returns(path: Path) -> None:
    """synchronous=FULL (2) in WAL mode: https://sqlite.org/pragma.html#pragma_synchronous"""
    journal = SqliteJournal(path, SystemClock())
    assert journal._rows("PRAGMA synchronous") == [(2,)]
    assert journal._rows("PRAGMA journal_mode") == [("wal",)]


def test_only_its_owner_may_read_it(path: Path) -> None:
    SqliteJournal(path, SystemClock())
    assert path.stat().st_mode & 0o077 == 0
