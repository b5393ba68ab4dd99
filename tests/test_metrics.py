"""What a monitoring system reads, parsed by Prometheus' own parser."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.journal import SqliteJournal
from gateway.adapters.routing import RoutingFiles
from gateway.core.model import Deployment, DrainClock, InFlight, Kind, Leaving, Phase, Routing, Site, Slot
from gateway.core.roster import Entry, Roster, Standing
from gateway.directory import Directory
from gateway.errors import SettingsInvalid, Unreachable
from gateway.metrics import Metrics, as_text, as_values
from gateway.ports import DataPlane
from gateway.settings import parse
from gateway.world import World
from tests.made_certificates import make_certificate
from tests.simulation import Scenario, SimulatedWorld

SHOP = Site("shop", ("shop.test",), "app", 8000, "/stacks/shop.yaml")
BLOG = replace(SHOP, name="blog", domains=("blog.test",))
FIRST = Deployment(0, "shop", Kind.DEPLOY, "r1", Slot.BLUE, None, Phase.STARTING, 0.0)
NOW = 1_000_000_000.0


def entry(site: Site, standing: Standing = Standing.CURRENT, *reasons: str) -> Entry:
    return Entry(site.name, standing, site, site.domains, reasons)


@dataclass
class Gateway:
    """Real files and a real journal; nginx is left out."""

    folder: Path
    roster: Roster
    generation: str | None = "abc123"
    leaving: dict[str, Leaving] = field(default_factory=dict)
    journal: SqliteJournal = field(init=False)
    routing: RoutingFiles = field(init=False)

    def __post_init__(self) -> None:
        self.world = SimulatedWorld(Scenario())
        self.journal = SqliteJournal(self.folder / "journal.sqlite3", self.world)
        self.routing = RoutingFiles(self.folder / "live", self.folder)
        (self.folder / "certs").mkdir()
        (self.folder / "live").mkdir()

    def metrics(self) -> Metrics:
        return Metrics(
            Directory(lambda: self.roster, lambda site: None),
            World(self.world, self.world, self.world, self.journal, self.world),
            DataPlane(
                self.world,
                lambda site: CertificateFolder(self.folder / "certs", now=NOW).of(site),
                lambda site: self.routing.shown(site.name).routing,
                lambda: self.generation,
            ),
            lambda: self.leaving,
        )

    def read(self) -> dict[tuple[str, ...], float]:
        return parsed(as_text(self.metrics().look()))


def parsed(text: str) -> dict[tuple[str, ...], float]:
    """(name without prefix, label values in the order of their names) -> value."""
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    found = {
        (s.name.removeprefix("gateway_"), *(value for _, value in sorted(s.labels.items()))): s.value
        for s in samples
    }
    assert len(found) == len(samples)
    return found


def up(found: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    return {key[1]: value for key, value in found.items() if key[0] == "up"}


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """Two sites, both in the maintenance page."""
    made = Gateway(tmp_path, Roster({"shop": entry(SHOP), "blog": entry(BLOG)}))
    made.routing.restore([SHOP, BLOG])
    return made


def test_a_quarantined_site_is_named_and_its_reason_is_not(gateway: Gateway) -> None:
    broken = entry(BLOG, Standing.LAST_GOOD, "GATEWAY_BLOG_MAX_BODY='s3cret' must be a number")
    gateway.roster = Roster({"shop": entry(SHOP), "blog": broken}, ("a problem", "another"))
    found = gateway.read()
    assert found["site_quarantined", "blog"] == 1
    assert found["site_quarantined", "shop"] == 0
    assert found["site_info", "blog", "last_good"] == 1
    assert found["site_info", "shop", "current"] == 1
    assert found["configuration_problems",] == 2
    assert "s3cret" not in as_text(gateway.metrics().look())


def test_the_slot_that_serves_is_named_with_the_release_in_it(gateway: Gateway) -> None:
    for release, slot in (("r1", Slot.GREEN), ("r2", Slot.GREEN), ("r3", Slot.BLUE)):
        gateway.journal.save(
            replace(
                gateway.journal.begin(replace(FIRST, release=release, slot=slot)),
                phase=Phase.ABORTED if release == "r3" else Phase.SUCCEEDED,
            )
        )
    gateway.routing.publish("shop", Routing(Slot.GREEN, observed=True))
    found = gateway.read()
    assert [key for key in found if key[0] == "site_live"] == [("site_live", "r2", "shop", "green")]
    assert found["deployments_kept", "succeeded", "shop"] == 2
    assert found["deployments_kept", "aborted", "shop"] == 1


def test_what_leaves_is_told_with_its_time_while_it_is_given_some(gateway: Gateway) -> None:
    assert not [key for key in gateway.read() if key[0].startswith("leaving")]
    gateway.world.answering[Slot.BLUE] = InFlight(3, 2)
    clocks = {DrainClock.REQUESTS: 27.0, DrainClock.WEBSOCKETS: 87.0}
    gateway.leaving["shop"] = Leaving(Slot.BLUE, clocks)
    found = gateway.read()
    assert found["leaving_in_flight", "requests", "shop", "blue"] == 3
    assert found["leaving_in_flight", "websockets", "shop", "blue"] == 2
    assert found["leaving_left_seconds", "requests", "shop", "blue"] == pytest.approx(27, abs=1)
    assert found["leaving_left_seconds", "websockets", "shop", "blue"] == pytest.approx(87, abs=1)
    gateway.world.answering[Slot.BLUE] = InFlight()
    assert gateway.read()["leaving_in_flight", "requests", "shop", "blue"] == 0


def test_the_time_that_is_left_is_told_though_nginx_does_not_answer(gateway: Gateway) -> None:
    gateway.leaving["shop"] = Leaving(Slot.BLUE, {DrainClock.SESSIONS: 9.0})
    gateway.world.nginx_answers = False
    found = gateway.read()
    assert found["leaving_left_seconds", "sessions", "shop", "blue"] == pytest.approx(9, abs=1)
    assert up(found)["in_flight"] == 0
    assert not [key for key in found if key[0] == "leaving_in_flight"]


def test_a_live_slot_that_the_journal_does_not_know_is_told_all_the_same(gateway: Gateway) -> None:
    gateway.routing.publish("shop", Routing(Slot.BLUE))
    assert gateway.read()["site_live", "r0", "shop", "blue"] == 1


def test_what_is_in_progress_is_told_with_its_phase(gateway: Gateway) -> None:
    gateway.journal.save(replace(gateway.journal.begin(FIRST), phase=Phase.OBSERVING))
    found = gateway.read()
    assert found["deployment_in_progress", "observing", "shop"] == 1
    assert not [key for key in found if key[0] == "deployments_kept"]


def test_a_certificate_s_end_is_told_in_seconds_since_the_epoch(gateway: Gateway) -> None:
    make_certificate(gateway.folder / "certs", "shop.test", "shop.test")
    [found] = CertificateFolder(gateway.folder / "certs", now=NOW).of(SHOP)
    assert found.certificate
    told = {key: value for key, value in gateway.read().items() if key[0].startswith("certificate")}
    assert told == {
        ("certificate_expiry_timestamp_seconds", "shop.test", "shop"): found.certificate.expires_at
    }


def test_what_does_not_answer_is_named_and_the_rest_is_told(gateway: Gateway) -> None:
    """One site's routing is unreadable, nginx is down."""
    gateway.routing.publish("shop", Routing(Slot.BLUE))
    (gateway.folder / "live" / "blog").unlink()
    gateway.generation = None
    found = gateway.read()
    assert up(found) == {"sites": 1, "nginx": 0, "journal": 1, "routing": 0, "certificates": 1}
    assert found["site_live", "r0", "shop", "blue"] == 1
    assert not [key for key in found if key[0] == "configuration_generation_info"]


