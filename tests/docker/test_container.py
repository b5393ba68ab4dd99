"""Facts of the container: its start, its end, and what a mistake does."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.model import Routing, Slot
from tests.docker.conftest import ENV, ROOT, SITE, Plane, docker, eventually
from tests.docker.load import under_load

pytestmark = pytest.mark.docker
BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)


def test_a_killed_daemon_does_not_touch_the_traffic_and_comes_back(plane: Plane, proxy: NginxProxy) -> None:
    """Its loop starts it again a second later; nginx does not notice."""

    def daemons() -> set[str]:
        mine = docker("exec", plane.name, "/opt/gateway/bin/python", "-c", _DAEMONS).stdout
        return set(mine.split())

    proxy.publish(SITE, BLUE)
    eventually(lambda: bool(daemons()))
    before = daemons()

    def kill() -> None:
        docker("exec", plane.name, "sh", "-c", f"kill -9 {' '.join(before)}")

    assert {status for _, _, status, _ in under_load(plane, kill)} == {200}
    eventually(lambda: bool(daemons() - before))


_DAEMONS = """
import pathlib
for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
        words = (process / 'cmdline').read_bytes().split(b'\\0')
    except OSError:
        continue
    if b'gateway.daemon' in words:
        print(process.name)
"""


def test_a_restarted_gateway_serves_what_was_published_last(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, GREEN)
    began = time.monotonic()
    docker("stop", plane.name)
    took_s = time.monotonic() - began
    assert took_s < 5
    shutil.rmtree(plane.shm / "routing")  # a container's own tmpfs would be empty now
    docker("start", plane.name)
    plane.find_port()
    eventually(lambda: plane.get()[0] == 200)
    assert plane.release() == "green"


def test_the_health_check_is_true_for_a_site_in_maintenance(plane: Plane, proxy: NginxProxy) -> None:
    plane.proxy().publish(SITE, Routing())
    command = ("exec", plane.name, "/opt/gateway/bin/python", "-m", "gateway.agent.healthcheck")
    assert docker(*command, check=False).returncode == 0


def test_wrong_variables_stop_the_container_and_are_all_listed(gateway_image: str) -> None:
    wrong = ENV | {"GATEWAY_DOMAIN": "a.test; location /pwn", "GATEWAY_UPSTREAM": "app", "GATEWAY_TYPO": "1"}
    env = [part for name, value in wrong.items() for part in ("-e", f"{name}={value}")]
    done = docker("run", "--rm", *env, gateway_image, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("GATEWAY_DOMAIN", "GATEWAY_UPSTREAM", "GATEWAY_TYPO"))


@pytest.mark.parametrize("version, accepted", [("1.28.9", False), ("1.30.0", True), ("1.31.2", True)])
def test_an_nginx_below_1_30_is_refused(gateway_image: str, version: str, accepted: bool) -> None:  # noqa: FBT001
    text = (ROOT / "Dockerfile").read_text()
    check = text.split("RUN version=", 1)[1].split("\n\n", 1)[0].replace("\\\n", "\n")
    fake = f"nginx() {{ echo 'nginx version: nginx/{version}' >&2; }}\nversion={check}"
    done = docker("run", "--rm", "--entrypoint", "sh", gateway_image, "-c", fake, check=False)
    assert (done.returncode == 0) is accepted
    assert accepted or f"nginx {version}" in done.stderr


def test_garbled_state_stops_the_container_and_is_not_taken_for_nothing(
    gateway_image: str, tmp_path: Path
) -> None:
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing" / "shop").write_text("bl\0ue")
    env = [part for name, value in ENV.items() for part in ("-e", f"{name}={value}")]
    done = docker("run", "--rm", "-v", f"{tmp_path}:/var/lib/gateway", *env, gateway_image, check=False)
    assert done.returncode == 4
    assert "routing/shop can't be read" in done.stderr


def test_only_root_and_nginx_reach_the_internal_sockets(plane: Plane) -> None:
    shown = docker("exec", plane.name, "stat", "-c", "%U %G %a", "/run/gateway").stdout.split()
    assert shown == ["root", "nginx", "750"]


def test_by_default_nothing_but_the_sites_ports_is_listened_on(plane: Plane) -> None:
    """The metrics' neither, once the daemon is up."""
    docker("exec", plane.name, "gateway", "metrics")
    listening = docker("exec", plane.name, "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout.splitlines()
    local = [words[1] for line in listening if (words := line.split())[3] == "0A"]
    reachable = [address for address in local if not address.startswith("0B00007F")]  # Docker's DNS
    assert {int(address.rpartition(":")[2], 16) for address in reachable} <= {80, 443}


def test_nginx_accepts_its_whole_configuration_with_a_bounded_worker_shutdown(plane: Plane) -> None:
    shown = docker("exec", plane.name, "nginx", "-T").stdout
    assert "worker_shutdown_timeout 3605s;" in shown
    assert "worker_connections 8192;" in shown
