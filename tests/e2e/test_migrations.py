"""A column is renamed in three releases while clients write and read, on a real PostgreSQL."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.conftest import Lock
from tests.e2e.gateways import ROOT, TAG, Gateway, Start, docker, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.first]
FOLDER = ROOT / "compose" / "expand-contract"
PEOPLE, POSTGRES = f"people-{TAG}", f"people-postgres-{TAG}"


@pytest.fixture(scope="module")
def people_images(one_at_a_time: Lock) -> Iterator[None]:
    releases = [f"{PEOPLE}:{release}" for release in (1, 2, 3)]
    with one_at_a_time():
        docker("build", "-q", "--network=host", "-t", POSTGRES, str(FOLDER / "postgres"))
        for release, image in enumerate(releases, start=1):
            docker(
                *("build", "-q", "--network=host", "-t", image),
                *("--build-arg", f"RELEASE={release}", str(FOLDER)),
            )
    yield
    docker("image", "rm", "-f", POSTGRES, *releases)


@dataclass(frozen=True)
class Shop:
    gateway: Gateway
    database: str  # container, and its network

    def deploy(self, release: int) -> None:
        stack = (FOLDER / f"release-{release}" / "stack.yaml").read_text()
        (self.gateway.folder / "stack.yaml").write_text(stack)
        values = {"PEOPLE": PEOPLE, "DB_HOST": self.database, "DATA": self.database}
        sets = [word for pair in values.items() for word in ("--set", "=".join(pair))]
        result = self.gateway.cli("deploy", self.gateway.site, "--json", *sets)
        assert result.code == 0, result.err

    def sql(self, query: str) -> str:
        return docker("exec", self.database, "psql", "-U", "postgres", "-Atc", query)


@pytest.fixture
def shop(start_gateway: Start, people_images: None) -> Shop:
    gateway = start_gateway(GATEWAY_KEEP_S="3", GATEWAY_OBSERVE_S="1")
    database = f"{gateway.site}-db"  # and its network: so named, both go with the site
    docker("network", "create", database)
    docker("run", "-d", "--name", database, "--network", database, POSTGRES)
    asked = ("exec", database, "sh", "-c", "pg_isready || true")
    wait_for(lambda: "accepting" in docker(*asked), "PostgreSQL accepts connections")
    return Shop(gateway, database)


@dataclass
class Clients:
    """Each writes a name of its own, reads it back, and never tries twice."""

    gateway: Gateway
    written: dict[int, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Clients:
        self.threads = [threading.Thread(target=self.client, args=(n,)) for n in range(4)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def client(self, own: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        count = 0
        while not self.stop.is_set():
            name = f"client {own} writes {count}"
            count += 1
            try:
                number = self.ask(connection, "POST", "/people", name)["id"]
                self.written[number] = name
                found = self.ask(connection, "GET", f"/people/{number}")["name"]
                if found != name:
                    self.wrong.append(f"{name!r} became {found!r}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.wrong.append(f"{name}: {error!r}")
                connection.close()
            time.sleep(0.002)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
    ) -> dict[str, object]:
        connection.request(method, path, body, headers={"Host": self.gateway.domain})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        told: dict[str, object] = json.loads(text)
        return told


def test_a_column_is_renamed_in_three_releases_without_an_error_or_a_lost_row(shop: Shop) -> None:
    gateway = shop.gateway
    shop.deploy(1)
    with Clients(gateway) as clients:
        shop.deploy(2)
        assert shop.sql("SELECT count(*) FROM people WHERE full_name IS DISTINCT FROM name") == "0"
        shop.deploy(3)
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'people'"
        assert "name" in shop.sql(columns).split()  # release 2 is kept: the contract has to wait
        wait_for(lambda: gateway.phase() == "none", "release 2 is gone and the contract has run")
        assert sorted(shop.sql(columns).split()) == ["full_name", "id"]
        time.sleep(0.5)
    assert clients.wrong == []
    rows = (row.split("|", 1) for row in shop.sql("SELECT id, full_name FROM people").splitlines())
    assert {int(number): name for number, name in rows} == clients.written
    assert len(clients.written) > 1000
    # No hook left a container behind.
    assert gateway.containers() == [f"{gateway.site}-blue-app-1"]

    refused = gateway.cli("rollback", gateway.site, "--to", "r2")
    assert refused.code == 2
    assert "the contract of r3 has run" in refused.err
    assert gateway.release() == "3"
    forced = gateway.cli("rollback", gateway.site, "--to", "r2", "--force")
    assert (forced.code, gateway.release()) == (0, "2")
    assert "warning: the contract of r3 has run" in forced.err
