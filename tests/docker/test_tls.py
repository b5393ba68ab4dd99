"""Facts of TLS, on the real image."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.model import ProbePolicy, Routing, Site, Slot
from tests.docker.conftest import Plane, blue_serves, docker, eventually, running_plane
from tests.made_certificates import make_certificate

pytestmark = pytest.mark.docker
BLUE = Routing(Slot.BLUE)

DOMAINS = {
    "shop": "shop.test,other.test",
    "blog": "blog.example.test",
    "only": "only.test",
    "old": "old.test",
    "odd": "odd.test",
    "plain": "plain.test",
    "wild": "*.wild.test",
}
ENV = {
    "GATEWAY_SITES": ",".join(DOMAINS),
    **{f"GATEWAY_{name.upper()}_DOMAIN": domain for name, domain in DOMAINS.items()},
    **{f"GATEWAY_{name.upper()}_UPSTREAM": "app:8000" for name in DOMAINS},
    "GATEWAY_SHOP_WWW": "remove",
    "GATEWAY_SHOP_HSTS_S": "31536000",
    "GATEWAY_BLOG_HTTPS_METHOD": "noredirect",
    "GATEWAY_BLOG_HSTS_S": "3600",
    "GATEWAY_ONLY_HTTPS_METHOD": "nohttp",
    "GATEWAY_HTTP3": "on",
}
SITES = {
    name: Site(name, (domain,), "app", 8000, "/s.yaml", probe=ProbePolicy(path="/"))
    for name, domain in DOMAINS.items()
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificates, and what a companion puts there for an ACME challenge."""
    certs, acme = tmp_path_factory.mktemp("certs"), tmp_path_factory.mktemp("acme")
    make_certificate(certs, "shop.test", "shop.test", "www.shop.test")
    make_certificate(certs, "other.test", "other.test", "www.other.test")
    make_certificate(certs, "example.test", "example.test", "*.example.test")
    make_certificate(certs, "only.test", "only.test")
    make_certificate(certs, "old.test", "old.test", days=-1)
    make_certificate(certs, "odd.test", "odd.test")
    make_certificate(certs, "wild.test", "*.wild.test")
    (certs / "odd.test.key").write_text((certs / "old.test.key").read_text())
    for key in certs.glob("*.key"):
        key.chmod(0o600)
    token = acme / ".well-known" / "acme-challenge" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("token.thumbprint")
    for folder in (acme, acme / ".well-known", token.parent):
        folder.chmod(0o755)
    return certs, acme


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str, folders: tuple[Path, Path]) -> Iterator[Plane]:
    mounts = ["-v", f"{folders[0]}:/etc/gateway/certs:ro", "-v", f"{folders[1]}:/var/www/acme:ro"]
    with running_plane(network, *DOMAINS, env=ENV, run=mounts) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return blue_serves(plane, *SITES.values())


