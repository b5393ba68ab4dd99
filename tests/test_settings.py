"""What the gateway accepts from GATEWAY_* variables, and how it refuses the rest."""

from __future__ import annotations

import pytest

from gateway.core.model import ProbePolicy, Site, Strategy
from gateway.core.serving import Edge, HttpsMethod, Protocol, Proxying, Tls
from gateway.errors import SettingsInvalid
from gateway.settings import Settings, parse
from gateway.settings.table import VARIABLES
from tests.settings_cases import INJECTION, ONE, PER_SITE, TWO, only_problem, problems


def test_two_variables_make_a_site_with_the_model_s_defaults() -> None:
    site = Site("site", ("shop.example.com",), "app", 8000, "/stacks/stack.yaml")
    assert parse(ONE) == Settings(sites=(site,))
    assert parse(ONE) == Settings((site,), http_port=80, network=None, state_dir="/var/lib/gateway")


def test_old_assets_are_paths_of_the_site_s_own() -> None:
    (site,) = parse(ONE | {"GATEWAY_OLD_ASSETS": "/assets/, /s/x.y/"}).sites
    assert site.old_assets == ("/assets/", "/s/x.y/")
    blog = ONE | {"GATEWAY_PATH_PREFIX": "/blog"}
    (site,) = parse(blog | {"GATEWAY_OLD_ASSETS": "/blog/assets/"}).sites
    assert site.old_assets == ("/blog/assets/",)
    for paths in ("/assets/", "/blog/", "/blog/a/,/blogs/a/"):
        wrong = only_problem(blog | {"GATEWAY_OLD_ASSETS": paths})
        assert wrong == (
            f"GATEWAY_OLD_ASSETS={paths!r} must be paths below /blog, which is GATEWAY_PATH_PREFIX"
        )
    grpc = ONE | {"GATEWAY_PROTOCOL": "grpc", "GATEWAY_OLD_ASSETS": "/assets/"}
    assert only_problem(grpc).endswith("must be unset where GATEWAY_PROTOCOL is grpc")


