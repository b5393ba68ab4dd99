"""What stands in nginx's configuration, without an nginx."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.adapters.render import Place, render
from gateway.core.model import InFlight, Routing, Site, Slot, Strategy
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


def test_what_a_steady_site_sends_a_request_to_is_a_literal(text: str) -> None:
    """`proxy_pass http://$name` searches all upstreams one by one: slow with many sites."""
    targets = re.findall(r"proxy_pass (\S+);", text)
    for name, slot in ((name, slot) for name in ("shop", "blog") for slot in Slot):
        assert targets.count(f"http://{name}_{slot}") == 1
    held = {f"http://unix:/s/hold.sock:/{name}" for name in ("shop", "blog")}  # no upstream is looked for
    assert sum("$" not in target for target in targets if target not in held) == 4


@pytest.mark.parametrize(("kind", "slot"), [("-f", "blue"), ("-d", "green")])
def test_a_steady_site_is_told_by_the_kind_of_a_file(text: str, kind: str, slot: str) -> None:
    test = block(site_server(text, SHOP_DOMAINS), f"if ({kind} shop/slot)")
    assert f"set $gateway_slot shop_{slot};" in test
    assert f"proxy_pass http://shop_{slot};" in test
    assert "/o.log" not in test
    assert re.search(r"break;\s*\}$", test)


def mapped(text: str, start: str, value: str) -> str:
    """What one of our maps makes of the value; its variables stay as they are."""
    lines = block(text, f"map {start}").splitlines()[1:-1]
    rules = [re.fullmatch(r'\s*("[^"]*"|\S+) ("[^"]*"|\S+);.*', line) for line in lines]
    pairs = [(rule[1].strip('"'), rule[2].strip('"')) for rule in rules if rule]
    for key, result in pairs:
        if key == value:
            return result
    for key, result in pairs:
        pattern = key.removeprefix("~").replace("(?<", "(?P<")
        if key.startswith("~") and (found := re.search(pattern, value)):
            return re.sub(r"\$(\w+)", lambda name: found.groupdict().get(name[1], name[0]), result)
    return dict(pairs)["default"].replace("$gateway_routing", value)


def chosen(text: str, flag: str) -> tuple[str, str]:
    """The slot that a routing leads to, and whether its answers are observed."""
    now = mapped(text, "$gateway_routing $gateway_choice", flag)
    now = now.replace("$gateway_of_10", "candidate")
    return tuple(mapped(text, f"$gateway_now ${name}", now) for name in ("gateway_to", "gateway_is_observed"))


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("release", [None, "r12"])
def test_every_routing_is_told_by_the_name_of_what_the_symlink_leads_to(
    text: str, slot: Slot, release: str | None
) -> None:
    assert chosen(text, Routing(slot, release=release).flag) == (slot, "")
    assert chosen(text, Routing(slot, release=release, awake=True).flag) == (slot, "")
    assert chosen(text, Routing(slot, release=release, warm=True).flag) == (slot, "")
    ready = Routing(slot, release=release, ready=True).flag
    assert chosen(text, ready) == (slot, "")
    assert mapped(text, "$gateway_routing $gateway_candidate", ready) == slot.other
    for routing in (
        Routing(slot, release=release),
        Routing(slot, awake=True),
        Routing(slot, share=10),
        Routing(),
    ):
        assert mapped(text, "$gateway_routing $gateway_candidate", routing.flag) == ""
    assert chosen(text, Routing(slot, release=release, observed=True).flag) == (slot, "1")
    assert chosen(text, Routing().flag) == ("", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("routing", "holds"),
    [
        (Routing(Slot.BLUE, warm=True), True),
        (Routing(Slot.BLUE, warm=True, release="r2"), True),
        (Routing(Slot.GREEN, observed=True), True),
        (Routing(Slot.GREEN, observed=True, release="r2", held="r1"), True),
        (Routing(Slot.GREEN, release="r2", held="r1"), True),
        (Routing(Slot.GREEN, release="r2"), False),
        (Routing(Slot.BLUE, awake=True), False),
        (Routing(Slot.BLUE, share=10), False),
        (Routing(Slot.BLUE, share=10, release="r1", held="r2"), False),
        (Routing(Slot.BLUE), False),
        (Routing(), False),
    ],
    ids=lambda value: value.flag if isinstance(value, Routing) else str(value),
)
def test_only_a_release_that_served_and_still_runs_is_asked_for_old_assets(
    text: str, routing: Routing, holds: object, method: str
) -> None:
    asked = f"{method} {routing.flag}"
    found = mapped(text, '"$request_method $gateway_routing" $gateway_is_warm', asked)
    assert found == ("1" if holds and method != "POST" else "")


@pytest.mark.parametrize("slot", Slot)
def test_a_step_sends_its_share_to_the_other_slot_and_counts_both(slot: Slot) -> None:
    text = joined(replace(SHOP, steps=(10,)))
    flag = Routing(slot, share=10, release="r1", held="r2").flag
    assert chosen(text, flag) == (slot.other, "1")
    assert chosen(text.replace("$gateway_live-canary-$gateway_of_10", "$gateway_live-canary-live"), flag) == (
        slot,
        "1",
    )


ROLLING = replace(SHOP, strategy=Strategy.ROLLING)


@pytest.mark.parametrize(
    ("routing", "slot", "part"),
    [
        (Routing(Slot.BLUE, awake=True, narrowed=Slot.BLUE, within=3), "blue", "blue-3"),
        (Routing(Slot.BLUE, observed=True, narrowed=Slot.BLUE, within=3), "blue", "blue-3"),
        (Routing(Slot.BLUE, share=10, narrowed=Slot.GREEN, within=12), "green", "green-12"),
        (Routing(Slot.BLUE, share=10, narrowed=Slot.BLUE, within=12), "green", ""),
        (Routing(Slot.BLUE, share=10), "green", ""),
    ],
    ids=lambda value: getattr(value, "flag", value),
)
def test_a_slot_that_is_narrowed_is_reached_by_its_part_alone(routing: Routing, slot: str, part: str) -> None:
    text = joined(ROLLING)
    assert chosen(text, routing.flag)[0] == slot
    assert mapped(text, '"$gateway_to $gateway_routing" $gateway_part', f"{slot} {routing.flag}") == part
    test = block(site_server(text, SHOP_DOMAINS), "if ($gateway_part)")
    assert "set $gateway_slot shop_$gateway_part;" in test
    assert "proxy_pass http://$gateway_slot:8000;" in test


def test_a_site_that_is_not_rolled_is_not_charged_for_those_that_are(text: str) -> None:
    both = render([ROLLING, BLOG], PLACE).files["sites/blog.conf"]
    assert both == render([SHOP, BLOG], PLACE).files["sites/blog.conf"]
    assert "gateway_part" not in text


def test_what_is_not_steady_goes_where_its_name_says(text: str) -> None:
    test = block(site_server(text, SHOP_DOMAINS), "if ($gateway_to)")
    assert "set $gateway_slot shop_$gateway_to;" in test
    assert "proxy_pass http://$gateway_slot;" in test
    assert "access_log /o.log gateway_observed buffer=4k flush=100ms if=$gateway_is_observed;" in test
    assert re.search(r"break;\s*\}$", test)


def test_the_name_is_read_once_so_that_a_rename_between_tests_hides_nothing(text: str) -> None:
    location = block(site_server(text, SHOP_DOMAINS), "location /")
    assert location.count("$gateway_choice;") == 1
    assert (
        location.index("(-d shop/slot)") < location.index("$gateway_choice;") < location.index("($gateway_to")
    )


def test_whoever_was_held_is_sent_by_the_name_alone_which_nobody_read_for_him_before(text: str) -> None:
    """nginx reads it once a request."""
    server = site_server(text, SHOP_DOMAINS)
    assert "-f " not in block(server, "location @live")
    assert block(server, "location @live").count("$gateway_choice;") == 1
    before = block(server, "location /").partition("return 418;")[0] + block(server, "location @hold")
    assert not re.search(r"\$gateway_(choice|routing|now|to)\b", before)


def test_a_site_without_steps_is_not_charged_for_those_of_others(text: str) -> None:
    stepping = replace(SHOP, steps=(1, 10))
    files = render([stepping, BLOG], PLACE).files
    assert "canary" not in files["sites/blog.conf"]
    assert "split_clients" not in text
    for share in (1, 10):
        assert f"{share}% candidate;" in files["http.conf"]


def test_nginx_says_what_it_serves_by_the_very_same_name(text: str) -> None:
    said = block(text, "location ~ ^/serving/(?<gateway_site>[a-z0-9-]+)$")
    assert "root /r/$gateway_site;" in said
    assert 'return 200 "$gateway_shown\\n";' in said


def test_the_counting_limit_never_refuses_and_the_idle_question_does(text: str) -> None:
    server = site_server(text, SHOP_DOMAINS)
    assert "limit_conn gateway_in_flight 65535;" in server
    assert "limit_conn_dry_run on;" in server
    for number in (1, InFlight.COUNTED, InFlight.COUNTED + 1, 65535):
        # A content handler: `return` would answer before limit_conn counts.
        limit = f"limit_conn gateway_in_flight {number};"
        assert f"location /fewer/{number}/ {{ {limit} empty_gif; }}" in text


def test_only_websocket_is_upgraded(text: str) -> None:
    upgrade = block(text, "map $http_upgrade $gateway_upgrade")
    assert re.findall(r"(\S+) (\S+);", upgrade) == [("default", '""'), ("websocket", "websocket")]


def test_clients_cannot_forge_where_they_come_from(text: str) -> None:
    assert set(re.findall(r"X-Forwarded-For (\S+);", text)) == {"$remote_addr", "127.0.0.1"}
    assert "proxy_add_x_forwarded_for" not in text


def test_the_applications_own_errors_pass(text: str) -> None:
    assert "proxy_intercept_errors" not in text


def test_only_the_tests_of_the_routing_are_remembered_and_reloads_spare_idle_connections(text: str) -> None:
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
    server = site_server(own, SHOP_DOMAINS).replace(block(own, "location = /.gateway/hold/shop"), "")
    for absent in ("proxy_set_header", "add_header_inherit", "gzip", "limit_req", "map ", "ssl", "timeout"):
        assert absent not in server
    assert "$gateway_asked" not in own
    assert "limit_conn_zone" not in own
    for absent in ("ssl_protocols", "real_ip", "geo ", "$gateway_forwarded_for", "http2", "quic"):
        assert absent not in render([SHOP], PLACE).files["http.conf"]


def test_the_steady_tests_come_before_everything_else_that_decides(text: str) -> None:
    location = block(site_server(text, SHOP_DOMAINS), "location /")
    directives = re.findall(r"^ {8}(\w+)", location, re.M)
    assert directives == [
        "limit_conn",
        "limit_conn_dry_run",
        "root",
        "error_page",  # for what nobody was reached for
        "open_file_cache",
        "open_file_cache_valid",
        # Whether it is closed is asked where it is not steady, and asked for nowhere else.
        *("if", "if", "if", "error_page", "set", "if", "error_page", "recursive_error_pages", "return"),
    ]
    assert "auth_request" not in location


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
