"""A Swarm of several nodes on this machine: each has an engine of its own, in a network namespace of its own.

The machine's own engine is left alone. Needs root, dockerd and docker-registry (scripts/test brings them).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.lab import Broken, run

BRIDGE, HOST_IP, PREFIX = "gwswarm0", "192.168.77.1", "192.168.77"
REGISTRY = f"{HOST_IP}:5000"
HERE = "here"  # each node's folder, as its own engine and containers find it
UP_WITHIN_S = 60.0
LOOK_S = 0.1


@dataclass
class Node:
    number: int
    folder: Path
    data: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def ip(self) -> str:
        return f"{PREFIX}.{10 + self.number}"

    @property
    def host(self) -> str:
        """As DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def docker(self, *args: str, stdin: str = "", check: bool = True) -> str:
        return run("docker", "-H", self.host, *args, stdin=stdin, timeout_s=300, check=check)

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def part(self) -> None:
        """It reaches nobody, and nobody reaches it."""
        run("ip", "link", "set", self.link, "down")

    def heal(self) -> None:
        run("ip", "link", "set", self.link, "up")

    @contextmanager
    def closed(self, port: int) -> Iterator[None]:
        """Nothing leaves for this TCP port or arrives there: it is in no Swarm's majority without 2377.

        What is new is refused, and what is left is cut off at the end. TCP would try either again after half
        a minute only; by then Swarm takes the node for lost, and starts its tasks anew, its gateway too.
        """
        inside = ["nsenter", f"--net=/var/run/netns/{self.namespace}"]
        refuse = ["--syn", "-j", "REJECT", "--reject-with", "tcp-reset"]
        rules = [
            [chain, "-p", "tcp", "--dport", str(port), *what]
            for chain in ("INPUT", "OUTPUT")
            for what in (["-j", "DROP"], refuse)  # the last comes first
        ]
        for rule in rules:
            run(*inside, "iptables", "-w", "-I", *rule)
        try:
            yield
        finally:
            for rule in rules:
                run(*inside, "iptables", "-w", "-D", *rule)
            run(*inside, "ss", "-K", f"( dport = :{port} or sport = :{port} )", check=False)

    @property
    def link(self) -> str:
        """Its end on the machine."""
        return f"gwswarm-v{self.number}"

    @property
    def namespace(self) -> str:
        return f"gwswarm-n{self.number}"

    def start(self) -> None:
        """Until its engine answers."""
        for left in ("docker.sock", "pid"):  # by a power cut; a machine's own /run is empty after one
            (self.folder / left).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        self.process = _engine(self)
        version = ("version", "--format", "{{.Server.Version}}")
        await_that(lambda: self.docker(*version, check=False).strip() != "", f"{self.name}'s engine answers")

    def kill(self) -> None:
        """As by a power cut: nothing on it ends by itself."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def load(self, image: str) -> None:
        """From the machine's own engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "-H", self.host, "load"], stdin=saved.stdout, check=True, capture_output=True
            )


@contextmanager
def swarm(count: int) -> Iterator[list[Node]]:
    """So many managers. Everything is gone afterwards."""
    with ExitStack() as ends:
        folder = Path(tempfile.mkdtemp(prefix="gwsw-", dir="/run"))  # sockets below it have short names
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ends.enter_context(_bridge())
        nodes = [ends.enter_context(_node(number, folder)) for number in range(1, count + 1)]
        first = nodes[0]
        first.docker("swarm", "init", "--advertise-addr", first.ip)
        token = first.docker("swarm", "join-token", "-q", "manager").strip()
        for node in nodes[1:]:
            node.docker("swarm", "join", "--advertise-addr", node.ip, "--token", token, f"{first.ip}:2377")
        managers = ("node", "ls", "-q", "--filter", "role=manager")
        await_that(lambda: first.docker(*managers).count("\n") == count, f"{count} managers")
        yield nodes


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Where the nodes push to and pull from, without TLS."""
    config = folder / "registry.yml"
    store = f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}"
    config.write_text(f"version: 0.1\n{store}\nhttp: {{addr: '{REGISTRY}'}}\n")
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        yield REGISTRY
        process.terminate()


def published(node: Node, image: str, name: str) -> str:
    """The image of the machine's own engine, in the nodes' registry."""
    node.load(image)
    node.docker("tag", image, f"{REGISTRY}/{name}")
    node.docker("push", f"{REGISTRY}/{name}")
    return f"{REGISTRY}/{name}"


@contextmanager
def _bridge() -> Iterator[None]:
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        run("ip", "addr", "add", f"{HOST_IP}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        # Where the machine's own engine filters what is bridged.
        through = ["-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"]
        run("iptables", "-I", "FORWARD", *through)
        try:
            yield
        finally:
            run("iptables", "-D", "FORWARD", *through, check=False)
    finally:
        run("ip", "link", "del", BRIDGE, check=False)


@contextmanager
def _node(number: int, folder: Path) -> Iterator[Node]:
    place = folder / str(number)
    place.mkdir()
    (folder / HERE).mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="gwsw-", dir="/var/tmp"))  # a disk: images are laid over each other
    node = Node(number, place, data)
    name, link = node.namespace, node.link
    try:
        run("ip", "netns", "add", name)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", link, "master", BRIDGE, "up")
        for what in (
            ["addr", "add", f"{node.ip}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", HOST_IP],
        ):
            run("ip", "-n", name, *what)
        try:
            node.start()
            yield node
        finally:
            node.kill()
    finally:
        run("ip", "link", "del", link, check=False)
        run("ip", "netns", "del", name, check=False)
        shutil.rmtree(data, ignore_errors=True)
        await_that(lambda: _are_gone(name), f"nothing runs in {name}")


def _engine(node: Node) -> subprocess.Popen[bytes]:
    """In namespaces of its own: when it is killed, everything on the node is, and its mounts are gone."""
    place, namespace = node.folder, node.namespace
    here = place.parent / HERE
    where = ["--data-root", node.data, "--exec-root", here / "exec", "--pidfile", here / "pid"]
    how = ["-H", f"unix://{here}/docker.sock", "--insecure-registry", f"{PREFIX}.0/24"]
    how += ["--cgroup-parent", f"/{namespace}"]
    command = " ".join(str(word) for word in ("exec", "dockerd", *where, *how))
    # Not by `ip netns exec`: that mounts /sys anew, and dockerd then finds no cgroup.
    enter = ["nsenter", f"--net=/var/run/netns/{namespace}", "unshare", "--uts", "--mount", "--pid"]
    enter += ["--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [*enter, f"mount --bind {place} {here} && hostname {node.name} && {command}"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _are_gone(group: str) -> bool:
    """The control groups of what ran on the node: the kernel lets go of them a moment after it was killed."""
    left = sorted(Path("/sys/fs/cgroup").glob(f"**/{group}/**/"), reverse=True)
    for one in left:
        with suppress(OSError):
            one.rmdir()
    return not left


def await_that(
    holds: Callable[[], bool], what: str, *, within_s: float = UP_WITHIN_S, every_s: float = LOOK_S
) -> None:
    """Raises Broken with what was waited for."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            raise Broken(f"not within {within_s:g} s: {what}")
        time.sleep(every_s)
