"""Facts of live configuration, on the real image: what changes in the folder is what nginx runs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.adapters.render import templates_dir
from gateway.core.model import Routing, Slot
from tests.docker.conftest import SITE, Plane, docker, eventually, running_plane
from tests.docker.load import under_load
from tests.made_certificates import make_certificate

pytestmark = pytest.mark.docker
BLUE = Routing(Slot.BLUE)
# A burst's quiet time, a test, a reload; the slow look at the latest.
SOON_S = 15.0


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    """With Docker, so that `gateway status` can tell of the containers too."""
    with running_plane(network, run=("-v", "/var/run/docker.sock:/var/run/docker.sock")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def emptied(plane: Plane) -> Iterator[None]:
    """Each test finds the folder empty, and nginx done with what the one before left."""
    yield
    for file in sorted((plane.folder / "config").rglob("*"), reverse=True):
        if file.is_file():
            file.unlink()
    eventually(lambda: is_settled(plane), within_s=SOON_S)


def is_settled(plane: Plane) -> bool:
    told = configuration(plane)
    others = {s["standing"] for name, s in told["sites"].items() if name != "shop"}
    return not told["problems"] and others <= {"dropped"}


def write(plane: Plane, name: str, text: str) -> None:
    """As an editor does: whole, by rename."""
    file = plane.folder / "config" / name
    file.parent.mkdir(exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)


def remove(plane: Plane, name: str) -> None:
    (plane.folder / "config" / name).unlink()


def workers(plane: Plane) -> set[str]:
    """Pids, inside the container, of the workers that accept."""
    return set(docker("exec", plane.name, "/opt/gateway/bin/python", "-c", _WORKERS).stdout.split())


_WORKERS = """
from gateway.adapters.master import accepting_workers
print(*accepting_workers(int(open('/run/nginx.pid').read())))
"""


def status(plane: Plane, *sites: str) -> list[dict[str, Any]]:
    said = docker("exec", plane.name, "gateway", "status", "--json", *sites).stdout
    return [json.loads(line) for line in said.splitlines()]


def configuration(plane: Plane) -> dict[str, Any]:
    """As the controller tells it; a daemon that starts again is waited for."""
    socket = httpx.HTTPTransport(uds=str(plane.folder / "run" / "control" / "controller.sock"), retries=10)
    with httpx.Client(transport=socket, timeout=30) as client:
        return dict(client.get("http://gateway/configuration").json())


def standing(plane: Plane, site: str) -> str:
    return str(configuration(plane)["sites"].get(site, {}).get("standing", "unknown"))


def problems(plane: Plane) -> str:
    return "\n".join(configuration(plane)["problems"])


def answer(plane: Plane, host: str) -> int | None:
    return plane.get(host=host)[0]


def becomes(plane: Plane, host: str, status: int | None) -> None:
    """And stays so: the workers of before accept for 0.1 s more."""
    eventually(lambda: answer(plane, host) == status, within_s=SOON_S)
    time.sleep(0.3)


def site_file(domain: str, *more: str) -> str:
    return "\n".join([f"DOMAIN={domain}", "UPSTREAM=app:8000", *more, ""])


def test_a_site_is_added_and_dropped_without_losing_a_request_of_another(
    plane: Plane, proxy: NginxProxy
) -> None:
    """It answers with its maintenance page as soon as nginx knows it; dropped, it is hung up on."""
    proxy.publish(SITE, BLUE)
    first = workers(plane)

    def add_and_drop() -> None:
        write(plane, "sites/added.env", site_file("added.test"))
        becomes(plane, "added.test", 503)
        time.sleep(0.5)
        remove(plane, "sites/added.env")
        becomes(plane, "added.test", None)

    assert "Maintenance" not in plane.get(host="added.test")[1]
    seen = under_load(plane, add_and_drop)
    assert {status for _, _, status, _ in seen} == {200}
    assert len(seen) > 500
    assert not workers(plane) & first


def test_a_site_that_was_dropped_is_named_until_it_is_cleaned_up(plane: Plane) -> None:
    write(plane, "sites/gone.env", site_file("gone.test"))
    becomes(plane, "gone.test", 503)
    remove(plane, "sites/gone.env")
    becomes(plane, "gone.test", None)
    eventually(lambda: standing(plane, "gone") == "dropped")
    assert (
        "gateway cleanup gone" in docker("exec", plane.name, "gateway", "deploy", "gone", check=False).stderr
    )
    docker("exec", plane.name, "gateway", "cleanup", "gone")
    assert standing(plane, "gone") == "unknown"


def test_a_touched_file_does_not_reload_nginx(plane: Plane) -> None:
    write(plane, "sites/calm.env", site_file("calm.test"))
    becomes(plane, "calm.test", 503)
    before = workers(plane)
    for _ in range(3):
        os.utime(plane.folder / "config" / "sites" / "calm.env")
        write(plane, "sites/calm.env", site_file("calm.test"))
        time.sleep(0.5)
    time.sleep(1)
    assert workers(plane) == before


def test_a_burst_of_changes_is_one_reload(plane: Plane) -> None:
    before = generation_log(plane)
    for number in range(10):
        write(plane, "sites/burst.env", site_file(f"burst{number}.test"))
        time.sleep(0.05)
    becomes(plane, "burst9.test", 503)
    assert len(generation_log(plane)) - len(before) <= 2


def generation_log(plane: Plane) -> list[str]:
    return [
        line for line in docker("logs", plane.name).stderr.splitlines() if "nginx runs generation" in line
    ]


@pytest.mark.parametrize(
    ("snippet", "reason"),
    [
        ("no_such_directive on;", 'unknown directive "no_such_directive"'),
        ("limit_req zone=nowhere;", "nowhere"),  # nginx names no file for this one
        ("types { text/x %s; } types_hash_bucket_size 32;" % ("x" * 99), "types_hash"),  # and no name either
        ("load_module modules/x.so;", "load_module"),
        ("} server { listen 80; server_name shop.test;", 'unexpected "}"'),
        ("location /pwn { alias /etc/; }", "alias"),
    ],
)
def test_a_bad_snippet_quarantines_its_site_alone(
    plane: Plane, proxy: NginxProxy, snippet: str, reason: str
) -> None:
    """Its last good configuration serves on; the other changes of the same moment go live."""
    proxy.publish(SITE, BLUE)
    write(plane, "sites/sick.env", site_file("sick.test"))
    write(plane, "snippets/sick.conf", 'location = /good { return 200 "yes"; }')
    eventually(lambda: plane.get("/good", host="sick.test")[1] == "yes", within_s=SOON_S)
    fresh = f"fresh{time.monotonic_ns()}.test"

    def break_it() -> None:
        write(plane, "snippets/sick.conf", snippet)
        write(plane, "sites/fresh.env", site_file(fresh))
        becomes(plane, fresh, 503)

    seen = under_load(plane, break_it)
    assert {status for _, _, status, _ in seen} == {200}
    assert plane.get("/good", host="sick.test")[1] == "yes"
    (told,) = status(plane, "sick")
    assert told["configuration"]["standing"] == "last_good"
    assert reason in " ".join(told["configuration"]["reasons"])
    assert "sick is last_good" in docker("logs", plane.name).stderr
    assert standing(plane, "fresh") == "current"
    write(plane, "snippets/sick.conf", "")
    eventually(lambda: standing(plane, "sick") == "current", within_s=SOON_S)


def test_a_snippet_that_is_a_template_knows_its_site(plane: Plane) -> None:
    write(plane, "sites/jinja.env", site_file("jinja.test"))
    write(plane, "snippets/jinja.conf.j2", 'location = /port { return 200 "{{ site.port }}"; }')
    eventually(lambda: plane.get("/port", host="jinja.test")[1] == "8000", within_s=SOON_S)
    write(plane, "snippets/jinja.conf.j2", "location = /port { return 200 {{ site.no_such_thing }}; }")
    eventually(lambda: standing(plane, "jinja") == "last_good", within_s=SOON_S)
    assert plane.get("/port", host="jinja.test")[1] == "8000"


def test_a_new_site_with_a_mistake_answers_503_and_can_t_be_deployed(plane: Plane) -> None:
    write(plane, "sites/typo.env", site_file("typo.test", "PROBE_PAHT=/up"))
    becomes(plane, "typo.test", 503)
    assert "Unavailable" in plane.get(host="typo.test")[1]
    done = docker("exec", plane.name, "gateway", "deploy", "typo", check=False)
    assert done.returncode == 2
    assert "PROBE_PAHT='/up' is not a known variable; the nearest is PROBE_PATH" in done.stderr


def test_a_site_whose_domain_is_bad_is_left_out_and_named(plane: Plane) -> None:
    write(
        plane, "sites/evil.env", "DOMAIN='a.test; location /pwn { alias /etc/; } set $x 1'\nUPSTREAM=app:1\n"
    )
    eventually(lambda: standing(plane, "evil") == "left_out", within_s=SOON_S)
    assert answer(plane, "a.test") is None
    said = docker("exec", plane.name, "gateway", "status", "evil").stdout
    assert said.startswith("evil: no answer\n  quarantined: DOMAIN='a.test; location /pwn")


def test_who_has_a_domain_keeps_it(plane: Plane) -> None:
    """Whatever the names: the one that comes later is quarantined."""
    write(plane, "sites/owner.env", site_file("owned.test"))
    becomes(plane, "owned.test", 503)
    write(plane, "sites/a-thief.env", site_file("owned.test,thief.test"))
    eventually(lambda: standing(plane, "a-thief") == "unavailable", within_s=SOON_S)
    assert standing(plane, "owner") == "current"
    assert "Maintenance" in plane.get(host="owned.test")[1]
    assert "Unavailable" in plane.get(host="thief.test")[1]
    remove(plane, "sites/a-thief.env")


def test_a_mistake_in_the_env_file_changes_nothing_and_is_told(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    before = workers(plane)
    write(plane, ".env", "GATEWAY_KEEP_S=soon\nGATEWAY_STATE_DIR=/elsewhere\n")
    eventually(lambda: "GATEWAY_KEEP_S='soon' must be a number" in problems(plane), within_s=SOON_S)
    assert "GATEWAY_STATE_DIR is read at the start" in problems(plane)
    assert plane.release() == "blue"
    assert workers(plane) == before
    remove(plane, ".env")
    eventually(lambda: not problems(plane), within_s=SOON_S)


def test_a_reload_that_does_not_take_hold_is_undone(plane: Plane, proxy: NginxProxy) -> None:
    """`nginx -t` and the signal both succeed while a port is taken; only looking tells."""
    proxy.publish(SITE, BLUE)
    serve = (
        "import http.server as h; h.HTTPServer(('0.0.0.0', 8099), h.BaseHTTPRequestHandler).serve_forever()"
    )
    docker("exec", "-d", plane.name, "/opt/gateway/bin/python", "-c", serve)
    live = plane.folder / "run" / "conf" / "live"
    before = live.readlink()

    def take_a_taken_port() -> None:
        write(plane, ".env", "GATEWAY_HTTP_PORT=8099\n")
        eventually(lambda: "did not take over" in problems(plane), within_s=30)

    seen = under_load(plane, take_a_taken_port)
    assert {status for _, _, status, _ in seen} == {200}
    assert live.readlink() == before
    remove(plane, ".env")
    eventually(lambda: not problems(plane), within_s=SOON_S)


def test_a_killed_agent_converges_from_wherever_it_was(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)

    def kill_amid_changes() -> None:
        for number in range(4):
            write(plane, "sites/killed.env", site_file(f"killed{number}.test"))
            time.sleep(0.15 + 0.1 * number)
            docker("exec", plane.name, "/opt/gateway/bin/python", "-c", _KILL)
            time.sleep(1.2)

    seen = under_load(plane, kill_amid_changes)
    assert {status for _, _, status, _ in seen} == {200}
    becomes(plane, "killed3.test", 503)
    eventually(lambda: standing(plane, "killed") == "current", within_s=SOON_S)


_KILL = """
import os, pathlib, signal
for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
        words = (process / 'cmdline').read_bytes().split(b'\\0')
    except OSError:
        continue
    if b'gateway.daemon' in words:
        os.kill(int(process.name), signal.SIGKILL)
