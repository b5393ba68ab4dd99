"""A deploy on real nginx, Docker and Compose, seen from outside."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import yaml

from tests.e2e.gateways import (
    APP,
    IMAGE,
    ROOT,
    Gateway,
    Start,
    docker,
    kill_the_daemon,
    restarted,
    wait_for,
)
from tests.e2e.load import Load
from tests.e2e.stacks import with_service

pytestmark = pytest.mark.docker
# An application that does not answer is unhealthy within seconds.
SOON = {
    "test": ["CMD", "python3", "-IS", "/app.py", "--check"],
    "start_period": "1s",
    "interval": "1s",
    "timeout": "1s",
    "retries": 2,
}


def test_before_the_first_release_visitors_get_the_maintenance_page(gateway: Gateway) -> None:
    answer = gateway.get()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "Back soon" in answer.text


def test_an_unknown_host_gets_no_answer(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("GET", "/", headers={"Host": "other.test"})
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_deploys_and_a_rollback_lose_no_request_and_never_mix(gateway: Gateway, method: str) -> None:
    assert gateway.deploy(1).code == 0
    with Load(gateway, method=method) as load:
        assert gateway.deploy(2).final["outcome"] == "succeeded"
        assert gateway.deploy(3).final["outcome"] == "succeeded"
        until_rollback = len(load.answers)
        assert gateway.cli("rollback", gateway.site, "--json").code == 0
        time.sleep(0.3)
    assert load.lost() == []
    before = Load(gateway, answers=load.answers[:until_rollback])
    assert before.late("1", "2") == before.late("2", "3") == 0
    assert gateway.release() == "2"


def test_the_previous_release_is_kept_warm_then_stopped(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_KEEP_S="2")
    gateway.deploy(1)
    gateway.deploy(2)
    assert gateway.containers() == [f"{gateway.site}-blue-app-1", f"{gateway.site}-green-app-1"]
    wait_for(lambda: gateway.containers() == [f"{gateway.site}-green-app-1"], "blue is stopped")
    assert gateway.release() == "2"


def test_a_rollback_after_the_previous_was_stopped_starts_it_again(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_KEEP_S="0")
    gateway.deploy(1)
    gateway.deploy(2)
    wait_for(lambda: gateway.phase() == "none", "blue is stopped")
    result = gateway.cli("rollback", gateway.site, "--json")
    assert (result.code, result.final["kind"], gateway.release()) == (0, "rollback", "1")


def test_a_rollback_to_a_kept_release_that_died_starts_it_again_first(gateway: Gateway) -> None:
    gateway.deploy(1)
    gateway.deploy(2)
    docker("kill", f"{gateway.site}-blue-app-1")
    with Load(gateway) as load:
        result = gateway.cli("rollback", gateway.site, "--json")
    assert (result.code, result.final["kind"], gateway.release()) == (0, "rollback", "1")
    assert load.lost() == []


@pytest.mark.parametrize(
    ("settings", "arguments", "wanted"),
    [
        ({}, ["--set", "MODE=exit"], "exited with code 3"),
        ({}, ["--set", "MODE=error500"], "unhealthy"),
        ({}, ["--set", "MODE=hang"], "unhealthy"),
        ({"GATEWAY_UPSTREAM": "app:9999", "GATEWAY_START_DEADLINE_S": "4"}, [], "answered 502"),
    ],
    ids=["app exits", "app answers 500", "app hangs", "wrong port"],
)
def test_a_release_that_never_becomes_healthy_is_refused_and_explained(
    start_gateway: Start, settings: dict[str, str], arguments: list[str], wanted: str
) -> None:
    gateway = start_gateway(**settings)
    with_service(gateway, healthcheck=SOON)
    result = gateway.deploy(1, *arguments)
    assert result.code == 1
    assert wanted in result.final["reason"]
    assert result.final["diagnosis"]["containers"][0]["name"] == f"{gateway.site}-blue-app-1"
    assert gateway.containers() == []
    assert gateway.get().status_code == 503


def test_a_bad_release_leaves_the_live_one_untouched(gateway: Gateway) -> None:
    with_service(gateway, healthcheck=SOON)
    gateway.deploy(1)
    with Load(gateway) as load:
        assert gateway.deploy(2, "--set", "MODE=error500").code == 1
    assert load.lost() == []
    assert {what for _, what in load.answers} == {"1"}


def test_bad_input_is_refused_with_its_reason_and_exit_code(gateway: Gateway) -> None:
    site = gateway.site
    cases = [
        (["deploy", "nosuch"], 2, "this gateway serves"),
        (["switch", site, "red"], 2, "blue and green"),
        (["deploy", site, "--image", "app=NOT AN IMAGE"], 2, "not an image reference"),
        (["deploy", site, "--image", "web=shop:1"], 2, "no service 'web'"),
        (["deploy", site, "--image", "app"], 2, "KEY=VALUE"),
        (["deploy", site, "--image", f"app={APP}:nosuch"], 1, "the maintenance page answers"),
        (["rollback", site], 2, "nothing to go back to"),
        (["abort", site], 2, "no deployment"),
        (["switch", site], 2, "nothing stands ready"),
    ]
    for arguments, code, said in cases:
        result = gateway.cli(*arguments)
        assert (result.code, said in result.err) == (code, True), (arguments, result)
    assert gateway.containers() == []


@pytest.mark.parametrize("text", [None, "services: [", "services:\n  web:\n    image: shop:1\n"])
def test_a_missing_or_invalid_stack_file_is_refused(gateway: Gateway, text: str | None) -> None:
    stack = gateway.folder / "stack.yaml"
    stack.write_text(text) if text else stack.unlink()
    result = gateway.deploy(1)
    assert result.code == 2
    assert f"/stacks/{gateway.site}/stack.yaml" in result.err


def test_a_second_deploy_at_the_same_time_is_refused_and_told_who_holds_the_site(gateway: Gateway) -> None:
    first = gateway.deploy(1, "--detach")
    assert first.code == 0
    second = gateway.deploy(2)
    assert second.code == 5
    assert f"is busy: {first.final['deployment']} (r1 to blue)" in second.err
    assert "@" in second.err
    wait_for(lambda: gateway.release() == "1", "the first goes on")


def test_a_staged_release_gets_no_traffic_until_it_is_switched_to(gateway: Gateway) -> None:
    gateway.deploy(1)
    assert gateway.deploy(2, "--stage").final["phase"] == "ready"
    assert gateway.release() == "1"
    assert gateway.cli("switch", gateway.site).code == 0
    assert gateway.release() == "2"


def test_what_would_be_deployed_is_written_as_manifests_and_nothing_is_started(gateway: Gateway) -> None:
    shown = gateway.cli("export", "kubernetes", gateway.site, "--image", f"app={APP}:2", "--slot", "green")
    assert shown.code == 0, shown.err
    manifests = {one["kind"]: one for one in yaml.safe_load_all(shown.out)}
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"{APP}:2"
    assert manifests["HTTPRoute"]["spec"]["hostnames"] == [gateway.domain]
    assert gateway.containers() == []


@pytest.mark.own_gateway
def test_another_gateways_stack_of_the_same_name_is_left_alone(start_gateway: Start) -> None:
    first = start_gateway()
    first.deploy(1)
    second = start_gateway(GATEWAY_SITE=first.site)
    refused = replace(second, site=first.site).deploy(2)
    assert refused.code == 1
    assert "is not this gateway's" in refused.final["reason"]
    assert first.release() == "1"


def test_nginxs_workers_cannot_reach_the_controller(gateway: Gateway) -> None:
    ask = ["exec", "-u", "nginx", gateway.container, "ls", "/run/gateway/control"]
    done = subprocess.run(["docker", *ask], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


@pytest.mark.own_gateway
def test_a_killed_daemon_is_restarted_and_finishes_what_it_began(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_OBSERVE_S="3")
    gateway.deploy(1)
    with Load(gateway) as load:
        gateway.deploy(2, "--detach")
        wait_for(lambda: gateway.phase() == "observing", "it is observed")
        for part in gateway.parts:
            kill_the_daemon(part)
        wait_for(lambda: gateway.cli("status").code == 0 and gateway.phase() == "keeping", "it is finished")
    assert load.lost() == []
    assert gateway.release() == "2"


@pytest.mark.own_gateway
def test_a_restarted_gateway_serves_the_last_release_from_its_first_answer(gateway: Gateway) -> None:
    gateway.deploy(1)
    gateway = restarted(gateway)
    wait_for(lambda: _release_or_refused(gateway) != "refused", "nginx accepts")
    wait_for(lambda: _release_or_refused(gateway) == "1", "the release answers")


def _release_or_refused(gateway: Gateway) -> str:
    try:
        return gateway.release()
    except OSError:
        return "refused"
    except Exception as error:
        return "refused" if "Connect" in type(error).__name__ or "Remote" in str(error) else repr(error)


def test_a_request_in_flight_finishes_on_the_release_that_it_began_on(gateway: Gateway) -> None:
    gateway.deploy(1)
    answers: list[str] = []
    slow = threading.Thread(
        target=lambda: answers.append(str(gateway.get("/slow?ms=8000").json()["release"]))
    )
    slow.start()
    time.sleep(0.3)
    deployed = gateway.deploy(2).final
    slow.join(30)
    assert answers == ["1"]
    draining = {entry["phase"]: entry["at"] for entry in deployed["timeline"]}
    assert draining["keeping"] > draining["draining"] + 0.5  # it waited for the request


def test_wrong_settings_stop_the_container_and_list_every_problem(images: None) -> None:
    injected = "a.test; location /pwn { alias /etc/; } set $x 1"
    settings = [f"GATEWAY_DOMAIN={injected}", "GATEWAY_UPSTREAM=app:0", "GATEWAY_DRAIN_TIMOUT_S=3"]
    flags = [flag for setting in settings for flag in ("-e", setting)]
    done = subprocess.run(
        ["docker", "run", "--rm", *flags, IMAGE],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    for said in ("GATEWAY_DOMAIN", "GATEWAY_UPSTREAM", "GATEWAY_DRAIN_TIMOUT_S", "GATEWAY_DRAIN_TIMEOUT_S"):
        assert said in done.stderr


def test_only_websockets_are_upgraded(gateway: Gateway) -> None:
    """An h2c upgrade is not passed on: the application answers as to a plain request."""
    gateway.deploy(1)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as peer:
        peer.sendall(
            b"GET / HTTP/1.1\r\nHost: "
            + gateway.domain.encode()
            + b"\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        )
        assert peer.recv(1024).startswith(b"HTTP/1.1 200")


def test_the_image_refuses_an_nginx_that_is_too_old(images: None) -> None:
    """The check of the Dockerfile, on a base whose nginx says 1.28."""
    fake = "#!/bin/sh\\necho nginx version: nginx/1.28.0 >&2\\n"
    old = f"FROM nginx:1.30\nRUN printf '{fake}' > /usr/local/sbin/nginx && chmod +x /usr/local/sbin/nginx\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", "gateway-test-old-nginx", "-"], input=old, text=True, check=True
    )
    try:
        done = subprocess.run(
            ["docker", "build", "--build-arg", "BASE_IMAGE=gateway-test-old-nginx", "."],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode != 0
        assert "it needs nginx 1.30 or newer" in done.stdout + done.stderr
    finally:
        docker("image", "rm", "-f", "gateway-test-old-nginx")