class Tls(HTTPSConnection):
    """Connects to the gateway whatever the host's name is; keeps the peer's certificate."""

    def __init__(self, plane: Plane, host: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__(host, plane.https_port, timeout=10)
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._tls = context

    def connect(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)

    def peer(self) -> str:
        self.connect()
        return ssl.DER_cert_to_PEM_cert(self.sock.getpeercert(binary_form=True) or b"")


def https(plane: Plane, host: str, path: str = "/") -> HTTPResponse:
    connection = Tls(plane, host)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse()


def http(plane: Plane, host: str, path: str = "/", *, method: str = "GET") -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", plane.port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    return connection.getresponse()


def test_a_domain_with_a_certificate_is_served_over_https(plane: Plane, proxy: NginxProxy) -> None:
    shown = json.loads(https(plane, "shop.test", "/headers").read())
    assert shown["release"] == "blue"
    assert shown["headers"]["x-forwarded-proto"] == "https"
    assert shown["headers"]["host"] == "shop.test"


@pytest.mark.parametrize(
    ("host", "stem"),
    [
        ("shop.test", "shop.test"),
        ("other.test", "other.test"),
        ("www.shop.test", "shop.test"),
        ("blog.example.test", "example.test"),
        ("any.wild.test", "wild.test"),
        ("old.test", "old.test"),
    ],
)
def test_each_name_shows_its_own_certificate_or_its_parent_s(
    plane: Plane, proxy: NginxProxy, folders: tuple[Path, Path], host: str, stem: str
) -> None:
    assert Tls(plane, host).peer().split() == (folders[0] / f"{stem}.crt").read_text().split()


@pytest.mark.parametrize("host", ["unknown.test", "odd.test", "plain.test"])
def test_a_handshake_for_an_unknown_host_is_refused(plane: Plane, proxy: NginxProxy, host: str) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        https(plane, host)


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)])
def test_http_leads_to_https_and_keeps_the_method(
    plane: Plane, proxy: NginxProxy, method: str, status: int
) -> None:
    answer = http(plane, "shop.test", "/a%2F%2e%2e?q=%20", method=method)
    assert answer.status == status
    assert answer.getheader("Location") == "https://shop.test/a%2F%2e%2e?q=%20"


def test_a_name_with_www_leads_to_the_one_without_in_one_step(plane: Plane, proxy: NginxProxy) -> None:
    for answer in (http(plane, "www.shop.test", "/x?y"), https(plane, "www.shop.test", "/x?y")):
        assert (answer.status, answer.getheader("Location")) == (301, "https://shop.test/x?y")


def test_a_request_for_a_whole_url_leads_to_the_host_that_was_found(plane: Plane, proxy: NginxProxy) -> None:
    """RFC 9112 section 3.2.2: the URL's host counts, not the Host header."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as peer:
        peer.sendall(b"GET http://shop.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        assert b"\r\nLocation: https://shop.test/x\r\n" in peer.recv(4096)


@pytest.mark.parametrize("host", ["odd.test", "plain.test", "old.test", "blog.example.test"])
def test_http_serves_where_https_does_not_or_only_too(plane: Plane, proxy: NginxProxy, host: str) -> None:
    """A key of another certificate, no certificate, an expired one, and `noredirect`."""
    assert http(plane, host).status == 200


def test_what_is_wrong_with_a_certificate_is_told(plane: Plane) -> None:
    told = docker("logs", plane.name).stderr
    assert "odd.test: odd.test: can't be used: KEY_VALUES_MISMATCH" in told
    assert "old.test: the certificate is not valid now" in told


def test_without_http_its_port_hangs_up(plane: Plane, proxy: NginxProxy) -> None:
    assert https(plane, "only.test").status == 200
    with pytest.raises((ConnectionError, OSError)):
        http(plane, "only.test")


@pytest.mark.parametrize("routing", [BLUE, Routing()], ids=lambda r: r.flag)
@pytest.mark.parametrize("host", ["shop.test", "www.shop.test", "only.test", "plain.test", "old.test"])
def test_a_challenge_is_answered_over_http_whatever_the_site_does(
    plane: Plane, proxy: NginxProxy, host: str, routing: Routing
) -> None:
    for site in SITES.values():
        proxy.publish(site, routing)
    try:
        answer = http(plane, host, "/.well-known/acme-challenge/token")
        assert (answer.status, answer.read()) == (200, b"token.thumbprint")
        assert http(plane, host, "/.well-known/acme-challenge/none").status == 404
    finally:
        for site in SITES.values():
            proxy.publish(site, BLUE)


def test_a_link_among_the_challenges_leads_nowhere(
    plane: Plane, proxy: NginxProxy, folders: tuple[Path, Path]
) -> None:
    """Whoever fills that folder must not read the gateway's files through it."""
    link = folders[1] / ".well-known" / "acme-challenge" / "link"
    link.symlink_to("/etc/hostname")
    try:
        assert http(plane, "shop.test", "/.well-known/acme-challenge/link").status == 403
    finally:
        link.unlink()


