"""nginx-proxy's variables are read as ours, so that its users keep their environment."""

from __future__ import annotations

from gateway.core.serving import HttpsMethod, Protocol
from gateway.settings import parse
from gateway.settings.places import SiteFile
from gateway.settings.sources import desire
from tests.settings_cases import ONE, TWO, only_problem, problems

THEIRS = {"VIRTUAL_HOST": "a.test,*.a.test", "VIRTUAL_PORT": "8000", "GATEWAY_UPSTREAM": "app"}


def test_a_single_site_takes_them_without_a_prefix() -> None:
    (site,) = parse(THEIRS | {"CERT_NAME": "shared", "HTTPS_METHOD": "nohttps"}).sites
    assert (site.domains, site.service, site.port) == (("a.test", "*.a.test"), "app", 8000)
    assert (site.tls.cert_name, site.tls.method) == ("shared", HttpsMethod.NOHTTPS)


def test_a_path_is_the_part_of_the_domain_that_is_the_site_s() -> None:
    assert parse(THEIRS | {"VIRTUAL_PATH": "/api/"}).sites[0].path == "/api"
    assert parse(THEIRS | {"VIRTUAL_PATH": "/"}).sites[0].path == "/"
    assert only_problem(THEIRS | {"VIRTUAL_PATH": "~^/api"}).startswith(
        "VIRTUAL_PATH='~^/api' must be / or a path"
    )


def test_what_the_application_speaks_is_read_too() -> None:
    (site,) = parse(THEIRS | {"VIRTUAL_PROTO": "grpc"}).sites
    assert site.proxying.protocol is Protocol.GRPC
    assert only_problem(THEIRS | {"VIRTUAL_PROTO": "https"}) == "VIRTUAL_PROTO='https' must be http or grpc"


def test_each_of_several_sites_takes_its_own() -> None:
    env = {"GATEWAY_SITES": "a,b", "GATEWAY_A_UPSTREAM": "x", "GATEWAY_B_UPSTREAM": "y:2"}
    env |= {"GATEWAY_A_VIRTUAL_HOST": "a.test", "GATEWAY_A_VIRTUAL_PORT": "1", "GATEWAY_B_DOMAIN": "b.test"}
    assert [(site.domains, site.port) for site in parse(env).sites] == [(("a.test",), 1), (("b.test",), 2)]


def test_beside_several_sites_unprefixed_ones_are_another_programs() -> None:
    assert parse(TWO | {"VIRTUAL_HOST": ";", "HTTPS_METHOD": ";"}) == parse(TWO)


def test_ours_counts_before_an_unprefixed_one() -> None:
    """The gateway may stand behind an nginx-proxy that reads these of the gateway's own container."""
    assert parse(ONE | {"VIRTUAL_HOST": "outer.test", "VIRTUAL_PORT": "80"}) == parse(ONE)


def test_two_prefixed_names_of_one_thing_are_refused() -> None:
    assert only_problem(ONE | {"GATEWAY_VIRTUAL_HOST": "b.test"}) == (
        "GATEWAY_VIRTUAL_HOST='b.test' must be unset when GATEWAY_DOMAIN is set"
    )
    assert only_problem(ONE | {"GATEWAY_VIRTUAL_PORT": "81"}) == (
        "GATEWAY_VIRTUAL_PORT='81' must be unset when GATEWAY_UPSTREAM names a port"
    )


def test_a_wrong_value_is_told_under_the_name_that_was_set() -> None:
    found = problems(THEIRS | {"VIRTUAL_HOST": "~^x$", "HTTPS_METHOD": "on"})
    assert [problem.split("=")[0] for problem in found] == ["HTTPS_METHOD", "VIRTUAL_HOST"]


def test_a_service_without_a_port_is_refused() -> None:
    (problem,) = problems({"VIRTUAL_HOST": "a.test", "GATEWAY_UPSTREAM": "app"})
    assert problem.startswith("GATEWAY_UPSTREAM='app' must be service:port")


def test_a_redirect_between_a_name_and_its_www_form() -> None:
    def hosts(www: str, domain: str) -> tuple[object, object]:
        (site,) = parse(ONE | {"GATEWAY_DOMAIN": domain, "GATEWAY_WWW": www}).sites
        return site.domains, site.redirects

    assert hosts("remove", "a.test,www.a.test") == (("a.test",), (("www.a.test", "a.test"),))
    assert hosts("add", "a.test") == (("www.a.test",), (("a.test", "www.a.test"),))
    assert hosts("add", "*.a.test") == (("*.a.test",), ())


def test_a_name_that_www_adds_belongs_to_one_site_only() -> None:
    env = TWO | {"GATEWAY_SHOP_WWW": "remove", "GATEWAY_MY_BLOG_DOMAIN": "www.shop.example.com"}
    assert only_problem(env).startswith(
        "GATEWAY_MY_BLOG_DOMAIN='www.shop.example.com' must be in one site only"
    )


def test_for_all_sites_its_name_of_a_variable_counts_too_but_not_beside_ours() -> None:
    for shared in ({"GATEWAY_VIRTUAL_PROTO": "grpc"}, {"GATEWAY_PROTOCOL": "grpc"}):
        assert [site.proxying.protocol for site in parse(TWO | shared).sites] == [Protocol.GRPC] * 2
        (file,) = desire(shared, [SiteFile("a", {"DOMAIN": "a.test", "UPSTREAM": "app:1"})]).wanted.values()
        assert file.site.proxying.protocol is Protocol.GRPC
        assert file.variables["PROTOCOL"] == "grpc"
    assert only_problem(TWO | {"GATEWAY_VIRTUAL_PROTO": "grpc", "GATEWAY_PROTOCOL": "http"}) == (
        "GATEWAY_VIRTUAL_PROTO='grpc' must be unset when GATEWAY_PROTOCOL is set"
    )


def test_what_another_program_is_told_is_of_no_concern_where_all_sites_are_files() -> None:
    theirs = {"CERT_NAME": "x", "HTTPS_METHOD": "nohttp", "VIRTUAL_PROTO": "fastcgi"}
    (file,) = desire(theirs, [SiteFile("a", {"DOMAIN": "a.test", "UPSTREAM": "app:1"})]).wanted.values()
    assert (file.site.tls.cert_name, file.site.tls.method) == (None, HttpsMethod.REDIRECT)