def test_every_variable_reaches_its_field() -> None:
    env = {
        "GATEWAY_SITE": "my-shop",
        "GATEWAY_DOMAIN": "Shop.example.com, *.XN--mnchen-3ya.de,localhost",
        "GATEWAY_UPSTREAM": "my_app.v2:65535",
        "GATEWAY_HTTP_PORT": "8080",
        "GATEWAY_CONFIG_DIR": "/config",
        "GATEWAY_NETWORK": "edge_1",
        "GATEWAY_STATE_DIR": "/srv/gateway",
        "GATEWAY_STACK_FILE": "/srv/stacks/a@b+c.yaml",
        "GATEWAY_PROBE_PATH": "/up/%20?full=1&x=(a)",
        "GATEWAY_PROBE_STATUS": "204",
        "GATEWAY_PROBE_BODY": '{"état": "ok"; $}',
        "GATEWAY_PROBE_INTERVAL_S": "0.5",
        "GATEWAY_PROBE_TIMEOUT_S": "3",
        "GATEWAY_PROBE_SUCCESSES": "4",
        "GATEWAY_START_DEADLINE_S": "90",
        "GATEWAY_OBSERVE_S": "0",
        "GATEWAY_STRATEGY": "canary",
        "GATEWAY_CANARY_STEPS": "1, 10,50,100",
        "GATEWAY_CANARY_STEP_S": "300",
        "GATEWAY_CANARY_OVERRIDE": "on",
        "GATEWAY_MAX_P95_RATIO": "0",
        "GATEWAY_SESSION_TIMEOUT_S": "3600",
        "GATEWAY_SESSION_IDLE_S": "900",
        "GATEWAY_MAX_5XX_SHARE": "1",
        "GATEWAY_DRAIN_TIMEOUT_S": "86400",
        "GATEWAY_WEBSOCKET_TIMEOUT_S": "604800",
        "GATEWAY_KEEP_S": "0",
        "GATEWAY_HOOK_TIMEOUT_S": "90",
        "GATEWAY_WWW": "add",
        "GATEWAY_VIRTUAL_PORT": "65535",
        "GATEWAY_PATH_PREFIX": "/shop/v1.0/",
        "GATEWAY_CERTS_DIR": "/srv/certs",
        "GATEWAY_METRICS_PORT": "9100",
        "GATEWAY_ENGINE": "swarm",
        "GATEWAY_ROLE": "controller",
        "GATEWAY_AGENT": "10.0.3.2:9180",
        "GATEWAY_TOKEN_FILE": "/run/secrets/token",
        "GATEWAY_HTTPS_PORT": "8443",
        "GATEWAY_EXTERNAL_HTTPS_PORT": "9443",
        "GATEWAY_HTTP3": "on",
        "GATEWAY_ACME_DIR": "/srv/acme",
        "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8, 2001:DB8::/32",
        "GATEWAY_FORWARDED_HEADER": "on",
        "GATEWAY_HTTPS_METHOD": "nohttp",
        "GATEWAY_CERT_NAME": "_.example.com",
        "GATEWAY_HSTS_S": "63072000",
        "GATEWAY_PREVIEW_TOKEN_FILE": "/run/secrets/preview",
        "GATEWAY_PROTOCOL": "grpc",
        "GATEWAY_MAX_BODY": "2g",
        "GATEWAY_CONNECT_TIMEOUT_S": "0.5",
        "GATEWAY_READ_TIMEOUT_S": "60",
        "GATEWAY_SEND_TIMEOUT_S": "61",
        "GATEWAY_STREAM_UPLOADS": "on",
        "GATEWAY_GZIP": "on",
        "GATEWAY_RATE_LIMIT": "20r/s",
        "GATEWAY_RATE_BURST": "0",
        "GATEWAY_CONNECTION_LIMIT": "50",
    }
    # Those two only without others here: several sites, and what is not for gRPC.
    others = {"SITES", "OLD_ASSETS"}
    assert env.keys() == {f"GATEWAY_{var.name}" for var in VARIABLES if var.name not in others}
    site = Site(
        name="my-shop",
        domains=("www.shop.example.com", "*.xn--mnchen-3ya.de", "www.localhost"),
        service="my_app.v2",
        port=65535,
        stack_file="/srv/stacks/a@b+c.yaml",
        probe=ProbePolicy("/up/%20?full=1&x=(a)", 204, 204, '{"état": "ok"; $}', 0.5, 3.0, 4, 90.0),
        session_timeout_s=3600.0,
        session_idle_s=900.0,
        strategy=Strategy.CANARY,
        steps=(1, 10, 50),
        step_s=300.0,
        canary_override=True,
        preview_token_file="/run/secrets/preview",
        max_p95_ratio=0.0,
        observe_s=0.0,
        max_5xx_share=1.0,
        drain_timeout_s=86400.0,
        websocket_timeout_s=604800.0,
        keep_s=0.0,
        hook_timeout_s=90.0,
        redirects=(("shop.example.com", "www.shop.example.com"), ("localhost", "www.localhost")),
        path="/shop/v1.0",
        tls=Tls(HttpsMethod.NOHTTP, 63072000, "_.example.com"),
        proxying=Proxying(
            protocol=Protocol.GRPC,
            max_body=2 << 30,
            connect_timeout_s=0.5,
            read_timeout_s=60.0,
            send_timeout_s=61.0,
            stream_uploads=True,
            gzip=True,
            rate_limit="20r/s",
            rate_burst=0,
            connection_limit=50,
        ),
    )
    edge = Edge(
        https_port=8443,
        external_https_port=9443,
        http3=True,
        acme_dir="/srv/acme",
        trusted_proxies=("10.0.0.0/8", "2001:db8::/32"),
        forwarded_header=True,
    )
    part = ("swarm", "controller", ("10.0.3.2", 9180), "/run/secrets/token")
    once = (8080, "/config", "edge_1", "/srv/gateway", "/srv/certs", *part, edge, 9100)
    assert parse(env) == Settings((site,), *once)


