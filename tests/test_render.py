"""What stands in nginx's configuration, without an nginx."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.adapters.render import Place, render
from gateway.core.model import Routing, Site, Slot
from gateway.core.serving import Certificate

SHOP = Site("shop", ("shop.test", "*.shop.test"), "app", 8000, "/stacks/stack.yaml")
SHOP_DOMAINS = "shop.test *.shop.test"
BLOG = Site("blog", ("blog.test",), "web", 80, "/stacks/blog.yaml")


PLACE = Place(http_port=8080, conf_dir="/c", routing_dir="/r", run_dir="/s", observed_log="/o.log")


def joined(*sites: Site, place: Place = PLACE) -> str:
    return "\n".join(render(sites, place).files.values())


@pytest.fixture(scope="module")
def text() -> str:
    """All files of a generation, one after the other."""
    return joined(SHOP, BLOG)


def block(text: str, start: str) -> str:
    """From `start` to the closing brace in its column."""
    found = re.search(rf"^( *){re.escape(start)} \{{\n.*?^\1\}}", text, re.M | re.S)
    assert found, start
    return found[0]


def site_server(text: str, domains: str) -> str:
    return next(s for s in re.split(r"^server ", text, flags=re.M) if f"server_name {domains};" in s)


@pytest.mark.parametrize("slot", Slot)
def test_both_slots_have_an_upstream_from_the_start(text: str, slot: Slot) -> None:
    upstream = block(text, f"upstream shop_{slot}")
    assert f"server shop-{slot}:8000 resolve" in upstream
    assert "zone gateway_upstreams 128m;" in upstream  # with one each, nginx's time grows with the square
    assert "keepalive " in upstream


def test_proxy_pass_has_only_literals(text: str) -> None:
    """`proxy_pass http://$name` searches all upstreams one by one: slow with many sites."""
    targets = re.findall(r"proxy_pass (\S+);", text)
    probe = "http://$gateway_probed"
    assert set(targets) == {probe, *(f"http://{s}_{c}" for s in ("shop", "blog") for c in Slot)}


@pytest.mark.parametrize(("kind", "slot"), [("-f", "blue"), ("-d", "green")])
def test_a_steady_site_is_told_by_what_kind_of_file_its_symlink_leads_to(
    text: str, kind: str, slot: str
) -> None:
    test = block(site_server(text, SHOP_DOMAINS), f"if ({kind} shop)")
    assert f"set $gateway_slot shop_{slot};" in test
    assert f"proxy_pass http://shop_{slot};" in test
    assert "/o.log" not in test
    assert re.search(r"break;\s*\}$", test)


@pytest.mark.parametrize(
    "routing", [Routing(s, o) for s in Slot for o in (False, True)], ids=lambda r: r.flag
)
def test_every_routing_is_told_by_the_name_of_what_the_symlink_leads_to(text: str, routing: Routing) -> None:
    server = site_server(text, SHOP_DOMAINS)
    test = block(server, f"if ($gateway_now = {routing.flag})")
    assert f"set $gateway_slot shop_{routing.slot};" in test
    assert f"proxy_pass http://shop_{routing.slot};" in test
    assert ("access_log /o.log gateway_observed" in test) is routing.observed
    assert re.search(r"break;\s*\}$", test)


def test_the_name_is_read_once_so_that_a_rename_between_tests_hides_nothing(text: str) -> None:
    server = site_server(text, SHOP_DOMAINS)
    assert server.count("$gateway_choice;") == 1
    assert server.index("(-d shop)") < server.index("$gateway_choice;") < server.index("($gateway_now")


def test_a_site_without_steps_is_not_charged_for_those_of_others(text: str) -> None:
    stepping = replace(SHOP, steps=(1, 10))
    files = render([stepping, BLOG], PLACE).files
    assert "canary" not in files["sites/blog.conf"]
    assert "split_clients" not in text
    for share in (1, 10):
        assert f"{share}% candidate;" in files["http.conf"]


@pytest.mark.parametrize(("live", "candidate"), [("blue", "green"), ("green", "blue")])
def test_a_step_sends_its_share_to_the_other_slot_and_counts_both(live: str, candidate: str) -> None:
    site = render([replace(SHOP, steps=(10,))], PLACE).files["sites/shop.conf"]
    for who, slot in (("live", live), ("candidate", candidate)):
        test = block(site, f"if ($gateway_now = {live}-canary-{who})")
        assert f"proxy_pass http://shop_{slot};" in test
        assert "/o.log" in test


def test_nginx_says_what_it_serves_by_the_very_same_name(text: str) -> None:
    said = block(text, "location ~ ^/serving/(?<gateway_site>[a-z0-9-]+)$")
    assert "root /r/$gateway_site;" in said
    assert 'return 200 "$gateway_routing\\n";' in said


def test_the_counting_limit_never_refuses_and_the_idle_question_does(text: str) -> None:
    server = site_server(text, SHOP_DOMAINS)
    assert "limit_conn gateway_in_flight 65535;" in server
    assert "limit_conn_dry_run on;" in server
    idle = text[text.index("location ~ ^/idle/") :]
    assert "limit_conn gateway_in_flight 1;" in idle
    assert "empty_gif;" in idle  # `return` would answer before limit_conn counts


def test_only_websocket_is_upgraded(text: str) -> None:
    upgrade = block(text, "map $http_upgrade $gateway_upgrade")
    assert re.findall(r"(\S+) (\S+);", upgrade) == [("default", '""'), ("websocket", "websocket")]


def test_clients_cannot_forge_where_they_come_from(text: str) -> None:
    assert set(re.findall(r"X-Forwarded-For (\S+);", text)) == {"$remote_addr", "127.0.0.1"}
    assert "proxy_add_x_forwarded_for" not in text


def test_the_applications_own_errors_pass(text: str) -> None:
    assert "proxy_intercept_errors" not in text


def test_flags_are_not_cached_and_reloads_spare_idle_connections(text: str) -> None:
    assert "open_file_cache off;" in text
    assert "keepalive_min_timeout " in text
    assert "reuseport" not in text


def test_an_unknown_host_is_hung_up_on(text: str) -> None:
    default = next(s for s in text.split("\nserver {") if "listen 8080 default_server;" in s)
    assert "return 444;" in default


def test_the_internal_listener_says_the_generation(text: str) -> None:
    generation = render([SHOP, BLOG], PLACE).generation
    assert f'return 200 "{generation}\\n";' in block(text, "location = /generation")
    assert not re.search(r"listen \d.*internal", text)


def test_the_resolver_can_be_chosen() -> None:
    assert "resolver 10.0.0.2 valid=1s ipv6=off;" in joined(SHOP, place=Place(resolver="10.0.0.2"))


def test_a_plain_site_pays_for_nothing_that_is_off(text: str) -> None:
    """And what it tells the application is inherited: one directive of its own would drop them all."""
    own = render([SHOP], PLACE).files["sites/shop.conf"]
    server = site_server(own, SHOP_DOMAINS)
    for absent in ("proxy_set_header", "add_header_inherit", "gzip", "limit_req", "map ", "ssl", "timeout"):
        assert absent not in server
    assert "limit_conn_zone" not in own
    for absent in ("ssl_protocols", "real_ip", "geo ", "$gateway_forwarded_for", "http2", "quic"):
        assert absent not in render([SHOP], PLACE).files["http.conf"]


def test_the_steady_tests_come_before_everything_else_that_decides(text: str) -> None:
    location = block(site_server(text, SHOP_DOMAINS), "location /")
    directives = re.findall(r"^ {8}(\w+)", location, re.M)
    assert directives[:5] == ["limit_conn", "limit_conn_dry_run", "root", "if", "if"]


def test_a_renewed_certificate_is_another_generation() -> None:
    first, renewed = (
        render([SHOP], PLACE, {"shop.test": Certificate(chain, "key", 1e10)}) for chain in ("one", "two")
    )
    assert first.generation != renewed.generation
    assert "ssl_reject_handshake on;" in first.files["http.conf"]


def test_servers_of_one_site_share_what_they_serve() -> None:
    certificates = {"shop.test": Certificate("1", "1", 1e10), "*.shop.test": Certificate("2", "2", 1e10)}
    own = render([SHOP], PLACE, certificates).files["sites/shop.conf"]
    served = [block(s, "location /") for s in re.split(r"^server ", own, flags=re.M) if " ssl;" in s]
    assert len(served) == 2
    assert served[0] == served[1]


def test_each_site_has_a_file_of_its_own() -> None:
    files = render([SHOP, BLOG], PLACE).files
    assert set(files) == {"main.conf", "http.conf", "sites/shop.conf", "sites/blog.conf"}
    assert "blog" not in files["sites/shop.conf"]


def test_a_generation_includes_its_own_sites() -> None:
    rendered = render([SHOP], PLACE)
    assert f"include /c/{rendered.generation}/sites/*.conf;" in rendered.files["http.conf"]


def test_the_same_content_is_the_same_generation() -> None:
    assert render([SHOP], PLACE) == render([SHOP], PLACE)
    assert render([SHOP], PLACE).generation != render([SHOP, BLOG], PLACE).generation
    assert render([SHOP], PLACE).generation != render([replace(SHOP, port=1)], PLACE).generation
