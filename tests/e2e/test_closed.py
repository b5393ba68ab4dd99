"""pause, resume and maintenance, as people order them, while visitors come."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.gateways import Gateway, docker, restarted, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.docker


def test_a_paused_site_holds_its_visitors_and_resume_lets_them_in(gateway: Gateway) -> None:
    nothing_live = gateway.cli("pause", gateway.site)
    assert (nothing_live.code, "nothing to wait for" in nothing_live.err) == (2, True)
    assert gateway.deploy(1).code == 0
    with Load(gateway, method="POST") as load:
        time.sleep(0.5)
        told = gateway.cli("pause", gateway.site, "--for", "1m", "--json")
        assert (told.code, told.final["door"], 50 < told.final["paused_s"] <= 60) == (0, "paused", True)
        time.sleep(0.3)
        before = len(load.answers)
        time.sleep(1)
        assert len(load.answers) == before
        assert "new requests are held for" in gateway.cli("status").out
        assert gateway.cli("resume", gateway.site).out == f"{gateway.site} is open\n"
        wait_for(lambda: len(load.answers) > before + 20, "visitors are answered again")
    assert load.lost() == []
    assert gateway.cli("resume", gateway.site).code == 0  # said twice


def test_a_deploy_lets_everybody_in_to_the_new_release(gateway: Gateway) -> None:
    assert gateway.deploy(1).code == 0
    with Load(gateway, method="POST") as load:
        time.sleep(0.3)
        assert gateway.cli("pause", gateway.site, "--for", "90").code == 0
        assert gateway.deploy(2).code == 0
        time.sleep(0.3)
    assert load.lost() == []
    assert load.late("1", "2") == 0
    assert gateway.cli("status", gateway.site, "--json").final["door"] == "open"


@pytest.mark.own_gateway
def test_maintenance_is_kept_through_deploys_and_restarts_until_it_is_ended(gateway: Gateway) -> None:
    assert gateway.deploy(1).code == 0
    with Load(gateway) as load:
        time.sleep(0.2)
        assert gateway.cli("maintenance", gateway.site, "on").out == f"{gateway.site} is in maintenance\n"
        in_pause = gateway.cli("pause", gateway.site)
        assert (in_pause.code, "maintenance" in in_pause.err) == (2, True)
        assert gateway.deploy(2).code == 0
        assert gateway.release() == "HTTP 503"
        assert "the maintenance page, by order (behind it: r2 in green)" in gateway.cli("status").out
    assert set(load.lost()) == {"HTTP 503"}
    gateway = restarted(gateway)
    wait_for(lambda: gateway.cli("status").code == 0, "the controller answers")
    assert gateway.release() == "HTTP 503"
    assert gateway.cli("maintenance", gateway.site, "off").code == 0
    assert gateway.release() == "2"


@pytest.mark.own_gateway
def test_a_pause_ends_at_its_bound_whatever_was_killed(gateway: Gateway) -> None:
    assert gateway.deploy(1).code == 0
    with ThreadPoolExecutor(1) as pool:
        assert gateway.cli("pause", gateway.site, "--for", "8s").code == 0
        waiting = pool.submit(gateway.release)
        time.sleep(0.5)
        assert not waiting.done()
        docker("exec", gateway.container, "sh", "-c", KILL)
        assert waiting.result(30) == "1"
    wait_for(lambda: gateway.cli("status").code == 0, "the controller answers")
    wait_for(lambda: gateway.cli("status", gateway.site, "--json").final["door"] == "open", "it opens")
    assert gateway.release() == "1"


# The daemon beside nginx, and not the shell that looks for it.
KILL = "for p in /proc/[0-9]*; do grep -aq '[g]ateway.daemon' $p/cmdline && kill -9 ${p#/proc/}; done; true"


def test_a_time_that_is_none_is_refused(gateway: Gateway) -> None:
    gateway.deploy(1)
    for said in ("0", "601", "-1", "1h", "soon", "11m"):
        assert gateway.cli("pause", gateway.site, f"--for={said}").code == 2, said
        assert gateway.release() == "1"