def test_several_sites_keep_their_order_and_get_their_own_stack_file() -> None:
    found = [(s.name, s.domains, s.service, s.port, s.stack_file) for s in parse(TWO).sites]
    assert found == [
        ("shop", ("shop.example.com",), "app", 8000, "/stacks/shop.yaml"),
        ("my-blog", ("blog.example.com",), "web", 3000, "/stacks/my-blog.yaml"),
    ]


def test_an_unprefixed_value_is_the_default_of_all_sites() -> None:
    env = TWO | {"GATEWAY_KEEP_S": "60", "GATEWAY_MY_BLOG_KEEP_S": "5", "GATEWAY_SHOP_KEEP_S": ""}
    assert [site.keep_s for site in parse(env).sites] == [60.0, 5.0]


@pytest.mark.parametrize("name", ["DOMAIN", "UPSTREAM", "STACK_FILE", "SITE"])
def test_what_belongs_to_one_site_is_refused_unprefixed_beside_several_sites(name: str) -> None:
    value = {"DOMAIN": "x.test", "UPSTREAM": "app:1", "STACK_FILE": "/a.yaml", "SITE": "shop"}[name]
    problem = only_problem(TWO | {f"GATEWAY_{name}": value})
    assert problem.startswith(f"GATEWAY_{name}={value!r} must be unset when GATEWAY_SITES is set")
    assert parse(TWO | {f"GATEWAY_{name}": ""}) == parse(TWO)


def test_no_site_says_which_two_variables_to_set() -> None:
    expected = (
        "no site is set: set GATEWAY_DOMAIN=shop.example.com and GATEWAY_UPSTREAM=app:8000 "
        "(or GATEWAY_SITES for several sites, or sites/<name>.env)"
    )
    assert only_problem({}) == only_problem({"GATEWAY_DOMAIN": "", "GATEWAY_SITES": ""}) == expected


@pytest.mark.parametrize("name", ["DOMAIN", "UPSTREAM"])
def test_a_missing_or_empty_required_variable_is_named_with_its_rule(name: str) -> None:
    missing = TWO.copy()
    del missing[f"GATEWAY_SHOP_{name}"]
    expected = f"GATEWAY_SHOP_{name} is not set, but GATEWAY_SITES names shop: must be "
    assert only_problem(missing).startswith(expected)
    assert only_problem(ONE | {f"GATEWAY_{name}": ""}).startswith(f"GATEWAY_{name} is empty: must be ")


def test_an_empty_optional_variable_counts_as_unset() -> None:
    """Compose's ${X:-} sets it so."""
    empty = {f"GATEWAY_{var.name}": "" for var in VARIABLES if not var.required}
    assert parse(ONE | empty) == parse(ONE)


def test_variables_of_others_are_not_looked_at() -> None:
    assert parse(ONE | {"PATH": "/bin", "gateway_domain": "x", "XGATEWAY_A": ";"}) == parse(ONE)


def test_all_problems_come_at_once_each_on_one_line() -> None:
    env = TWO | {
        "GATEWAY_SHOP_DOMAIN": INJECTION,
        "GATEWAY_MY_BLOG_UPSTREAM": "",
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_KEEP_S": "1\n2",
        "GATEWAY_NEW\nLINE": "a\u2028b",
    }
    found = problems(env)
    assert len(found) == 5
    assert all(len(problem.splitlines()) == 1 for problem in found)
    assert "GATEWAY_KEEP_S='1\\n2' must be a number of seconds from 0 to 604800" in found