"""


def test_a_generation_that_nginx_does_not_run_yet_is_taken_over_after_a_kill(plane: Plane) -> None:
    """Killed between the rename and the signal: `live` is newer than what nginx runs."""
    conf = Path("/run/gateway/conf")
    write(plane, "sites/half.env", site_file("half.test"))
    becomes(plane, "half.test", 503)
    old = (plane.folder / "run" / "conf" / "live").readlink().name
    copy = f"cp -r {old} other && sed -i s/{old}/other/ other/http.conf && ln -sfn other live"
    docker("exec", "-w", str(conf), plane.name, "sh", "-c", copy)
    eventually(lambda: (plane.folder / "run" / "conf" / "live").readlink().name == old, within_s=SOON_S)
    becomes(plane, "half.test", 503)


def test_at_a_start_a_bad_site_keeps_its_last_good_and_the_others_are_live(
    plane: Plane, proxy: NginxProxy
) -> None:
    proxy.publish(SITE, BLUE)
    write(plane, "sites/kept.env", site_file("kept.test"))
    write(plane, "sites/new.env", "DOMAIN=new.test\nUPSTREAM=nonsense\n")
    becomes(plane, "kept.test", 503)
    becomes(plane, "new.test", 503)
    docker("stop", plane.name)
    write(plane, "sites/kept.env", "DOMAIN=kept.test\nUPSTREAM=nonsense\n")
    write(plane, "snippets/fresh.conf", "no_such_directive on;\n")
    docker("start", plane.name)
    plane.find_port()
    eventually(lambda: plane.get()[0] == 200)
    assert "Maintenance" in plane.get(host="kept.test")[1]
    assert "Unavailable" in plane.get(host="new.test")[1]
    assert standing(plane, "kept") == "last_good"
    assert standing(plane, "new") == "unavailable"
    assert standing(plane, "shop") == "current"


def test_config_diff_shows_what_a_mistake_would_not_let_through(plane: Plane) -> None:
    """In the container: nothing differs from what is live, and nginx's own test is run."""
    write(plane, "sites/diff.env", site_file("diff.test"))
    becomes(plane, "diff.test", 503)
    assert json.loads(config(plane, "diff", "--json").stdout) == {"changed": False, "diff": []}
    assert config(plane, "check").stdout == "2 sites without a mistake; nginx's own test: passed\n"
    write(plane, "snippets/diff.conf", "no_such_directive on;")
    refused = config(plane, "check", "--json", check=False)
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["nginx_test"] == "refused"
    assert 'diff: nginx: unknown directive "no_such_directive"' in refused.stderr


