"""How a gateway is started in each layout, and taken away."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gateway.adapters.docker_endpoints import EVERYTHING, configuration
from tests.e2e.gateways import DEMO, IMAGE, ROOT, Gateway, docker, published_port, wait_for
from tests.waiting import look_until

HARDENED = ROOT / "compose" / "hardened" / "compose.yaml"
LAYOUTS = ("drop-in", "hardened")
CONFIG_DIR = {"drop-in": "/stacks/config", "hardened": "/etc/gateway"}  # as seen from inside
# Set by scripts/endpoints: then the proxy lets everything through, and what it was asked is noted there.
ENDPOINTS_LOG = os.environ.get("GATEWAY_ENDPOINTS_LOG")
# What concerns Docker concerns the controller.
HARDENED_UID = 64181  # as the compose file and the image have it
HEALTH_INTERVAL = "60s"  # nobody waits for it
CONTROLLERS_OWN = ("DOCKER_HOST", "GATEWAY_NETWORK")
DEFAULTS = {
    "UPSTREAM": "app:8000",
    "OBSERVE_S": "0.5",
    "KEEP_S": "60",
    "DRAIN_TIMEOUT_S": "20",
    "MAX_P95_RATIO": "0",  # a machine that is busy with other tests makes no release a slow one
}


def start(layout: str, folder: Path, settings: Mapping[str, str]) -> Gateway:
    """With one site, whose stack file is in the folder."""
    site, name = f"t{uuid.uuid4().hex[:8]}", f"gw-{uuid.uuid4().hex[:8]}"
    folder.chmod(0o755)  # the hardened layout does not run as root
    _write_stack(folder)
    env = {"GATEWAY_SITE": site, "GATEWAY_DOMAIN": "site.test"}
    env |= {f"GATEWAY_{key}": value for key, value in DEFAULTS.items()} | dict(settings)
    begin = {"drop-in": _start_drop_in, "hardened": _start_hardened}[layout]
    try:
        container, controller = begin(name, folder, env)
        gateway = Gateway(container, site, published_port(container), folder, controller)
        wait_for(lambda: controller_answers(gateway), "the controller answers")
    except BaseException:
        _take_away(name)
        raise
    return gateway


def _write_stack(folder: Path) -> None:
    """The demo's. It starts sooner, and is looked at less often: each look is a process in a container."""
    model = yaml.safe_load((DEMO / "stack.yaml").read_text())
    model["services"]["app"]["environment"]["BOOT_S"] = "${BOOT_S:-0.5}"
    model["services"]["app"]["healthcheck"] |= {"start_interval": "250ms", "interval": "15s"}
    (folder / "stack.yaml").write_text(yaml.safe_dump(model))


def add_site(gateway: Gateway, settings: Mapping[str, str]) -> Gateway:
    """The same gateway with another site: it has a file for its settings, and a folder for its stack."""
    site = f"t{uuid.uuid4().hex[:8]}"
    added = replace(gateway, site=site, domain=f"{site}.test", folder=gateway.folder / site)
    added.folder.mkdir()
    _write_stack(added.folder)
    own = {"DOMAIN": added.domain, "STACK_FILE": f"/stacks/{site}/stack.yaml"} | DEFAULTS
    own |= {key.removeprefix("GATEWAY_"): value for key, value in settings.items()}
    _site_file(added).write_text("".join(f"{key}={value}\n" for key, value in own.items()))
    wait_for(lambda: added.cli("status", site).code == 0, f"{site} is known")
    return added


def drop_site(gateway: Gateway) -> None:
    """With all that its stacks have."""
    _site_file(gateway).unlink(missing_ok=True)
    _take_away(gateway.site)


def remove(gateway: Gateway) -> None:
    name = gateway.container.removesuffix("-gateway-1")
    if gateway.is_hardened:
        _note_endpoints(f"{name}-docker-proxy-1")
    # First the gateway itself: then nobody starts anything of its sites any more.
    _take_away(name, gateway.site, *(file.parent.name for file in gateway.folder.glob("*/stack.yaml")))


def _take_away(*names: str) -> None:
    """What has one of them in its name: so do containers of sites that a test named after another."""
    for kind, all_of_them, how in (("container", ["-a"], "-fv"), ("network", [], "-f"), ("volume", [], "-f")):
        for name in names:
            listing = (kind, "ls", "-q", *all_of_them, "--filter", f"name={name}")
            # Again and again: a controller may be taking away the same.
            look_until(
                partial(_removed, kind, how, listing), within_s=60, every_s=0.2, what=f"no {kind} {name}"
            )


def _removed(kind: str, how: str, listing: Sequence[str]) -> bool:
    found = docker(*listing).split()
    if found:
        subprocess.run(["docker", kind, "rm", how, *found], capture_output=True, timeout=60)
    return not found


def _site_file(gateway: Gateway) -> Path:
    return gateway.folder.parent / "config" / "sites" / f"{gateway.site}.env"


def controller_answers(gateway: Gateway) -> bool:
    """Also one that can't reach Docker."""
    asked = gateway.cli("status")
    return asked.code == 0 or "Is /var/run/docker.sock mounted?" in asked.err


def _start_drop_in(name: str, folder: Path, env: Mapping[str, str]) -> tuple[str, str]:
    docker("network", "create", name)
    flags = [flag for pair in env.items() for flag in ("-e", "=".join(pair))]
    docker(
        *("run", "-d", "--name", name, "--network", name, "-p", "127.0.0.1::80"),
        *("-p", "127.0.0.1::443", "--health-interval", HEALTH_INTERVAL),
        *("-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", f"{folder}:/stacks:ro"),
        *("-v", f"{name}:/var/lib/gateway", *flags, IMAGE),
    )
    return name, name


def _start_hardened(name: str, folder: Path, env: Mapping[str, str]) -> tuple[str, str]:
    """By the very file that people get; a second one adds a test's own settings."""
    token, more = folder / "token", folder / f"{name}.yaml"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o400)
    os.chown(token, HARDENED_UID, HARDENED_UID)
    own = {key: value for key, value in env.items() if key in CONTROLLERS_OWN}
    gateway = {
        "environment": {key: value for key, value in env.items() if key not in own},
        "volumes": [f"{folder}:/stacks:ro"],
        "healthcheck": {"interval": HEALTH_INTERVAL},
    }
    services: dict[str, Any] = {"gateway": gateway, "controller": {"environment": own}}
    if ENDPOINTS_LOG:
        (folder / "proxy.conf").write_text(configuration(EVERYTHING))
        services["docker-proxy"] = {"volumes": [f"{folder}/proxy.conf:/etc/nginx/docker-proxy.conf:ro"]}
    more.write_text(json.dumps({"services": services}))
    settings = {
        "GATEWAY_IMAGE": IMAGE,
        "HTTP_PORT": "127.0.0.1:",
        "HTTPS_PORT": "127.0.0.1:",
        "CONFIG": str(folder / "config"),
        "STACKS": str(folder),
        "TOKEN_FILE": str(token),
    }
    files = ["-f", str(HARDENED), "-f", str(more)]
    done = subprocess.run(
        ["docker", "compose", "-p", name, *files, "up", "-d"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return f"{name}-gateway-1", f"{name}-controller-1"


def _note_endpoints(proxy: str) -> None:
    """For scripts/endpoints: what was asked of Docker, and answered."""
    if ENDPOINTS_LOG:
        said = subprocess.run(["docker", "logs", proxy], capture_output=True, text=True).stdout
        with Path(ENDPOINTS_LOG).open("a") as file:
            file.write(said)