def test_a_long_value_is_shortened_to_80_characters() -> None:
    problem = only_problem(ONE | {"GATEWAY_HTTP_PORT": "9" * 500})
    assert problem == f"GATEWAY_HTTP_PORT='{'9' * 76}... must be a port from 1 to 65535"


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("GATEWAY_DRAIN_TIMEOUT", "GATEWAY_DRAIN_TIMEOUT_S"),
        ("GATEWAY_MY_BLOG_DOMAINS", "GATEWAY_MY_BLOG_DOMAIN"),
        ("GATEWAY_SHOPS_PROBE_PATH", "GATEWAY_SHOP_PROBE_PATH (or is its site missing in GATEWAY_SITES?)"),
        ("GATEWAY_SHOP_HTTP_PORT", "GATEWAY_HTTP_PORT"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_name(unknown: str, nearest: str) -> None:
    for value in ("1", ""):
        expected = f"{unknown}={value!r} is not a known variable; the nearest is {nearest}"
        assert only_problem(TWO | {unknown: value}) == expected


def test_two_sites_may_not_share_a_domain_whatever_its_case() -> None:
    problem = only_problem(TWO | {"GATEWAY_MY_BLOG_DOMAIN": "b.test,SHOP.example.com"})
    assert problem == (
        "GATEWAY_MY_BLOG_DOMAIN='shop.example.com' must be in one site only, and GATEWAY_SHOP_DOMAIN has it"
    )


def test_every_full_name_has_one_reading_whatever_the_sites_are_called() -> None:
    """GATEWAY_A_B_C would be ambiguous (site a or a-b) only if the names B_C and C both existed."""
    for tail in PER_SITE:
        assert [var.name for var in VARIABLES if var.name.endswith(f"_{tail}")] == []


def test_a_site_s_name_may_begin_with_another_s() -> None:
    env = {
        "GATEWAY_SITES": "shop,shop-probe",
        "GATEWAY_SHOP_DOMAIN": "a.test",
        "GATEWAY_SHOP_UPSTREAM": "a:1",
        "GATEWAY_SHOP_PROBE_DOMAIN": "b.test",
        "GATEWAY_SHOP_PROBE_UPSTREAM": "b:2",
        "GATEWAY_SHOP_PROBE_PATH": "/shop",
        "GATEWAY_SHOP_PROBE_PROBE_PATH": "/probe",
    }
    assert [site.probe.path for site in parse(env).sites] == ["/shop", "/probe"]


def test_a_refused_site_list_does_not_make_its_sites_variables_unknown() -> None:
    found = problems(TWO | {"GATEWAY_SITES": "shop,My-Blog", "GATEWAY_SHOP_KEEP_S": "x", "GATEWAY_NOPE": "1"})
    assert [problem.split("=")[0] for problem in found] == [
        "GATEWAY_SHOP_KEEP_S",
        "GATEWAY_SITES",
        "GATEWAY_NOPE",
    ]


def strategy(**given: str) -> tuple[Strategy, tuple[int, ...]]:
    (site,) = parse(ONE | {f"GATEWAY_{name}": raw for name, raw in given.items()}).sites
    return site.strategy, site.steps


def test_steps_make_a_canary_unless_another_strategy_is_chosen() -> None:
    assert strategy() == (Strategy.BLUE_GREEN, ())
    assert strategy(CANARY_STEPS="10") == (Strategy.CANARY, (10,))
    assert strategy(CANARY_STEPS="10", STRATEGY="canary") == (Strategy.CANARY, (10,))
    assert strategy(CANARY_STEPS="10", STRATEGY="rolling") == (Strategy.ROLLING, ())
    assert strategy(CANARY_STEPS="10", STRATEGY="blue-green") == (Strategy.BLUE_GREEN, ())


def test_a_canary_without_steps_and_sessions_that_rolling_could_not_hold_are_refused() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        strategy(STRATEGY="canary")
    assert list(refused.value.problems) == [
        "GATEWAY_STRATEGY='canary' must be another, or GATEWAY_CANARY_STEPS set"
    ]
    with pytest.raises(SettingsInvalid) as refused:
        strategy(STRATEGY="rolling", SESSION_TIMEOUT_S="60")
    assert list(refused.value.problems) == [
        "GATEWAY_SESSION_TIMEOUT_S='60' must be 0 where GATEWAY_STRATEGY is rolling: that leaves no release"
        " for its sessions"
    ]
