"""`docker compose` and `docker stack`, run as commands: cancellable, bounded, and ended with us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.errors import EngineError, EngineUnreachable

COMMAND_TIMEOUT_S = 600.0
CANCEL_LOOK_S = 0.2
TERM_PATIENCE_S = 5.0
# What compose needs of our environment; GATEWAY_* and secrets of ours stay out of the stacks.
PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "TMPDIR", "LANG")
# So a manager says that another one has to lead first. Measured: the leader cut off, killed, and no majority.
NOBODY_LEADS = (
    *("code = Unavailable", "code = DeadlineExceeded"),
    *("does not have a leader", "lost leader status"),
)
COMPOSE = ("compose", "--ansi", "never", "--progress", "plain")


def run_compose(args: Sequence[str], **how: Any) -> str:
    """`docker compose ARGS`, as `run_docker`."""
    return run_docker([*COMPOSE, *args], **how)


def run_docker(
    args: Sequence[str],
    *,
    stdin: str | None = None,
    values: Mapping[str, str] | None = None,
    timeout_s: float = COMMAND_TIMEOUT_S,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """`docker ARGS`; its standard output. Raises EngineError or EngineUnreachable, with what it said."""
    env = {key: os.environ[key] for key in PASSED_ON if key in os.environ} | dict(values or {})
    # Killed with us: a compose that outlives a killed controller would work against its successor.
    command = ["setpriv", "--pdeathsig", "KILL", "docker"]
    with subprocess.Popen(
        [*command, *args],
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
        start_new_session=True,
    ) as process:
        out, err = _communicate(process, stdin, timeout_s, cancelled)
    if process.returncode == 0:
        return out
    lines = [line.strip() for line in re.split(r"[\r\n]+", err) if line.strip()]
    said = lines[-1].removeprefix("Error response from daemon: ") if lines else str(process.returncode)
    raise refused(said)


def refused(said: str) -> EngineError | EngineUnreachable:
    """What Docker said, as the error that it is."""
    if "Cannot connect to the Docker daemon" in said:
        return EngineUnreachable(f"the Docker Engine can't be reached: {said}")
    if "rpc error" in said and any(words in said for words in NOBODY_LEADS):
        return EngineUnreachable(f"the Swarm does not answer: {said}")
    return EngineError(said)


def _communicate(
    process: subprocess.Popen[str], stdin: str | None, timeout_s: float, cancelled: Callable[[], bool]
) -> tuple[str, str]:
    """What it wrote. Ends it, and all that it started, when the time is up or a person cancels."""
    until, why = time.monotonic() + timeout_s, ""
    while not why:
        try:
            return process.communicate(stdin, timeout=CANCEL_LOOK_S)
        except subprocess.TimeoutExpired:
            stdin = None  # it is on its way
            if cancelled():
                why = "cancelled"
            elif time.monotonic() > until:
                why = f"`docker` did not end within {timeout_s:g} s"
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.communicate(timeout=TERM_PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    raise EngineError(why)
