"""1,000 sites on the real image: a few are broken, and nobody else notices; nor when one comes or goes."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from bench.load import Load, Target
from tests.docker.conftest import SITE, Plane, blue_serves, eventually, running_plane

pytestmark = pytest.mark.docker
SITES = 1000
# Of those, and why: refused by a rule, by the list of directives, by nginx naming the file, by nginx naming
# nothing at all.
BROKEN = {
    "s0100": ("UPSTREAM='nonsense' must be", "UPSTREAM=nonsense\n", ""),
    "s0300": ("'load_module' runs code", "", "load_module modules/x.so;"),
    "s0500": ('unknown directive "no_such_directive"', "", "no_such_directive on;"),
    "s0700": ("could not build types_hash", "", f"types {{ text/x {'x' * 99}; }} types_hash_bucket_size 32;"),
}
NAMES = [f"s{number:04}" for number in range(SITES)]
# As long as a name may be (RFC 1035 section 2.3.4).
LONGEST = ".".join(["x" * 63, "x" * 63, "x" * 63, "x" * 61])
SOON_S = 60.0


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    """The thousand are added at once to a gateway that runs."""
    with running_plane(network) as plane:
        config = plane.folder / "config"
        for part in ("sites", "snippets"):
            (config / part).mkdir()
        for name in NAMES:
            _, line, snippet = BROKEN.get(name, ("", "", ""))
            add(plane, name, line or "UPSTREAM=app:8000\n")
            if snippet:
                (config / "snippets" / f"{name}.conf").write_text(snippet)
        blue_serves(plane, SITE)
        eventually(lambda: len(standings(plane)) == SITES + 1, within_s=SOON_S)
        yield plane


def add(plane: Plane, name: str, line: str = "UPSTREAM=app:8000\n", *, domain: str = "") -> None:
    """Whole, by rename."""
    sites = plane.folder / "config" / "sites"
    new = sites / f".{name}.new"
    new.write_text(f"DOMAIN={domain or f'{name}.test'}\n{line}")
    new.replace(sites / f"{name}.env")


def configuration(plane: Plane) -> dict[str, dict[str, object]]:
    control = httpx.HTTPTransport(uds=str(plane.folder / "run" / "control" / "controller.sock"), retries=10)
    with httpx.Client(transport=control, timeout=60) as client:
        return dict(client.get("http://gateway/configuration").json()["sites"])


def standings(plane: Plane) -> dict[str, object]:
    return {name: told["standing"] for name, told in configuration(plane).items()}


def page(connection: HTTPConnection, site: str) -> str:
    connection.request("GET", "/", headers={"Host": f"{site}.test"})
    return connection.getresponse().read().decode()


def test_the_broken_sites_are_named_with_their_reasons_and_all_others_answer(plane: Plane) -> None:
    told = configuration(plane)
    quarantined = {name for name, each in told.items() if each["standing"] != "current"}
    assert quarantined == set(BROKEN)
    for name, (reason, _, _) in BROKEN.items():
        assert reason in str(told[name]["reasons"])
    connection = plane.connect()
    answered = {name: page(connection, name) for name in NAMES}
    assert {name for name, said in answered.items() if "Back soon" in said} == set(NAMES) - set(BROKEN)
    assert all("Unavailable" in answered[name] for name in BROKEN)


def test_one_comes_and_one_goes_without_losing_a_request_of_another(plane: Plane) -> None:
    with Load(Target("127.0.0.1", plane.port, "shop.test"), connections=16, think_s=0.05) as load:
        add(plane, "newcomer", domain=f"newcomer.test,{LONGEST}")
        eventually(lambda: plane.get(host="newcomer.test")[0] == 503, within_s=SOON_S)
        (plane.folder / "config" / "sites" / "s0000.env").unlink()
        eventually(lambda: standings(plane)["s0000"] == "dropped", within_s=SOON_S)
        load.wait_for(len(load.records) + 100, timeout_s=10)
    assert [r for r in load.records if not r.complete] == []
    assert len(load.records) > 500
    assert "Back soon" in plane.get(host="newcomer.test")[1]
    assert "Back soon" in plane.get(host=LONGEST)[1]
    assert plane.get(host="s0000.test")[0] is None
    assert "Back soon" in plane.get(host="s0001.test")[1]