def config(plane: Plane, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return docker("exec", plane.name, "gateway", "config", *arguments, check=check)


def test_nginx_tests_a_candidate_without_root_s_powers(plane: Plane) -> None:
    """A file for root alone can't be read by it, so nothing that a test runs can read it either."""
    make = "touch /root/secret && chmod 600 /root/secret"
    docker("exec", plane.name, "sh", "-c", make)
    write(plane, "templates/http.conf.j2", "include /root/secret;\ninclude {{ conf_dir }}/sites/*.conf;\n")
    eventually(lambda: "Permission denied" in problems(plane), within_s=SOON_S)
    assert "/root/secret" in problems(plane)


def test_a_certificate_is_served_when_it_appears_and_when_it_is_renewed(plane: Plane) -> None:
    certs = plane.folder / "config" / "certs"
    certs.mkdir(exist_ok=True)
    write(plane, "sites/tls.env", site_file("tls.test"))
    becomes(plane, "tls.test", 503)
    for _ in range(2):
        make_certificate(certs, "tls.test", "tls.test")
        made = pem_of(certs / "tls.test.crt")
        becomes_certified(plane, "tls.test", made)
    assert answer(plane, "tls.test") == 301


def becomes_certified(plane: Plane, host: str, pem: str) -> None:
    """Several times in a row: while nginx reloads, a worker of before may still take a connection."""
    eventually(lambda: {served(plane, host) for _ in range(8)} == {pem}, within_s=SOON_S)


def pem_of(file: Path) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(file.read_text()))


