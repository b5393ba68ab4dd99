"""What a monitoring system sees, in Prometheus' text format. Nothing is counted between two scrapes.

A scrape asks no container, and nginx once: it takes as long for a thousand sites as they need in the text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.registry import Collector

from gateway import errors
from gateway.core.model import DrainClock, Leaving, Site
from gateway.core.roster import Entry, Roster, Standing
from gateway.core.transitions import TERMINAL
from gateway.directory import Directory
from gateway.ports import DataPlane
from gateway.world import UNKNOWN_RELEASE, World

log = logging.getLogger("gateway")
T = TypeVar("T")
PREFIX = "gateway_"
# Those of which nginx knows a routing.
SERVED = (Standing.CURRENT, Standing.WAITING, Standing.LAST_GOOD)


@dataclass(slots=True)
class _Parts:
    """Who was asked in one scrape, and whether all of it was answered."""

    answered: dict[str, bool] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)

    def ask(self, part: str, question: Callable[[], T]) -> T | None:
        """None: it was not answered."""
        self.answered.setdefault(part, True)
        if part in self._gone:
            return None
        try:
            return question()
        except (errors.GatewayError, OSError) as error:
            log.debug("metrics: %s: %s", part, error)
            self.answered[part] = False
            if isinstance(error, errors.Unreachable):  # nor would it answer for the next site
                self._gone.add(part)
            return None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Thread-safe."""

    directory: Directory
    world: World
    plane: DataPlane
    leaving: Callable[[], Mapping[str, Leaving]]  # site -> what is still given time

    def look(self) -> list[Gauge]:
        parts = _Parts()
        roster = parts.ask("sites", lambda: self.directory.roster) or Roster()
        served = [e.site for e in roster.entries.values() if e.site and e.standing in SERVED]
        return [
            *_configuration(roster),
            *self._generation(parts),
            *self._deployments(parts),
            *self._leaving(parts, served),
            self._live(parts, served),
            self._expiry(parts, served),
            _family(
                "up",
                "1 when all that this scrape asked of the part was answered.",
                {(part,): answered for part, answered in parts.answered.items()},
                "part",
            ),
        ]

    def _generation(self, parts: _Parts) -> Iterator[Gauge]:
        generation = self.plane.generation()
        parts.answered["nginx"] = generation is not None
        yield _family(
            "configuration_generation_info",
            "The configuration that nginx runs.",
            {(generation,): 1} if generation else {},
            "generation",
        )

    def _deployments(self, parts: _Parts) -> Iterator[Gauge]:
        counts = parts.ask("journal", self.world.journal.counts) or {}
        yield _family(
            "deployments_kept",
            "Deployments that ended so, of those that the journal keeps. Not a counter: it forgets.",
            {each: count for each, count in counts.items() if each[1] in TERMINAL},
            "site",
            "outcome",
        )
        yield _family(
            "deployment_in_progress",
            "1 for a deployment that has not ended; in the phase keeping, the previous release stays warm.",
            {each: 1 for each in counts if each[1] not in TERMINAL},
            "site",
            "phase",
        )

    def _leaving(self, parts: _Parts, served: Iterable[Site]) -> Iterator[Gauge]:
        leaving, now = self.leaving(), self.world.clock.now()
        left: dict[tuple[str, ...], float] = {}
        for site in served:
            if one := leaving.get(site.name):
                found = parts.ask("in_flight", partial(self.world.proxy.in_flight, site, one.slot))
                if found is not None:
                    left[site.name, one.slot, DrainClock.REQUESTS] = found.requests
                    left[site.name, one.slot, DrainClock.WEBSOCKETS] = found.sockets
        yield _family(
            "leaving_in_flight",
            "What is in flight to a slot that traffic has left, while it is given time.",
            left,
            "site",
            "slot",
            "kind",
        )
        yield _family(
            "leaving_left_seconds",
            "The time that those in a slot that traffic has left still have at most, by clock.",
            {(name, one.slot, c): s for name, one in leaving.items() for c, s in one.left_s(now).items()},
            "site",
            "slot",
            "clock",
        )

    def _live(self, parts: _Parts, served: Iterable[Site]) -> Gauge:
        last = parts.ask("journal", self.world.journal.last_in_slots) or {}
        live: dict[tuple[str, ...], float] = {}
        for site in served:
            routing = parts.ask("routing", partial(self.plane.routing, site))
            if routing and (slot := routing.slot):
                live[site.name, slot, last.get((site.name, slot), UNKNOWN_RELEASE)] = 1
        return _family(
            "site_live",
            "1 for the slot that serves the site, and the release in it; none: the maintenance page.",
            live,
            "site",
            "slot",
            "release",
        )

    def _expiry(self, parts: _Parts, served: Iterable[Site]) -> Gauge:
        until: dict[tuple[str, ...], float] = {}
        for site in served:
            found = parts.ask("certificates", partial(self.plane.certificates, site)) or ()
            until |= {(site.name, one.domain): one.certificate.expires_at for one in found if one.certificate}
        return _family(
            "certificate_expiry_timestamp_seconds",
            "When the domain's certificate ends, in seconds since the epoch.",
            until,
            "site",
            "domain",
        )


def as_text(families: Sequence[Gauge]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return generate_latest(registry).decode()


def as_values(families: Iterable[Gauge]) -> list[dict[str, Any]]:
    return [
        {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
        for family in families
        for sample in family.samples
    ]


def _configuration(roster: Roster) -> Iterator[Gauge]:
    entries: Mapping[str, Entry] = roster.entries
    yield _family(
        "site_info",
        f"1 for each site, and how it stands to what is configured: {', '.join(Standing)}.",
        {(name, entry.standing): 1 for name, entry in entries.items()},
        "site",
        "standing",
    )
    yield _family(
        "site_quarantined",
        "1 when a mistake keeps the site from what is configured; `gateway status` says which.",
        {(name,): entry.is_quarantined for name, entry in entries.items()},
        "site",
    )
    yield _family(
        "configuration_problems",
        "Problems of the configuration that are no single site's.",
        {(): len(roster.problems)},
    )


def _family(name: str, about: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Gauge:
    family = Gauge(PREFIX + name, about, labels=labels)
    for named, value in values.items():
        # A site that was left out has the name of its file, which need not be UTF-8.
        family.add_metric([each.encode(errors="backslashreplace").decode() for each in named], float(value))
    return family


@dataclass(frozen=True, slots=True, eq=False)  # the registry hashes it
class _Collected(Collector):
    families: Sequence[Gauge]

    def collect(self) -> Sequence[Gauge]:
        return self.families
