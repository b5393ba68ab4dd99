"""The journal on a real SQLite file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.clock import SystemClock
from gateway.adapters.journal import SCHEMA_VERSION, SharedJournal, SqliteJournal
from gateway.core.history import contracted_since, last_in_slots, release_before
from gateway.core.model import Deployment, Hook, Kind, Phase, Scale, Slot
from gateway.errors import EngineError, Failed, JournalError

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
    known = {Phase.KEEPING, Phase.RETIRING, Phase.CONTRACTING, Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED}
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
        for column in ("shares", "sessions", "hooks", "contracted", "scales", "scaled"):
            db.execute(f"ALTER TABLE deployments DROP COLUMN {column}")
        db.execute("PRAGMA user_version=1")
    assert SqliteJournal(path, SystemClock()).unfinished("shop") == replace(DEPLOYMENT, number=1)


def test_the_hooks_to_come_and_a_contract_that_began_survive_a_restart(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(replace(DEPLOYMENT, hooks=(Hook.EXPAND, Hook.CONTRACT)))
    contracting = replace(stored, phase=Phase.CONTRACTING, hooks=(Hook.CONTRACT,), contracted=True)
    journal.save(contracting)
    journal.close()
    assert SqliteJournal(path, SystemClock()).unfinished("shop") == contracting


def test_a_contract_is_known_however_many_attempts_came_after_it(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    journal.save(
        replace(journal.begin(replace(DEPLOYMENT, release="r3")), phase=Phase.FAILED, contracted=True)
    )
    for _ in range(3):
        journal.save(replace(journal.begin(replace(DEPLOYMENT, release="r4")), phase=Phase.SUCCEEDED))
    journal.forget("shop", keep=1)
    found = journal.deployments("shop")
    assert [contracted_since(found, release) for release in ("r2", "r3", "r4")] == ["r3", None, None]


def test_a_release_whose_contract_failed_was_live_nevertheless(path: Path) -> None:
    failed = replace(DEPLOYMENT, release="r3", phase=Phase.FAILED, contracted=True)
    assert release_before([failed, replace(DEPLOYMENT, release="r2", phase=Phase.SUCCEEDED)], "r4") == "r3"


def test_how_far_the_replicas_were_replaced_survives_a_restart(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(replace(DEPLOYMENT, scales=(Scale(0, 2), Scale(1, 2), Scale(1, 1), Scale(2, 1))))
    journal.save(replace(stored, phase=Phase.STEPPING, scaled=2))
    journal.close()
    found = SqliteJournal(path, SystemClock()).unfinished("shop")
    assert found == replace(stored, phase=Phase.STEPPING, scaled=2)


def test_an_order_to_switch_is_not_one_to_go_on_after_a_pause(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(DEPLOYMENT)
    journal.order_switch(stored.number)
    journal.save(replace(stored, phase=Phase.STEPPING))
    assert journal.orders(stored.number) == (False, True)
    journal.save(replace(stored, phase=Phase.PAUSED))
    assert journal.orders(stored.number) == (False, False)


def test_the_steps_to_come_survive_a_restart(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    stored = journal.begin(replace(DEPLOYMENT, shares=(10, 50), sessions=True))
    journal.save(replace(stored, phase=Phase.STEPPING, shares=(50,)))
    journal.close()
    found = SqliteJournal(path, SystemClock()).unfinished("shop")
    assert found == replace(stored, phase=Phase.STEPPING, shares=(50,))


def ended(
    journal: SqliteJournal, release: int, *, slot: Slot = Slot.BLUE, phase: Phase = Phase.SUCCEEDED
) -> Deployment:
    """A deployment of the release that ended in the phase; the release is made where it is missing."""
    while journal.next_release("shop") <= release:
        journal.add_release("shop", {"services": {}}, {})
    stored = journal.begin(replace(DEPLOYMENT, release=f"r{release}", slot=slot))
    journal.save(replace(stored, phase=phase))
    return replace(stored, phase=phase)


def releases(journal: SqliteJournal) -> list[str]:
    rows = journal._rows("SELECT number FROM releases WHERE site = 'shop' ORDER BY number")
    return [f"r{number}" for (number,) in rows]


def test_the_newest_ended_deployments_stay_and_the_others_go_with_all_that_was_theirs(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    made = [ended(journal, n, slot=list(Slot)[n % 2]) for n in range(1, 6)]
    journal.forget("shop", keep=2)
    assert journal.deployments("shop") == [made[4], made[3], made[2]]  # r3: a rollback from r4 leads to it
    assert releases(journal) == ["r3", "r4", "r5"]
    phases = journal._rows("SELECT DISTINCT deployment FROM phases ORDER BY deployment")
    assert phases == [(d.number,) for d in made[2:]]


def test_of_a_forgotten_deployment_there_is_nothing_to_tell(path: Path) -> None:
    """Who has just read the list may ask for one that is forgotten meanwhile."""
    journal = SqliteJournal(path, SystemClock())
    oldest, *_ = [ended(journal, n) for n in (1, 2, 3)]
    journal.forget("shop", keep=1)
    assert journal.deployment(oldest.number) is None
    assert journal.details(oldest.number) == {"switch_ms": None, "diagnosis": None, "timeline": []}


def test_another_sites_history_is_not_touched(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    made = [ended(journal, n) for n in range(1, 6)]
    for _ in range(9):
        journal.add_release("other", {}, {})
    journal.forget("shop", keep=9)
    assert journal.release("other", "r1") is not None
    journal.forget("other", keep=0)
    assert len(journal.deployments("shop")) == len(releases(journal)) == len(made)
    assert journal.details(made[0].number)["timeline"]


def test_an_unfinished_deployment_is_never_forgotten(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    journal.add_release("shop", {}, {})
    unfinished = journal.begin(DEPLOYMENT)
    for release in (2, 3, 4):
        ended(journal, release)
    journal.forget("shop", keep=0)
    assert journal.unfinished("shop") == unfinished
    assert journal.release("shop", unfinished.release) is not None


def test_failed_attempts_push_out_neither_what_is_live_nor_the_way_back_from_it(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    before = ended(journal, 1, slot=Slot.GREEN)
    live = ended(journal, 2, slot=Slot.BLUE)
    attempts = [ended(journal, n, slot=Slot.GREEN, phase=Phase.ABORTED) for n in range(3, 9)]
    journal.forget("shop", keep=2)
    assert journal.deployments("shop") == [attempts[5], attempts[4], live, before]
    assert releases(journal) == ["r1", "r2", "r7", "r8"]


def test_after_a_rollback_what_is_live_and_the_way_further_back_stay(path: Path) -> None:
    """The live release is older than others that succeeded: the way back is not simply the newest."""
    journal = SqliteJournal(path, SystemClock())
    for release in (1, 2, 3):
        ended(journal, release, slot=Slot.GREEN)
    ended(journal, 2, slot=Slot.BLUE)
    for release in (4, 5, 6):
        ended(journal, release, slot=Slot.GREEN, phase=Phase.ABORTED)
    journal.forget("shop", keep=1)
    assert last_in_slots(journal.deployments("shop"))[Slot.BLUE].release == "r2"
    assert release_before(journal.deployments("shop"), "r2") == "r1"
    assert journal.release("shop", "r1") is not None


def test_a_release_that_a_deployment_names_as_its_previous_stays(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    for release in (1, 2, 3):
        ended(journal, release)
    journal.begin(replace(DEPLOYMENT, release="r3", slot=Slot.GREEN, previous="r1"))
    ended(journal, 4)
    journal.forget("shop", keep=1)
    assert journal.release("shop", "r1") is not None


def test_a_releases_number_is_never_given_again(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    ended(journal, 1)
    ended(journal, 2, phase=Phase.ABORTED)
    ended(journal, 1)
    journal.forget("shop", keep=1)
    assert journal.next_release("shop") == 3


def test_a_crash_while_forgetting_leaves_all_of_it(path: Path) -> None:
    journal = SqliteJournal(path, SystemClock())
    made = [ended(journal, n) for n in range(1, 6)]
    journal._rows("CREATE TRIGGER crash BEFORE DELETE ON releases BEGIN SELECT RAISE(FAIL, 'crash'); END")
    with pytest.raises(sqlite3.IntegrityError, match="crash"):
        journal.forget("shop", keep=1)
    after = SqliteJournal(path, SystemClock())
    assert after.deployments("shop") == made[::-1]
    assert after.details(made[0].number)["timeline"]


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


class Store:
    """Where several machines keep a journal."""

    def __init__(self) -> None:
        self.data, self.refuses = b"", False

    def load(self) -> bytes:
        return self.data

    def save(self, data: bytes) -> None:
        if self.refuses:
            raise EngineError("the managers have no majority")
        self.data = data

    def opened(self) -> SharedJournal:
        return SharedJournal(self.load, self.save, SystemClock())


def test_what_one_controller_wrote_into_a_shared_journal_the_next_one_reads() -> None:
    store = Store()
    begun = store.opened().begin(DEPLOYMENT)
    again = store.opened()
    assert again.unfinished("shop") == begun
    again.cancel(begun.number)
    assert store.opened().orders(begun.number) == (True, False)


def test_what_could_not_be_shared_was_not_written() -> None:
    store = Store()
    journal = store.opened()
    begun = journal.begin(DEPLOYMENT)
    store.refuses = True
    with pytest.raises(JournalError, match="no majority"):
        journal.save(replace(begun, phase=Phase.CUTOVER))
    assert journal.unfinished("shop") == store.opened().unfinished("shop") == begun
    store.refuses = False
    journal.save(replace(begun, phase=Phase.CUTOVER))
    assert store.opened().unfinished("shop") == replace(begun, phase=Phase.CUTOVER)