def served(plane: Plane, host: str) -> str | None:
    """The certificate that a client gets; None: none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", plane.https_port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host) as peer,
        ):
            return ssl.DER_cert_to_PEM_cert(peer.getpeercert(binary_form=True) or b"")
    except OSError:
        return None


def test_a_new_container_knows_the_last_good_of_a_quarantined_site_and_its_certificate(plane: Plane) -> None:
    certs = plane.folder / "config" / "certs"
    certs.mkdir(exist_ok=True)
    make_certificate(certs, "safe.test", "safe.test")
    write(plane, "sites/safe.env", site_file("safe.test"))
    write(plane, "snippets/safe.conf", 'location = /good { return 200 "yes"; }')
    eventually(lambda: served(plane, "safe.test") is not None, within_s=SOON_S)
    write(plane, "sites/safe.env", site_file("safe.test", "PROBE_PAHT=/up"))
    eventually(lambda: standing(plane, "safe") == "last_good", within_s=SOON_S)
    docker("rm", "-fv", plane.name)
    for part in ("conf", "tls"):  # a new container's own folder would be empty
        shutil.rmtree(plane.folder / "run" / part)
    plane.start()
    assert standing(plane, "safe") == "last_good"
    assert served(plane, "safe.test") is not None
    assert answer(plane, "safe.test") == 301


def test_an_own_template_is_taken_up_while_nginx_runs(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    shipped = (templates_dir() / "site.conf.j2").read_text()
    closed = "{{ behind(closed) }}"
    mine = shipped.replace(closed, 'location = /mine { return 200 "mine"; }\n' + closed)
    assert mine != shipped
    write(plane, "templates/site.conf.j2", mine)
    eventually(lambda: plane.get("/mine")[1] == "mine", within_s=SOON_S)
    write(plane, "templates/site.conf.j2", "{{ nothing }}")
    eventually(lambda: standing(plane, "shop") == "last_good", within_s=SOON_S)
    assert plane.release() == "blue"


def test_a_snippet_without_an_end_holds_up_nobody_for_long_neither_live_nor_at_the_start(
    plane: Plane, proxy: NginxProxy
) -> None:
    loop = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
    write(plane, "sites/loops.env", site_file("loops.test"))
    write(plane, "snippets/loops.conf.j2", loop)
    write(plane, "sites/fine.env", site_file("fine.test"))
    becomes(plane, "fine.test", 503)
    eventually(lambda: standing(plane, "loops") == "unavailable", within_s=SOON_S)
    docker("restart", plane.name)
    plane.find_port()
    eventually(lambda: answer(plane, "fine.test") == 503, within_s=SOON_S)
    assert standing(plane, "loops") == "unavailable"
