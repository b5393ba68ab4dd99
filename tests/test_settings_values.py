"""Which values the gateway accepts: all that it renders is allow-listed."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import SettingsInvalid
from gateway.settings import parse
from gateway.settings.table import VARIABLES
from gateway.settings.variable import Scope
from tests.settings_cases import INJECTION, ONE, PER_SITE, TWO, only_problem, problems

# One value a line would take half the file.
# fmt: off
BAD = {
    "SITE": ["Shop", "1shop", "shop-", "a--b", "a_b", "a" * 32, "blue", "green", "shop-blue",
        "maintenance", "ä"],
    "SITES": ["shop,", "shop,shop", ",", "shop;blog", "shop,green", "shop\n"],
    "HTTP_PORT": ["0", "65536", "080", "-1", "8e1", " 80", "٨٠", "80\n"],
    "CONFIG_DIR": ["etc", "/", "/a/", "/a/../b", "/a b", "/a;b", "/a\n"],
    "NETWORK": ["-x", "a b", "a/b", "a" * 64, "host;"],
    "STATE_DIR": ["var", "/", "/a/", "/a/../b", "/a/./b", "/a b", "/a;b", "/" + "a" * 255, "/a\n", "//a"],
    "DOMAIN": [INJECTION, "a.test,", "a.test,a.TEST", "-a.test", "a-.test", "a..test", "a.test.",
        ".a.test", "a_b.test", "*", "*a.test", "a.*.test", "*.*.test", "~^x$", "münchen.de", "\u212a.test",
        "a" * 64 + ".test", ".".join(["a" * 63] * 4), "a.test\n", "a.test:80", "a.test b.test",
        "a.test,\tb.test"],
    "UPSTREAM": ["app", "app:",  ":80", "app:0", "app:65536", "app:80;", "-a:80", "a b:80", "a:b:80",
        "a$:80"],
    "STACK_FILE": ["stack.yaml", "/stacks/../etc/x", "/stacks/$x", '/s"', "/s;", "/s{", "/s\\", "/s'"],
    "PROBE_PATH": ["up", "//evil.test/", "/a b", "/$uri", "/a;b", "/a'b", '/a"b', "/{a}", "/a\\b", "/a#b",
        "/%zz", "/%", "/%0a", "/%0D", "/%1f", "/%7F", "/%00", "/é", "/a\n", "/" + "a" * 500],
    "PROBE_STATUS": ["20", "099", "199", "600", "399-200", "200-", "200-399-400", "200,204", "2xx"],
    "PROBE_BODY": ["a\nb", "a\x00", "a\x7f", "a" * 201, "\u2028", "\u202e", "\udc80"],
    "PROBE_INTERVAL_S": ["0", "0.049", "60.1", "nan", "inf", "1e1", "1_0", "-1", "+1", ".5", "5s", "1."],
    "PROBE_TIMEOUT_S": ["0", "0.09", "301"],
    "PROBE_SUCCESSES": ["0", "101", "2.0", "²"],
    "START_DEADLINE_S": ["0.9", "3601"],
    "OBSERVE_S": ["-1", "3600.5"],
    "STRATEGY": ["Rolling", "bluegreen", "blue_green", "rolling,canary"],
    "CANARY_STEPS": ["0", "101", "10,5", "10,10", "1;2", "1.5", "5%", "01"],
    "CANARY_STEP_S": ["-1", "86401"],
    "CANARY_OVERRIDE": ["yes", "1"],
    "SESSION_TIMEOUT_S": ["-1", "604801"],
    "SESSION_IDLE_S": ["0", "86401"],
    "MAX_P95_RATIO": ["-1", "100.1"],
    "MAX_5XX_SHARE": ["1.01", "5%", "-0.1"],
    "DRAIN_TIMEOUT_S": ["86401", "infinity"],
    "WEBSOCKET_TIMEOUT_S": ["604801", "nan"],
    "KEEP_S": ["604801", "9" * 400],
    "HOOK_TIMEOUT_S": ["0", "86401"],
    "WWW": ["on", "ADD", "add;"],
    "PATH_PREFIX": [
        *("blog", "//", "/a//b", "/a//", "/..", "/../a", "/a/..", "/./a", "/a/.", "/a?b", "/a#b", "/a b"),
        *("/%61", "/a%2f..", "/a\\b", "/a;", "/a{", "/a$", "~^/a", "= /a", "/a\n", "/~bob", "/é"),
        "/" + "a" * 200,
        *("/.well-known/acme-challenge", "/.well-known/acme-challenge/x"),
    ],
    "PREVIEW_TOKEN_FILE": ["token", "/a;b", "/a/../b", "/$x"],
    "OLD_ASSETS": ["/", "assets/", "/assets", "/a/,/a/", "/a/;", "/a//", "/../a/", "/a/$x/", "/a b/", "/a/,",
        "/.well-known/acme-challenge/"],
    "VIRTUAL_PORT": ["0", "65536", "80;"],
    "CERTS_DIR": ["certs", "/a;b", "/a/../b"],
    "ENGINE": ["kubernetes", "Swarm"],
    "ROLE": ["agent", "ALL", "all,gateway"],
    "AGENT": ["agent", "agent:0", ":9180", "http://agent:9180", "agent;x:9180", "a" * 64 + ":9180"],
    "TOKEN_FILE": ["token", "/a;b", "/a/../b"],
    "METRICS_PORT": ["0", "65536", "127.0.0.1:9100"],
    "HTTPS_PORT": ["0", "443s"],
    "EXTERNAL_HTTPS_PORT": ["0", ":443"],
    "HTTP3": ["yes", "1", "ON"],
    "ACME_DIR": ["acme", "/$x", "/a b"],
    "TRUSTED_PROXIES": ["10.0.0.1/8", "all", "10.0.0.0/8;", "10.0.0.0/33", "fe80::1%eth0", "1.2.3.4,1.2.3.4",
        "0x1", "10.0.0.0/255.0.0.0"],
    "FORWARDED_HEADER": ["x"],
    "HTTPS_METHOD": ["on", "Redirect", "redirect;"],
    "CERT_NAME": ["../x", "a/b", "a.crt", ".a", "a b", "a;", "$a", "*.a"],
    "HSTS_S": ["-1", "1.5", "315360001", "1; x"],
    "PROTOCOL": ["h2c", "gRPC"],
    "MAX_BODY": ["1t", "-1", "01", "1 m", "1M", "1.5m", "0m", "9999999999"],
    "CONNECT_TIMEOUT_S": ["0", "76"],
    "READ_TIMEOUT_S": ["0", "86401"],
    "SEND_TIMEOUT_S": ["0", "1h"],
    "STREAM_UPLOADS": ["true"],
    "GZIP": ["true"],
    "RATE_LIMIT": ["20", "0r/s", "20r/h", "20r/s burst=1", "1.5r/s"],
    "RATE_BURST": ["-1", "100001"],
    "CONNECTION_LIMIT": ["0", "65536"],
}
# fmt: on


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_a_value_outside_its_allow_list_is_refused_naming_the_variable(name: str, value: str) -> None:
    assert any(p.startswith(f"GATEWAY_{name}=") for p in problems(ONE | {f"GATEWAY_{name}": value}))


def test_each_variable_has_values_that_are_refused() -> None:
    assert BAD.keys() == {var.name for var in VARIABLES}


@pytest.mark.parametrize("name", PER_SITE)
def test_a_prefixed_value_is_held_to_the_same_rule(name: str) -> None:
    (value, *_) = BAD[name]
    full = f"GATEWAY_MY_BLOG_{name}"
    assert only_problem(TWO | {full: value}).startswith(f"{full}={value!r} must be ")


def test_a_bad_default_for_all_sites_is_reported_once() -> None:
    assert only_problem(TWO | {"GATEWAY_KEEP_S": "x"}).startswith("GATEWAY_KEEP_S='x' must be ")


def test_the_known_injection_is_refused_naming_the_variable() -> None:
    assert only_problem(ONE | {"GATEWAY_DOMAIN": INJECTION}).startswith(f"GATEWAY_DOMAIN={INJECTION!r} must")


# Independent of gateway.settings.rules on purpose: what may never reach a rendered file.
DANGEROUS = re.compile(r"""[;{}$"'\\\s\x00-\x1f\x7f-\x9f]""")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
TRICKY = st.sampled_from([*";{}$\"'\\ \n\r\t\x00\x7f\u2028#*%~^|<>`", "%0a", "..", "//", "--", ",", "\u212a"])


