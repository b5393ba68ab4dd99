"""Environment and site files: whose mistake concerns whom."""

from __future__ import annotations

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings.parsing import at_start, parse_site
from gateway.settings.places import SiteFile
from gateway.settings.sources import Desired, Known, desire
from tests.settings_cases import INJECTION, ONE, TWO, held_by


def file(name: str, domain: str = "", **more: str) -> SiteFile:
    return SiteFile(name, {"DOMAIN": domain or f"{name}.test", "UPSTREAM": "app:8000", **more})


def domains(desired: Desired) -> dict[str, tuple[str, ...]]:
    return {name: wanted.site.domains for name, wanted in desired.wanted.items()}


def reasons(desired: Desired) -> dict[str, str]:
    return {name: "; ".join(refused.reasons) for name, refused in desired.refused.items()}


def test_site_files_stand_beside_the_environment_s_sites() -> None:
    found = desire(ONE, [file("blog"), file("wiki")])
    assert list(found.wanted) == ["site", "blog", "wiki"]
    assert [site.name for site in found.settings.sites] == ["site", "blog", "wiki"]
    assert found.wanted["blog"].site.stack_file == "/stacks/blog.yaml"


def test_a_site_file_may_write_the_prefix_or_not() -> None:
    with_prefix = SiteFile("blog", {"GATEWAY_DOMAIN": "blog.test", "GATEWAY_UPSTREAM": "app:8000"})
    assert desire({}, [with_prefix]).wanted == desire({}, [file("blog")]).wanted


def test_with_both_it_is_refused() -> None:
    found = desire({}, [file("blog", GATEWAY_DOMAIN="other.test")])
    assert reasons(found) == {"blog": "DOMAIN is set twice, with GATEWAY_ and without"}


def test_what_is_shared_holds_for_site_files_too_and_what_is_one_site_s_own_does_not() -> None:
    env = ONE | {"GATEWAY_KEEP_S": "60", "GATEWAY_STACK_FILE": "/stacks/mine.yaml"}
    found = desire(env, [file("blog"), file("wiki", KEEP_S="5")])
    assert [found.wanted[name].site.keep_s for name in ("site", "blog", "wiki")] == [60, 60, 5]
    assert found.wanted["blog"].site.stack_file == "/stacks/blog.yaml"


def test_no_site_at_all_is_fine_where_there_is_a_folder_for_them() -> None:
    assert desire({}, []).wanted == {}
    with pytest.raises(SettingsInvalid, match="no site is set"):
        desire({}, None)


@pytest.mark.parametrize("env", [{"GATEWAY_SITE": "shop"}, {"GATEWAY_STACK_FILE": "/a.yaml"}])
def test_half_a_site_in_the_environment_is_a_mistake_all_the_same(env: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid, match="no site is set"):
        desire(env, [])


def test_a_mistake_of_the_environment_is_everyone_s() -> None:
    with pytest.raises(SettingsInvalid, match="GATEWAY_KEEP_S='x' must be"):
        desire(TWO | {"GATEWAY_KEEP_S": "x"}, [file("wiki")])


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (file("blog", KEEP_S="soon"), "KEEP_S='soon' must be a number of seconds"),
        (file("blog", KEPT_S="1"), "KEPT_S='1' is not a known variable; the nearest is KEEP_S"),
        (file("blog", UPSTREAM=""), "UPSTREAM is empty: must be service:port"),
        (file("blog", HTTP_PORT="81"), "HTTP_PORT='81' is not a known variable"),
        (SiteFile("blog", {}), "DOMAIN is not set: must be"),
        (SiteFile("blog", {}, ("line 1: 'x' is not NAME=value",)), "line 1: 'x' is not NAME=value"),
        (file("blog", INJECTION), "DOMAIN='a.test; location /pwn"),
        (file("Blog"), "the file's name must be .env after a name of up to 31"),
        (file("site"), "'site' is named by the environment too"),
    ],
)
def test_a_mistake_of_a_site_file_is_that_site_s_alone(broken: SiteFile, why: str) -> None:
    found = desire(ONE, [broken, file("wiki")])
    assert domains(found) == {"site": ("shop.example.com",), "wiki": ("wiki.test",)}
    assert list(found.refused) == [broken.name]
    assert why in reasons(found)[broken.name]


