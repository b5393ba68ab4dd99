"""What users of the official nginx image do, done with this one: its template cases, served beside a site.

The cases are those of the official image's own tests (nginx/docker-nginx, .test/tests) and of its
documentation. Its welcome page is the one that is not kept: an unknown host is hung up on.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.adapters.nginx import NginxProxy
from tests.docker.conftest import ENV, SITE, Plane, blue_serves, docker, eventually, running_plane

pytestmark = pytest.mark.docker

SERVER = """server {
    listen 80;
    server_name ${NGINX_MY_SERVER_NAME};
    default_type text/plain;
    location = / { return 200 'OK\\n'; }
    location / { return 200 "${NGINX_MY_SERVER_NAME} - OK\\n"; }
}
"""
MY = {"NGINX_MY_SERVER_NAME": "example.com"}
NAME_TAKEN = SERVER.replace("${NGINX_MY_SERVER_NAME};", "shop.test;")


def templates(folder: Path, files: Mapping[str, str]) -> list[str]:
    """The files, mounted where the image looks for templates."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return ["-v", f"{folder}:/etc/nginx/templates:ro"]


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A site, and templates: with a resolver for all of nginx, in a folder, and with the site's name."""
    files = {
        "server.conf.template": "resolver ${NGINX_LOCAL_RESOLVERS};\n" + SERVER,
        "below/deeper/kept.conf.template": "# ${NGINX_MY_SERVER_NAME} $host ${NOT_SET}\n",
        "a-name-that-comes-first.conf.template": NAME_TAKEN,
    }
    on = {"NGINX_ENTRYPOINT_LOCAL_RESOLVERS": "true", "NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE": "true"}
    mounts = templates(tmp_path_factory.mktemp("templates"), files)
    with running_plane(network, env=ENV | MY | on, run=[*mounts, "--cpuset-cpus", "0"]) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return blue_serves(plane, SITE)


def test_a_template_s_server_is_served(plane: Plane) -> None:
    assert plane.get("/templates", host="example.com")[:2] == (200, "example.com - OK\n")


def test_a_template_may_set_the_resolver_of_nginx_and_the_sites_are_still_found(
    plane: Plane, proxy: NginxProxy
) -> None:
    """nginx takes one of them; Docker's DNS with its long times to live would not do for the slots."""
    text = docker("exec", plane.name, "cat", "/etc/nginx/conf.d/server.conf").stdout
    assert "resolver 127.0.0.11;" in text
    assert plane.release() == "blue"
    docker("exec", plane.name, "nginx", "-t")


def test_a_template_in_a_folder_is_rendered_to_the_same_folder(plane: Plane) -> None:
    """Only what the environment has is put in."""
    text = docker("exec", plane.name, "cat", "/etc/nginx/conf.d/below/deeper/kept.conf").stdout
    assert text == "# example.com $host ${NOT_SET}\n"


def test_the_number_of_workers_is_tuned(plane: Plane) -> None:
    text = docker("exec", plane.name, "cat", "/etc/nginx/nginx.conf").stdout
    assert "# Commented out by 30-tune-worker-processes.sh on " in text
    assert "\nworker_processes 1;" in text


def test_no_template_takes_a_site_s_name_and_the_log_says_so(plane: Plane, proxy: NginxProxy) -> None:
    assert plane.release() == "blue"
    assert (
        'nginx: conflicting server name "shop.test" on 0.0.0.0:80, ignored'
        in docker("logs", plane.name).stderr
    )


@contextmanager
def container(image: str, env: Mapping[str, str], *run: str) -> Iterator[str]:
    """Up and healthy."""
    name = f"gwenv-{uuid.uuid4().hex[:8]}"
    flags = [word for pair in env.items() for word in ("-e", "=".join(pair))]
    try:
        docker("run", "-d", "--name", name, *flags, *run, image)
        check = ("exec", name, "/opt/gateway/bin/python", "-m", "gateway.agent.healthcheck")
        eventually(lambda: docker(*check, check=False).returncode == 0)
        yield name
    finally:
        docker("rm", "-fv", name, check=False)


def port(name: str, inside: int) -> int:
    return int(docker("port", name, f"{inside}").stdout.split(":")[-1])


def test_folders_suffix_and_filter_are_the_user_s_to_choose(gateway_image: str, tmp_path: Path) -> None:
    """And the entrypoint's talk is to be silenced."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "mine.conf.in").write_text("# ${KEPT}\n" + SERVER)
    (tmp_path / "conf.d" / "not.conf.template").write_text("nonsense")
    env = {
        "NGINX_ENVSUBST_TEMPLATE_DIR": "/mine",
        "NGINX_ENVSUBST_TEMPLATE_SUFFIX": ".in",
        "NGINX_ENVSUBST_OUTPUT_DIR": "/etc/nginx",
        "NGINX_ENVSUBST_FILTER": "^NGINX_MY",
        "NGINX_ENTRYPOINT_QUIET_LOGS": "1",
        "KEPT": "replaced",
    }
    mount = ("-v", f"{tmp_path}:/mine:ro", "-p", "127.0.0.1::80")
    with container(gateway_image, ENV | MY | env, *mount) as name:
        connection = HTTPConnection("127.0.0.1", port(name, 80), timeout=10)
        connection.request("GET", "/templates", headers={"Host": "example.com"})
        assert connection.getresponse().read() == b"example.com - OK\n"
        connection.close()
        listed = docker(
            "exec", name, "sh", "-c", "ls /etc/nginx/conf.d; cat /etc/nginx/conf.d/mine.conf"
        ).stdout
        assert listed.startswith("mine.conf\n# ${KEPT}\n")
        assert "envsubst" not in docker("logs", name).stdout


def test_a_stream_template_is_served(gateway_image: str, tmp_path: Path) -> None:
    """On the very port that the official case uses: the sites can have another."""
    text = 'server {\n    listen 80;\n    return "${NGINX_MY_SERVER_NAME} - OK\\n";\n}\n'
    env = {
        "GATEWAY_HTTP_PORT": "8080",
        "NGINX_ENVSUBST_STREAM_TEMPLATE_SUFFIX": ".stream",
        "NGINX_ENVSUBST_STREAM_OUTPUT_DIR": "/etc/nginx/my-streams",
    }
    mount = templates(tmp_path, {"server.conf.stream": text})
    with container(gateway_image, ENV | MY | env, *mount, "-p", "127.0.0.1::80") as name:
        with socket.create_connection(("127.0.0.1", port(name, 80)), timeout=10) as peer:
            assert peer.recv(64) == b"example.com - OK\n"
        docker("exec", name, "test", "-f", "/etc/nginx/my-streams/server.conf")


def test_every_step_of_the_base_image_s_entrypoint_is_kept(gateway_image: str) -> None:
    """Ours comes on top of them."""

    def steps(image: str) -> set[str]:
        return set(docker("run", "--rm", "--entrypoint", "ls", image, "/docker-entrypoint.d").stdout.split())

    assert steps(gateway_image) - steps("nginx:1.30") == {"30-gateway.sh"}
    assert steps("nginx:1.30") - steps(gateway_image) == set()
