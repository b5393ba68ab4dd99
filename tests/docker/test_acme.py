"""A certificate from a real ACME server, by certbot beside the gateway as in compose/acme."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.core.model import Routing, Slot
from tests.docker.conftest import ENV, ROOT, SITE, Plane, docker, eventually, running_plane
from tests.docker.test_tls import Tls, http, https

pytestmark = pytest.mark.docker


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("certs", "acme", "certbot", "server")}
    for folder in found.values():
        folder.mkdir()
    found["acme"].chmod(0o755)  # nginx's workers read the challenge
    return found


@pytest.fixture
def plane(gateway_image: str, network: str, folders: dict[str, Path]) -> Iterator[Plane]:
    mounts = ["-v", f"{folders['certs']}:/etc/gateway/certs:ro", "-v", f"{folders['acme']}:/var/www/acme:ro"]
    with running_plane(network, env=ENV, run=mounts) as plane:
        yield plane


@pytest.fixture
def directory(plane: Plane, folders: dict[str, Path]) -> Iterator[str]:
    """Where the ACME server answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folders["server"] / "gateway-port").write_text(str(plane.port))
    command = [sys.executable, "-m", "tests.docker.acme_server", str(port)]
    log = (folders["server"] / "log").open("w")
    server = subprocess.Popen([*command, str(folders["server"])], cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/directory"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        server.kill()
        server.wait()
        log.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def certbot(folders: dict[str, Path], directory: str, *args: str) -> None:
    home = folders["certbot"]
    command = [str(Path(sys.executable).with_name("certbot")), "certonly", "--non-interactive", "--agree-tos"]
    command += ["--register-unsafely-without-email", "--server", directory, "--domains", "shop.test"]
    command += ["--webroot", "--webroot-path", str(folders["acme"]), *args]
    command += ["--deploy-hook", str(ROOT / "compose" / "acme" / "deploy-hook.sh")]
    for kind in ("config", "work", "logs"):
        command += [f"--{kind}-dir", str(home / kind)]
    env = os.environ | {"CERTS_DIR": str(folders["certs"])}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_certificate_is_issued_before_the_first_release_and_renewed_behind_the_redirect(
    plane: Plane, folders: dict[str, Path], directory: str
) -> None:
    def shown_is_the_one_in_the_folder() -> bool:
        docker("restart", plane.name)
        plane.find_port()
        (folders["server"] / "gateway-port").write_text(str(plane.port))
        eventually(lambda: plane.get()[0] is not None)
        return Tls(plane, "shop.test").peer().strip() in (folders["certs"] / "shop.test.crt").read_text()

    assert plane.get()[0] == 503
    certbot(folders, directory)
    first = (folders["certs"] / "shop.test.crt").read_text()
    assert shown_is_the_one_in_the_folder()
    plane.proxy().publish(SITE, Routing(Slot.BLUE))
    eventually(lambda: https(plane, "shop.test").status == 200)
    assert http(plane, "shop.test").status == 301
    certbot(folders, directory, "--force-renewal")
    assert (folders["certs"] / "shop.test.crt").read_text() != first
    assert shown_is_the_one_in_the_folder()


def test_the_challenges_folder_answers_nothing_else(plane: Plane, folders: dict[str, Path]) -> None:
    (folders["acme"] / "index.html").write_text("not a challenge")
    assert plane.get("/index.html")[0] == 503
    assert plane.get("/.well-known/acme-challenge/../../index.html")[0] == 503


def test_the_example_is_a_compose_file_that_compose_takes() -> None:
    env = os.environ | {"DOMAINS": "shop.test,blog.test", "EMAIL": "a@shop.test"}
    command = ["docker", "compose", "-f", str(ROOT / "compose" / "acme" / "compose.yaml"), "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