def test_a_refused_site_has_the_domains_that_are_fine_and_nobody_else_s() -> None:
    broken = file("blog", "blog.test,wiki.test", KEEP_S="x")
    found = desire({}, [broken, file("wiki"), file("c", "blog.test,c.test", KEEP_S="x")])
    assert found.refused["blog"].domains == ("blog.test",)
    assert found.refused["c"].domains == ("c.test",)


def test_of_two_files_with_a_domain_the_later_by_name_is_refused() -> None:
    found = desire({}, [file("a", "x.test"), file("b", "x.test,b.test")])
    assert domains(found) == {"a": ("x.test",)}
    assert reasons(found) == {"b": "DOMAIN: 'x.test' is the domain of a"}
    assert found.refused["b"].domains == ("b.test",)


def test_but_who_has_the_domain_now_keeps_it() -> None:
    found = desire({}, [file("a", "x.test"), file("b", "x.test")], held=held_by(b=("x.test", None)))
    assert domains(found) == {"b": ("x.test",)}


def test_also_while_its_own_file_has_a_mistake() -> None:
    broken = file("b", "x.test", KEEP_S="x")
    found = desire({}, [file("a", "x.test"), broken], held=held_by(b=("x.test", None)))
    assert domains(found) == {}
    assert reasons(found)["a"] == "DOMAIN: 'x.test' is the domain of b"


def test_also_when_its_own_file_says_no_more_which_it_is() -> None:
    found = desire({}, [file("a", "x.test"), SiteFile("b", {})], held=held_by(b=("x.test", None)))
    assert reasons(found)["a"] == "DOMAIN: 'x.test' is the domain of b"


def test_a_domain_of_the_environment_s_site_is_never_a_file_s() -> None:
    found = desire(ONE, [file("a", "shop.example.com")], held=held_by(a=("shop.example.com", None)))
    assert reasons(found) == {"a": "DOMAIN: 'shop.example.com' is the domain of site"}


@pytest.mark.parametrize("env", [ONE, TWO, TWO | {"GATEWAY_KEEP_S": "7", "GATEWAY_SHOP_OBSERVE_S": "3"}])
def test_the_variables_of_a_site_make_the_same_site_again(env: dict[str, str]) -> None:
    """They are what is remembered of it, also when what is shared has changed since."""
    for name, wanted in desire(env, [file("wiki", PROBE_BODY="ok")]).wanted.items():
        assert parse_site(name, wanted.variables, {"GATEWAY_KEEP_S": "1"}).site == wanted.site


def test_what_is_read_at_the_start_needs_no_site_and_leaves_mistakes_to_the_rest() -> None:
    env = {"GATEWAY_CONFIG_DIR": "/config", "GATEWAY_STATE_DIR": "not absolute", "GATEWAY_KEEP_S": "x"}
    found = at_start(env)
    assert (found.config_dir, found.state_dir, found.network) == ("/config", "/var/lib/gateway", None)


def test_only_a_file_that_has_changed_is_looked_over_again() -> None:
    known = Known()
    before = desire(ONE, [file("a"), file("b")], known=known).wanted
    after = desire(ONE, [file("a"), file("b", KEEP_S="1")], known=known).wanted
    assert after["a"] is before["a"]
    assert after["b"].site.keep_s == 1
    shared = desire(ONE | {"GATEWAY_KEEP_S": "7"}, [file("a")], known=known).wanted
    assert shared["a"].site.keep_s == 7
    assert len(known) == 1  # nothing of what is gone is kept


def test_a_domain_of_another_is_told_by_the_variable_that_names_it() -> None:
    theirs = SiteFile("b", {"VIRTUAL_HOST": "x.test", "UPSTREAM": "app:1"})
    assert reasons(desire({}, [file("a", "x.test"), theirs])) == {
        "b": "VIRTUAL_HOST: 'x.test' is the domain of a"
    }


def test_what_is_kept_of_a_site_is_what_was_given() -> None:
    kept = desire(ONE, [file("a", PROBE_BODY="<site>")]).wanted["a"]
    assert (kept.variables["PROBE_BODY"], kept.variables["STACK_FILE"]) == ("<site>", "/stacks/a.yaml")
    assert parse_site("a", kept.variables, {}).site == kept.site
