"""Clients that take their time: their requests and answers are still under way when nginx is reloaded."""

from __future__ import annotations

import asyncio
import socket

from bench.load import Connection, Load, Target

STEPS = 12
STEP_S = 0.1
RECEIVE_BUFFER = 16 * 1024  # the kernel would otherwise take a large answer at once


class DrippedBodies(Load):
    """Each request's body arrives a byte at a time, in a bit more than a second."""

    def connection(self) -> Connection:
        return _Dripping(self._target)


class SlowReaders(Load):
    """Each answer, which is to be large, is read piece by piece, in a bit more than a second."""

    def connection(self) -> Connection:
        return _Reading(self._target)


class _Dripping(Connection):
    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self._target.head("POST", f"Content-Length: {STEPS}"))
        for _ in range(STEPS):
            await asyncio.sleep(STEP_S)
            writer.write(b"x")


class _Reading(Connection):
    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        peer.settimeout(0)
        await asyncio.get_running_loop().sock_connect(peer, (self._target.host, self._target.port))
        return await asyncio.open_connection(sock=peer)

    async def _body(self, reader: asyncio.StreamReader, length: int) -> bytes:
        pieces = []
        for number in range(STEPS):
            await asyncio.sleep(STEP_S)
            rest = length - sum(map(len, pieces))
            pieces.append(await reader.readexactly(rest if number == STEPS - 1 else length // STEPS))
        return b"".join(pieces)


def slow_load(target: Target, large: Target) -> tuple[Load, Load]:
    """Both kinds. `large`: where an answer of a few MB is had."""
    return DrippedBodies(target, connections=4), SlowReaders(large, connections=4)
