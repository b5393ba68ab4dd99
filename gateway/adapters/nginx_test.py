"""`nginx -t` of a generation that is not live: as nginx's unprivileged user, touching nothing that runs."""

from __future__ import annotations

import logging
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gateway.paths import CONF_DIR, NGINX_CONF, NGINX_SOCKET, TESTERS

log = logging.getLogger("gateway")
TIMEOUT_S = 120.0
USER = "nginx"
LIVE = f"{CONF_DIR}/live/"
# What the test keeps of root's, where there is it: ports below 1024, which nginx -t opens.
_NET_BIND_SERVICE = 10  # linux/capability.h
# Directories that nginx -t would make as the wrong user.
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What nginx said, and the file that it named ("sites/shop.conf", "http.conf"), if any."""

    said: str
    file: str | None


def is_there() -> bool:
    return shutil.which("nginx") is not None


def refusal(folder: Path, *, nginx_conf: Path = Path(NGINX_CONF)) -> Refusal | None:
    """None when nginx takes the generation in this folder."""
    scratch = Path(tempfile.mkdtemp(prefix="gateway-test-"))
    try:
        main = scratch / "nginx.conf"
        main.write_text(_main(nginx_conf, folder, scratch))
        said_file = scratch / "said"
        said_file.touch(mode=0o600)
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            # It writes there, and it opens /dev/stdout and /dev/stderr anew, by name.
            for path in (scratch, said_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        code = _run([*_unprivileged(), "nginx", "-t", "-q", "-c", str(main)], said_file)
        said = said_file.read_text(errors="replace")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code == 0:
        for line in said.splitlines():
            if "conflicting server name" in line:  # of a file in conf.d, which comes after ours
                log.warning("configuration: nginx: %s", line[line.index("conflicting") :])
        return None
    lines = [line for line in said.splitlines() if "[emerg]" in line] or said.splitlines() or [f"exit {code}"]
    return _refusal(lines[0], folder, scratch)


def _refusal(line: str, *folders: Path) -> Refusal:
    line = re.sub(r"^.*\[emerg\] (?:\d+#\d+: )?", "", line)
    for folder in folders:
        line = line.replace(f"{folder}/", "")
    named = re.search(r" in (\S+):\d+$", line)
    return Refusal(line, named[1] if named else None)


def _run(command: list[str], said: Path) -> int:
    with said.open("w") as output:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            output.write(f"nginx -t did not end within {TIMEOUT_S:g} s")
            return -1
    return done.returncode


def _unprivileged() -> list[str]:
    """In front of the command: another user, without root's capabilities. Nothing when we are not root."""
    if os.geteuid() != 0:
        return []
    status = Path("/proc/self/status").read_text()
    permitted = int((re.search(r"^CapPrm:\s*([0-9a-f]+)", status, re.M) or ["", "0"])[1], 16)
    kept = "-all,+net_bind_service" if permitted >> _NET_BIND_SERVICE & 1 else "-all"
    return [
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={TESTERS}", "--no-new-privs"),
        *(f"--inh-caps={kept}", f"--ambient-caps={kept}"),
    ]


def _main(nginx_conf: Path, folder: Path, scratch: Path) -> str:
    """nginx's own main file with this generation in place of the live one; it writes in `scratch` only."""
    if nginx_conf.is_file() and LIVE in (text := nginx_conf.read_text()):
        text = re.sub(r"^\s*pid\s[^;]*;", "", text, flags=re.M)
    else:  # not in our image: what the gateway itself renders is tested
        text = f"include {LIVE}main.conf;\nevents {{}}\nhttp {{\n    include {LIVE}http.conf;\n}}\n"
    text = re.sub(r"^([ \t]*)include\s+(\S+)/\*\.conf;", lambda m: _each(m[2], m[1]), text, flags=re.M)
    text = text.replace(f"include {LIVE}main.conf;", (folder / "main.conf").read_text())
    (scratch / "http.conf").write_text(_http(folder, scratch, text))
    text = text.replace(f"include {LIVE}http.conf;", f"include {scratch}/http.conf;")
    return f"pid {scratch}/nginx.pid;\n{text}"


def _each(directory: str, indent: str) -> str:
    """`include <directory>/*.conf` spelled out: what includes the live generation can then be replaced."""
    files = sorted(Path(directory).glob("*.conf"))
    texts = (f.read_text() if LIVE in f.read_text() else f"include {f};" for f in files)
    return "\n".join(indent + text for text in texts)


def _http(folder: Path, scratch: Path, main: str) -> str:
    """The generation's shared part. Its sites are included from where they are, as in the live one."""
    text = (folder / "http.conf").read_text()
    text = re.sub(r"include \S+/sites/\*\.conf;", f"include {folder}/sites/*.conf;", text)
    # A test opens the sockets; where nginx listens already it would find them taken.
    text = text.replace(f"unix:{NGINX_SOCKET}", f"unix:{scratch}/nginx.sock")
    for kind in _TEMPORARY:
        if f"{kind}_temp_path" not in main:
            text += f"{kind}_temp_path {scratch}/{kind};\n"
    return text
