"""What a Swarm's managers agree on: which controller leads, and the journal. Both are in its configs.

A config's labels are changed only by whoever knows its present version, so that of two that change them at a
time one is refused (moby, POST /configs/{id}/update). One config says in its labels who leads, in which term,
and which other configs hold the journal; their content can't be changed at all.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from docker.errors import APIError, NotFound

from gateway.adapters.containers import OnDocker, translated
from gateway.errors import EngineError, GatewayError

log = logging.getLogger("gateway")
# Who leads says so this often, and counts as leading for so long; another takes its place some time later.
RENEW_EVERY_S, HELD_FOR_S, TAKEN_AFTER_S = 2.0, 8.0, 12.0
CHUNK = 400_000  # bytes; swarmkit allows 500 KB a config, newer ones more
TERM, LEADER, RENEWED, JOURNAL = "gateway.term", "gateway.leader", "gateway.renewed", "gateway.journal"
OWNER = "gateway.store"  # of the journal's configs

Config = Mapping[str, Any]


class Leadership(OnDocker):
    """Thread-safe."""

    def __init__(self, network: str | None, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(network)
        self._now, self._lock = now, threading.RLock()
        self._id = uuid.uuid4().hex
        self._seen, self._seen_at = -1, now()  # the version, and since when it has been the same
        self._held_until = 0.0
        self.leader = ""  # the node of the one that leads, when it is another

    @property
    def leads(self) -> bool:
        return self._now() < self._held_until

    @translated
    def seek(self) -> int | None:
        """To be called every second: the term as soon as we lead. Raises EngineError, EngineUnreachable."""
        with self._lock:
            config = self._config() or self._create()
            labels = config["Spec"]["Labels"]
            if config["Version"]["Index"] != self._seen:
                self._seen, self._seen_at = config["Version"]["Index"], self._now()
            is_free = not labels.get(LEADER) or self._now() - self._seen_at >= TAKEN_AFTER_S
            if not is_free:
                self.leader = labels[LEADER].partition(" ")[0]
                return None
            term = int(labels.get(TERM) or 0) + 1
            mine = {TERM: str(term), LEADER: f"{self._node()} {self._id}"}
            if not self._change(mine, lambda config: config["Version"]["Index"] == self._seen):
                return None
            self._sweep()
            return term

    @translated
    def renew(self) -> None:
        """Raises EngineError when another leads now."""
        with self._lock:
            self._update({})

    @translated
    def hand_over(self) -> None:
        """Another need not wait."""
        with self._lock:
            self._update({LEADER: ""})
            self._held_until = 0.0

    @translated
    def load(self) -> bytes:
        """The journal; empty: there is none yet."""
        names = self._labels().get(JOURNAL, "").split()
        data = b"".join(base64.b64decode(self._inspect(name)["Spec"]["Data"]) for name in names)
        return zlib.decompress(data) if data else b""

    @translated
    def save(self, data: bytes) -> None:
        """Durable on a majority of the managers when it returns. Raises EngineError."""
        with self._lock:
            packed, before = zlib.compress(data), self._labels().get(JOURNAL, "").split()
            name = f"{self._name()}.{uuid.uuid4().hex[:12]}"
            names: list[str] = []
            for start in range(0, len(packed), CHUNK):
                names.append(f"{name}.{len(names)}")
                self._docker.api.create_config(
                    names[-1], packed[start : start + CHUNK], labels={OWNER: self._name()}
                )
            self._update({JOURNAL: " ".join(names)})
            self._remove(before)

    # Inside

    def _name(self) -> str:
        return f"{self._gateway_network()}.gateway"

    def _node(self) -> str:
        """Where we are, for people."""
        return str(self._docker.info()["Name"]).replace(" ", "-")

    def _inspect(self, name: str) -> Config:
        found: Config = self._docker.api.inspect_config(name)  # type: ignore[no-untyped-call]
        return found

    def _config(self) -> Config | None:
        try:
            return self._inspect(self._name())
        except NotFound:
            return None

    def _create(self) -> Config:
        try:
            self._docker.api.create_config(self._name(), b"its labels say who leads\n", labels={TERM: "0"})
        except APIError as error:
            if error.status_code != 409:  # another was first
                raise
        return self._inspect(self._name())

    def _labels(self) -> Mapping[str, str]:
        config = self._config()
        labels: Mapping[str, str] = config["Spec"]["Labels"] if config else {}
        return labels

    def _update(self, labels: Mapping[str, str]) -> None:
        def is_ours(config: Config) -> bool:
            return str(config["Spec"]["Labels"].get(LEADER, "")).endswith(f" {self._id}")

        if not self._change(labels, is_ours):
            self._held_until = 0.0
            raise EngineError("another controller leads now")

    def _change(self, labels: Mapping[str, str], may: Callable[[Config], bool]) -> bool:
        """False when another was first: as it is now it may not be. Leads from before it was asked."""
        began, config = self._now(), self._config()
        if config is None or not may(config):
            return False
        spec = dict(config["Spec"])
        spec["Labels"] = {**spec["Labels"], RENEWED: uuid.uuid4().hex, **labels}
        api = self._docker.api
        url = f"{api.base_url}/v{api.api_version}/configs/{config['ID']}/update"
        answer = api.post(url, params={"version": config["Version"]["Index"]}, json=spec)
        if "out of sequence" in answer.text:
            return False
        if answer.status_code != 200:
            raise EngineError(f"Docker: {answer.text.strip()}")
        self._held_until = began + HELD_FOR_S
        return True

    def _sweep(self) -> None:
        """What another left that was killed while it saved."""
        used = self._labels().get(JOURNAL, "").split()
        mine = {"label": f"{OWNER}={self._name()}"}
        found: list[Any] = self._docker.api.configs(filters=mine)  # type: ignore[no-untyped-call]
        self._remove([one["Spec"]["Name"] for one in found if one["Spec"]["Name"] not in used])

    def _remove(self, names: list[str]) -> None:
        for name in names:
            try:
                self._docker.api.remove_config(name)  # type: ignore[no-untyped-call]
            except APIError as error:
                log.warning("the config %s stays for now: %s", name, error.explanation)


def lead_for_ever(leadership: Leadership, lost: Callable[[], None]) -> None:
    """Renew it; `lost` is called once when that has failed for too long."""
    while leadership.leads:
        time.sleep(RENEW_EVERY_S)
        try:
            leadership.renew()
        except GatewayError as error:
            log.warning("whether this controller leads is not known: %s", error)
    lost()
