"""The other gateways of a fleet, asked by one of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.adapters.remote_member import RemoteMember
from gateway.core.fleet import Post
from gateway.errors import GatewayError

MOST_AT_ONCE = 16


class Peers:
    def __init__(self, connect: Callable[[str], RemoteMember]) -> None:
        self._connect, self._known = connect, dict[str, RemoteMember]()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="peers")

    def __call__(self, addresses: tuple[str, ...]) -> dict[str, Post]:
        """What those that answer know."""
        self._known = {a: self._known.get(a) or self._connect(a) for a in addresses}
        asked = {a: self._pool.submit(one.post) for a, one in self._known.items()}
        found = {}
        for address, answer in asked.items():
            try:
                found[address] = answer.result()
            except GatewayError:
                continue
        return found
