"""slowhttptest against the real image: what its slow clients cost the others, which is no answer."""

from __future__ import annotations

import csv
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docker.conftest import ENV, SITE, Plane, blue_serves, docker, running_plane
from tests.docker.test_tls import Tls
from tests.made_certificates import make_certificate

pytestmark = pytest.mark.docker

ATTACK_S = 10
CONNECTIONS = 350  # of each mode; they run at the same time
AT_ONCE = 270  # as many as a busy machine makes of them before the first are cut
# Headers that never end, bodies that drip, and answers that are hardly read.
MODES = {
    "headers": ["-H", "-i", "2", "-x", "24"],
    "body": ["-B", "-i", "2", "-s", "8192", "-x", "10"],
    "read": ["-X", "-n", "2", "-z", "8", "-w", "10", "-y", "20"],
}
# It can't name the host in a TLS handshake (before 1.9), so an nginx does: it passes bytes on as they come.
RELAY = """server {{
    listen 8080;
    proxy_pass {gateway}:443;
    proxy_ssl on;
    proxy_ssl_server_name on;
    proxy_ssl_name shop.test;
    proxy_buffer_size 1k;
}}
"""


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    certs = tmp_path_factory.mktemp("certs")
    make_certificate(certs, "shop.test", "shop.test")
    env = ENV | {"GATEWAY_HTTPS_METHOD": "noredirect"}
    with running_plane(network, env=env, run=["-v", f"{certs}:/etc/gateway/certs:ro"]) as plane:
        blue_serves(plane, SITE)
        yield plane


@pytest.fixture(scope="module")
def relay(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port at which its HTTP becomes HTTPS."""
    templates, name = tmp_path_factory.mktemp("templates"), f"{plane.network}-relay"
    (templates / "relay.conf.stream-template").write_text(RELAY.format(gateway=plane.name))
    # Two descriptors a connection, and one of its workers may get most of them.
    more = "sed -i 's/worker_connections .*/worker_connections 4096;/; 1i worker_rlimit_nofile 8192;' "
    more += "/etc/nginx/nginx.conf"
    place = ["--name", name, "--network", plane.network, "-p", "127.0.0.1::8080", "--entrypoint", "sh"]
    start = f"{more}; exec /docker-entrypoint.sh nginx -g 'daemon off;'"
    docker("run", "-d", *place, "-v", f"{templates}:/etc/nginx/templates:ro", "nginx:1.30", "-c", start)
    yield int(docker("port", name, "8080").stdout.split(":")[-1])
    docker("rm", "-fv", name)


def attack(mode: str, port: int, folder: Path) -> int:
    """The most connections of the mode that were open at a time."""
    report = folder / mode
    how = ["-c", f"{CONNECTIONS}", "-r", f"{CONNECTIONS}", "-l", f"{ATTACK_S}", "-g", "-o", f"{report}"]
    # As through a proxy: it then names shop.test in the request and connects to the port.
    where = ["-d", f"127.0.0.1:{port}", "-u", "http://shop.test/?pad=500000"]
    command = ["slowhttptest", *MODES[mode], *how, *where]
    try:
        subprocess.run(command, capture_output=True, timeout=ATTACK_S + 60, check=True)
    except FileNotFoundError:
        pytest.fail("slowhttptest is missing: scripts/test brings it, or install it")
    with report.with_suffix(".csv").open() as rows:
        return max(int(row["Connected"]) for row in csv.DictReader(rows))


def visit(plane: Plane, stop: threading.Event, *, tls: bool) -> Counter[object]:
    """Statuses, or what went wrong, of requests each on a connection of its own, none made twice."""
    seen: Counter[object] = Counter()
    while not stop.is_set():
        connection = Tls(plane, "shop.test") if tls else plane.connect()
        try:
            connection.request("GET", "/", headers={"Host": "shop.test"})
            answer = connection.getresponse()
            answer.read()
            seen[answer.status] += 1
        except OSError as error:
            seen[repr(error)] += 1
        finally:
            connection.close()
        time.sleep(0.02)
    return seen


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_slow_headers_bodies_and_reads_cost_others_no_answer(
    plane: Plane, relay: int, tmp_path: Path, scheme: str
) -> None:
    port, stop = plane.port if scheme == "http" else relay, threading.Event()
    with ThreadPoolExecutor(5) as pool:
        visitors = [pool.submit(visit, plane, stop, tls=tls) for tls in (False, True)]
        try:
            attacks = {mode: pool.submit(attack, mode, port, tmp_path) for mode in MODES}
            opened = {mode: running.result() for mode, running in attacks.items()}
        finally:
            stop.set()
        seen = [each.result(30) for each in visitors]
    print(opened, seen)
    assert min(opened.values()) > AT_ONCE
    assert {status for each in seen for status in each} == {200}
    assert all(each[200] >= 5 for each in seen)  # a busy machine handshakes slowly