def test_hsts_is_said_over_https_only_even_on_the_maintenance_page(plane: Plane, proxy: NginxProxy) -> None:
    assert https(plane, "shop.test").getheader("Strict-Transport-Security") == "max-age=31536000"
    assert https(plane, "blog.example.test").getheader("Strict-Transport-Security") == "max-age=3600"
    assert http(plane, "blog.example.test").getheader("Strict-Transport-Security") is None
    assert https(plane, "only.test").getheader("Strict-Transport-Security") is None
    proxy.publish(SITES["shop"], Routing())
    try:
        answer = https(plane, "shop.test")
        assert (answer.status, answer.getheader("Retry-After")) == (503, "30")
        assert answer.getheader("Strict-Transport-Security") == "max-age=31536000"
    finally:
        proxy.publish(SITES["shop"], BLUE)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("version", "cipher", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_3, None, True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA", False),
        (ssl.TLSVersion.TLSv1_1, None, False),
    ],
)
def test_only_the_guideline_s_protocols_and_ciphers_are_spoken(
    plane: Plane,
    proxy: NginxProxy,
    version: ssl.TLSVersion,
    cipher: str | None,
    accepted: bool,  # noqa: FBT001
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if cipher or version is ssl.TLSVersion.TLSv1_1:
        context.set_ciphers(f"{cipher or 'ALL'}:@SECLEVEL=0")
    connection = Tls(plane, "shop.test", context)
    if accepted:
        connection.connect()
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connection.connect()


def test_sessions_are_resumed_without_tickets(plane: Plane, proxy: NginxProxy) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first = Tls(plane, "shop.test", context)
    first.connect()
    session = first.sock.session
    assert not session.has_ticket
    with socket.create_connection(("127.0.0.1", plane.https_port)) as raw:
        again = context.wrap_socket(raw, server_hostname="shop.test", session=session)
        assert again.session_reused


def test_clients_get_http2_and_learn_of_http3(plane: Plane, proxy: NginxProxy) -> None:
    shown = curl(plane, "--http2", "-w", "%{http_version} %{header_json}", "-o", "/dev/null")
    assert shown.startswith("2 ")
    assert 'h3=\\":443\\"' in shown


def curl(plane: Plane, *options: str) -> str:
    command = [
        "curl",
        "-sk",
        "--connect-to",
        f"::127.0.0.1:{plane.https_port}",
        *options,
        "https://shop.test/",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def test_plain_http_on_the_https_port_is_told_so(plane: Plane, proxy: NginxProxy) -> None:
    with socket.create_connection(("127.0.0.1", plane.https_port), timeout=5) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert peer.recv(4096).startswith(b"HTTP/1.1 400")


def test_nginx_s_workers_can_t_read_a_key(plane: Plane) -> None:
    keys = "/run/gateway/tls/*.key"
    as_worker = "setpriv --reuid=nginx --regid=nginx --init-groups sh -c"
    assert docker("exec", plane.name, "sh", "-c", f"cat {keys}").stdout.startswith("-----BEGIN")
    done = docker("exec", plane.name, "sh", "-c", f"{as_worker} 'cat {keys}'", check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_the_gateway_is_healthy_with_tls(plane: Plane, proxy: NginxProxy) -> None:
    done = docker(
        "exec", plane.name, "/opt/gateway/bin/python", "-m", "gateway.agent.healthcheck", check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_renewed_certificate_is_shown_after_the_next_start(
    plane: Plane, proxy: NginxProxy, folders: tuple[Path, Path]
) -> None:
    make_certificate(folders[0], "only.test", "only.test")
    docker("restart", plane.name)
    plane.find_port()
    eventually(lambda: plane.get(host="plain.test")[0] == 200)
    assert Tls(plane, "only.test").peer().split() == (folders[0] / "only.test.crt").read_text().split()
    assert len(docker("exec", plane.name, "ls", "/run/gateway/tls").stdout.split()) == 2 * 6