def raising(error: Exception) -> Callable[..., None]:
    def asked(*args: object) -> None:
        raise error

    return asked


def test_without_sites_there_still_is_an_answer(gateway: Gateway) -> None:
    """A controller whose agent has told nothing yet."""
    directory = Directory(raising(Unreachable("not yet")), lambda site: None)  # type: ignore[arg-type]
    found = parsed(as_text(replace(gateway.metrics(), directory=directory).look()))
    assert up(found)["sites"] == 0
    assert found["configuration_generation_info", "abc123"] == 1


def test_who_can_t_be_reached_is_not_asked_for_each_site(gateway: Gateway) -> None:
    asked: list[Site] = []

    def unreachable(site: Site) -> Routing:
        asked.append(site)
        raise Unreachable("no answer")

    found = parsed(as_text(_with_routing(gateway.metrics(), unreachable).look()))
    assert up(found)["routing"] == 0
    assert len(asked) == 1


def test_a_site_that_is_not_served_has_no_routing_to_be_missed(gateway: Gateway) -> None:
    """Of one that was left out, not even the file's name need be text."""
    odd = os.fsdecode(b"caf\xe9")
    left_out = Entry(odd, Standing.LEFT_OUT, None, (), ("no name",))
    dropped = entry(replace(SHOP, name="gone"), Standing.DROPPED)
    gateway.roster = Roster({odd: left_out, "gone": dropped})
    found = gateway.read()
    assert found["site_quarantined", r"caf\udce9"] == 1
    assert found["site_info", "gone", "dropped"] == 1
    assert set(up(found).values()) == {1}


def test_values_say_what_the_text_says(gateway: Gateway) -> None:
    gateway.routing.publish("shop", Routing(Slot.BLUE))
    look = gateway.metrics().look()
    values = {
        (s["name"].removeprefix("gateway_"), *(value for _, value in sorted(s["labels"].items()))): s["value"]
        for s in as_values(look)
    }
    assert values == parsed(as_text(look))


def test_every_name_has_its_help_and_our_prefix(gateway: Gateway) -> None:
    for family in text_string_to_metric_families(as_text(gateway.metrics().look())):
        assert family.name.startswith("gateway_")
        assert family.documentation
        assert family.type == "gauge"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"GATEWAY_METRICS_PORT": "80"}, "HTTP_PORT"),
        ({"GATEWAY_METRICS_PORT": "443"}, "HTTPS_PORT"),
        ({"GATEWAY_METRICS_PORT": "8443", "GATEWAY_HTTPS_PORT": "8443"}, "HTTPS_PORT"),
    ],
)
def test_the_port_is_never_one_of_the_sites(given: dict[str, str], taken: str) -> None:
    env = {"GATEWAY_DOMAIN": "a.test", "GATEWAY_UPSTREAM": "app:80"} | given
    problem = f"^GATEWAY_METRICS_PORT='[0-9]+' must be another port than GATEWAY_{taken}$"
    with pytest.raises(SettingsInvalid, match=problem):
        parse(env)


def _with_routing(metrics: Metrics, routing: Callable[[Site], Routing]) -> Metrics:
    return replace(metrics, plane=replace(metrics.plane, routing=routing))
