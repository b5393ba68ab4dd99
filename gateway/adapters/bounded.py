"""A function that may never end, called in a child process that does. For templates of users."""

from __future__ import annotations

import json
import pickle
import resource
import signal
import subprocess
import sys
import threading
from importlib import import_module
from typing import Any

DEADLINE_S = 3.0
MEMORY_BYTES = 1 << 30
LARGEST_CHARS = 4 << 20


class CallFailed(Exception):
    """What it raised."""


class Ended(CallFailed):
    """It took too long or too much."""


class Bounded:
    """`target`: "module:function" that gives a text. The child is started at the first call, and again when
    it was ended. Thread-safe."""

    def __init__(self, target: str) -> None:
        self._target, self._lock = target, threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, *args: Any) -> str:
        """Raises CallFailed, or Ended after DEADLINE_S at the latest."""
        with self._lock:
            child = self._running()
            assert child.stdin and child.stdout
            message = pickle.dumps(args)
            try:
                child.stdin.write(len(message).to_bytes(8, "big") + message)
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                line = b""
            if not line:
                child.communicate()
                timed_out = child.returncode == -signal.SIGALRM
                raise Ended(f"does not end within {DEADLINE_S:g} s" if timed_out else "needs too much")
        told = json.loads(line)
        if "error" in told:
            raise CallFailed(told["error"])
        if len(told["text"]) > LARGEST_CHARS:
            raise Ended(f"makes more than {LARGEST_CHARS} characters")
        return str(told["text"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            begin = (
                f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve(sys.argv[1])"
            )
            self._child = subprocess.Popen(
                [sys.executable, "-c", begin, self._target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._child


def serve(target: str) -> None:
    """The child: calls until its standard input ends. Its own timer ends it, whatever it is doing then,
    also when nobody waits for it any more."""
    module, name = target.split(":")
    call = getattr(import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(8):
        args = pickle.loads(requests.read(int.from_bytes(head, "big")))
        signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
        try:
            told = {"text": call(*args)}
        except Exception as error:
            told = {"error": str(error) or type(error).__name__}
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(told).encode() + b"\n")
        answers.flush()
