"""scripts/fuzz ends when it is told to or when one of its processes is killed, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ENDS_WITHIN_S = 30
Fuzz = subprocess.Popen[str]


@pytest.fixture
def fuzz() -> Iterator[Fuzz]:
    command = [sys.executable, "-m", "tests.fuzz", "--examples", "100000000", "--seed", "1"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a terminal does, so that its Ctrl-C is theirs alone
        # A shell's background job ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        yield process
        process.kill()


def workers(fuzz: Fuzz) -> list[int]:
    """Once all of them are there."""
    path = Path(f"/proc/{fuzz.pid}/task/{fuzz.pid}/children")
    ends_at = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < ends_at:
        if len(found := path.read_text().split()) == os.cpu_count():
            return [int(one) for one in found]
        time.sleep(0.05)
    raise AssertionError("its processes were not started")


def there(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("to", "number"), [(os.kill, signal.SIGINT), (os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)]
)
def test_interrupted_it_says_what_it_has_counted_and_leaves_no_process(
    to: Callable[[int, int], None], number: int, fuzz: Fuzz
) -> None:
    pids = workers(fuzz)
    to(fuzz.pid, number)
    said, wrong = fuzz.communicate(timeout=ENDS_WITHIN_S)
    assert (fuzz.returncode, wrong, there(pids)) == (130, "", [])
    counted = json.loads(said.splitlines()[-1])
    assert counted["examples"] == counted["accepted"] + counted["refused"]
    assert counted["escapes"] == 0


def test_when_a_process_is_killed_it_says_so_and_leaves_none(fuzz: Fuzz) -> None:
    pids = workers(fuzz)
    os.kill(pids[0], signal.SIGKILL)
    said, wrong = fuzz.communicate(timeout=ENDS_WITHIN_S)
    assert (fuzz.returncode, there(pids)) == (3, [])
    assert "was killed" in wrong
    assert "examples" in json.loads(said.splitlines()[-1])


def test_it_tells_how_many_it_has_counted() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--examples", "30", "--seed", "1"]
    said = subprocess.run(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert json.loads(said.splitlines()[-1])["examples"] == 30