def texts_near(valid: str) -> st.SearchStrategy[str]:
    """Any text, and an accepted one with something put somewhere into it."""
    spliced = st.builds(
        lambda at, put: valid[:at] + put + valid[at:],
        st.integers(0, len(valid)),
        TRICKY | st.text(max_size=3),
    )
    return st.text() | spliced


@st.composite
def settings_with_one_arbitrary_value(draw: st.DrawFn) -> tuple[dict[str, str], str]:
    base, prefix = draw(st.sampled_from([(ONE, "GATEWAY_"), (TWO, "GATEWAY_SHOP_"), (TWO, "GATEWAY_")]))
    var = draw(st.sampled_from(VARIABLES))
    own = "GATEWAY_" if var.scope is Scope.GATEWAY else prefix
    return base | {own + var.name: draw(texts_near(var.example))}, own + var.name


@given(settings_with_one_arbitrary_value())
@example((ONE | {"GATEWAY_DOMAIN": INJECTION}, "GATEWAY_DOMAIN"))
@example((ONE | {"GATEWAY_PROBE_PATH": "/\n"}, "GATEWAY_PROBE_PATH"))
def test_any_text_is_refused_naming_its_variable_or_is_harmless(case: tuple[dict[str, str], str]) -> None:
    env, name = case
    try:
        settings = parse(env)
    except SettingsInvalid as refused:
        assert any(name in problem for problem in refused.problems)
        assert all(len(problem.splitlines()) == 1 for problem in refused.problems)
        return
    rendered = [settings.state_dir, settings.network or ""]
    for site in settings.sites:
        rendered += [site.name, *site.domains, site.service, site.stack_file, site.probe.path]
        assert 0 < site.port < 65536
        assert not CONTROL.search(site.probe.body or "")
    assert [text for text in rendered if DANGEROUS.search(text)] == []


@given(st.dictionaries(st.sampled_from(sorted(TWO | ONE)) | st.text().map("GATEWAY_".__add__), st.text()))
def test_any_environment_gives_settings_or_problems(env: dict[str, str]) -> None:
    try:
        assert parse(env).sites
    except SettingsInvalid as refused:
        assert refused.problems
