"""A site with a mistake goes down a ladder of its own; the others stay where they are."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import pytest

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.configuration import Good
from gateway.adapters.folder import Folder, Snippet
from gateway.adapters.nginx_test import Refusal
from gateway.adapters.render import Place, RenderError, templates_dir
from gateway.agent.candidate import Candidate
from gateway.agent.composing import compose
from gateway.agent.texts import Certificates, SiteTexts
from gateway.agent.trial import first_refused
from gateway.core.roster import Standing
from gateway.settings.places import SiteFile
from gateway.settings.sources import desire

PLACE = Place(routing_dir="/r")
BROKEN = Snippet("load_module x;")


def made(
    sites: Mapping[str, str],
    *,
    snippets: Mapping[str, Snippet] | None = None,
    templates: Mapping[str, str] | None = None,
    good: Mapping[str, Good] | None = None,
    waiting: Collection[str] = (),
    texts: SiteTexts | None = None,
) -> Candidate:
    """`sites`: name -> upstream; the domain is <name>.test."""
    files = [SiteFile(name, {"DOMAIN": f"{name}.test", "UPSTREAM": up}) for name, up in sites.items()]
    folder = Folder(files=tuple(files), snippets=snippets or {}, templates=templates or {})
    desired = desire({}, files)
    certificates = Certificates(CertificateFolder("/nowhere", now=0))
    return compose(
        texts or SiteTexts(),
        *(PLACE, folder, desired),
        good=good or {},
        certificates=certificates,
        waiting=waiting,
    )


def standing(candidate: Candidate) -> dict[str, Standing]:
    return {name: entry.standing for name, entry in candidate.roster().entries.items()}


def reasons(candidate: Candidate, name: str) -> str:
    return "; ".join(candidate.roster().entries[name].reasons)


def file(candidate: Candidate, name: str) -> str | None:
    return candidate.rendered().files.get(f"sites/{name}.conf")


def test_sites_without_a_mistake_are_as_configured() -> None:
    found = made({"a": "app:80", "b": "app:81"})
    assert standing(found) == {"a": Standing.CURRENT, "b": Standing.CURRENT}
    assert [site.port for site in found.served()] == [80, 81]


@pytest.mark.parametrize(
    ("snippet", "why"),
    [
        (BROKEN, "snippets/b.conf line 1: 'load_module' runs code"),
        (Snippet("x {{ nothing }};", is_template=True), "snippets/b.conf.j2: 'nothing' is undefined"),
        (Snippet("{% if %}", is_template=True), "snippets/b.conf.j2 line 1:"),
        (Snippet("{{ site.__class__.__mro__ }}", is_template=True), "unsafe"),
        (Snippet("{{ 1 / 0 }}", is_template=True), "division by zero"),
        (Snippet(problem="snippets/b.conf: is not UTF-8"), "snippets/b.conf: is not UTF-8"),
    ],
)
def test_a_bad_snippet_takes_its_site_down_alone(snippet: Snippet, why: str) -> None:
    found = made({"a": "app:80", "b": "app:81"}, snippets={"b": snippet})
    assert standing(found) == {"a": Standing.CURRENT, "b": Standing.UNAVAILABLE}
    assert why in reasons(found, "b")
    assert "server_name b.test;" in (file(found, "b") or "")
    assert "upstream" not in (file(found, "b") or "")


def test_with_a_last_good_configuration_that_one_stays() -> None:
    good = made({"b": "app:81"}).good()
    found = made({"a": "app:80", "b": "app:9999999"}, good=good)
    assert standing(found) == {"a": Standing.CURRENT, "b": Standing.LAST_GOOD}
    assert file(found, "b") == good["b"].text
    assert [site.port for site in found.served()] == [80, 81]
    assert "UPSTREAM='app:9999999' must be" in reasons(found, "b")


def test_refused_by_nginx_it_goes_down_rung_by_rung_and_is_always_named() -> None:
    good = made({"a": "app:80"}).good()
    found = made({"a": "app:81"}, good=good)
    rungs = []
    for reason in ("first", "second", "third"):
        found.demote("a", reason)
        rungs.append(standing(found)["a"])
    assert rungs == [Standing.LAST_GOOD, Standing.UNAVAILABLE, Standing.LEFT_OUT]
    assert reasons(found, "a") == "first; second; third"
    assert file(found, "a") is None


def test_a_last_good_that_is_what_nginx_refused_is_not_tried_again() -> None:
    good = made({"a": "app:80"}).good()
    found = made({"a": "app:80"}, good=good)
    found.demote("a", "nginx says no")
    assert standing(found) == {"a": Standing.UNAVAILABLE}


def test_a_last_good_is_made_anew_with_the_templates_of_today_where_that_is_possible() -> None:
    """What it refers to may be gone by then, as a certificate that was renewed."""
    good = made({"a": "app:80"}, snippets={"a": Snippet("add_header A b;")}).good()
    shipped = (templates_dir() / "site.conf.j2").read_text()
    found = made({"a": "nonsense"}, good=good, templates={"site.conf.j2": shipped + "# today\n"})
    assert (file(found, "a") or "").endswith("# today\n")
    assert "add_header A b;" in (file(found, "a") or "")
    broken = made({"a": "nonsense"}, good=good, templates={"site.conf.j2": "{{ nothing }}"})
    assert file(broken, "a") == good["a"].text


def test_a_last_good_is_not_used_once_its_domain_is_another_s() -> None:
    good = made({"b": "app:81"}).good()
    stolen = {"a": good["b"]}
    found = made({"a": "nonsense", "b": "app:81"}, good=stolen)
    assert standing(found) == {"a": Standing.UNAVAILABLE, "b": Standing.CURRENT}


def test_a_dropped_site_leaves_nginx_but_stays_known() -> None:
    found = made({"a": "app:80"}, good=made({"b": "app:81"}).good())
    assert standing(found) == {"a": Standing.CURRENT, "b": Standing.DROPPED}
    assert file(found, "b") is None
    assert found.roster().entries["b"].site is not None


def test_a_site_with_a_deployment_in_progress_keeps_what_it_has() -> None:
    good = made({"a": "app:80", "b": "app:81"}).good()
    found = made({"a": "app:90"}, good=good, waiting={"a", "b"})
    assert standing(found) == {"a": Standing.WAITING, "b": Standing.WAITING}
    assert [site.port for site in found.served()] == [80, 81]
    assert found.good() == {}
    unchanged = made({"a": "app:80", "b": "app:81"}, good=good, waiting={"a", "b"})
    assert set(standing(unchanged).values()) == {Standing.CURRENT}


@pytest.mark.parametrize(
    ("refusal", "blamed"),
    [
        (Refusal("unknown directive", "sites/b.conf"), ["b"]),
        (Refusal('zero size shared memory zone "nowhere"', None), ["c"]),
        (Refusal("host not found", None), ["b", "c"]),
        (Refusal("in what all share", "http.conf"), []),
        (Refusal('open() "/dev/shm/gateway/observed.log" failed', None), []),
    ],
    ids=[
        "its file is named",
        "a name of its own is quoted",
        "all that is new",
        "a file of no site",
        "what all name",
    ],
)
def test_the_blame_for_a_refusal_is_no_wider_than_it_must(refusal: Refusal, blamed: list[str]) -> None:
    good = made({"a": "app:80"}).good()
    snippets = {"c": Snippet("limit_req zone=nowhere;")}
    found = made({"a": "app:80", "b": "app:80", "c": "app:80"}, good=good, snippets=snippets)
    assert found.blamed(refusal) == blamed


def test_an_own_template_that_says_something_else_than_the_site_is_refused() -> None:
    own = {"site.conf.j2": "server { listen 80; server_name {{ site.name }}.test other.test; }"}
    found = made({"a": "app:80"}, templates=own)
    assert standing(found) == {"a": Standing.UNAVAILABLE}
    assert "a.test other.test' is not the site's" in reasons(found, "a")


def test_an_own_template_stands_before_the_shipped_one() -> None:
    own = {"http.conf.j2": "# mine\ninclude {{ conf_dir }}/sites/*.conf;\n"}
    assert made({"a": "app:80"}, templates=own).rendered().files["http.conf"].startswith("# mine")


def test_an_own_template_that_makes_what_no_file_can_hold_is_a_mistake_of_its_sites_or_of_all() -> None:
    text = "# {{ '\\ud800' }}\n"
    assert "surrogates not allowed" in reasons(made({"a": "app:80"}, templates={"site.conf.j2": text}), "a")
    with pytest.raises(RenderError, match="surrogates not allowed"):
        made({"a": "app:80"}, templates={"http.conf.j2": text}).rendered()


def test_what_stands_outside_http_is_no_own_template_s() -> None:
    own = {"main.conf.j2": "load_module x;"}
    assert "load_module" not in made({"a": "app:80"}, templates=own).rendered().files["main.conf"]


def test_only_what_has_changed_is_rendered_again() -> None:
    texts = SiteTexts()
    first = made({"a": "app:80", "b": "app:81"}, texts=texts).rendered().files
    second = made({"a": "app:80", "b": "app:82"}, texts=texts).rendered().files
    assert first["sites/a.conf"] is second["sites/a.conf"]
    assert first["sites/b.conf"] != second["sites/b.conf"]


LOOP = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LOOP, "snippets/b.conf.j2 does not end within 3 s"),
        ("{{ 9 ** (9 ** 9) }}", "snippets/b.conf.j2 does not end within 3 s"),
        ("{{ 'x' * 4000000000 }}", "MemoryError"),
        ("{{ '#' * 5000000 }}", "snippets/b.conf.j2 makes more than"),
    ],
    ids=["loops", "one operation", "memory", "output"],
)
def test_a_snippet_without_an_end_takes_its_site_down_alone(text: str, why: str) -> None:
    began = time.monotonic()
    found = made(
        {"a": "app:80", "b": "app:81", "c": "app:82"}, snippets={"b": Snippet(text, is_template=True)}
    )
    assert standing(found) == {"a": Standing.CURRENT, "b": Standing.UNAVAILABLE, "c": Standing.CURRENT}
    assert why in reasons(found, "b")
    assert time.monotonic() - began < 10


def test_an_own_template_without_an_end_is_waited_for_once() -> None:
    """However many sites are made of it."""
    began = time.monotonic()
    found = made({f"s{n}": "app:80" for n in range(9)}, templates={"site.conf.j2": LOOP})
    assert set(standing(found).values()) == {Standing.UNAVAILABLE}
    assert "site.conf.j2 does not end within 3 s" in reasons(found, "s8")
    assert time.monotonic() - began < 10


def test_a_snippet_of_no_site_is_told_and_changes_nothing() -> None:
    found = made({"a": "app:80"}, snippets={"typo": Snippet("gzip on;"), "b": Snippet("x", is_template=True)})
    assert standing(found) == {"a": Standing.CURRENT}
    assert found.roster().problems == (
        "snippets/typo.conf: there is no site 'typo'",
        "snippets/b.conf.j2: there is no site 'b'",
    )


def test_the_one_that_nginx_refuses_is_found_by_halving() -> None:
    for guilty in range(1, 1001):
        asked: list[int] = []

        def refused(count: int, guilty: int = guilty, asked: list[int] = asked) -> bool:
            asked.append(count)
            return count >= guilty

        assert first_refused(1000, refused) == guilty
        assert len(asked) <= 11
    assert first_refused(1000, lambda _: True) == 0  # what all share is to blame


def test_a_candidate_without_some_sites_leaves_the_candidate_as_it_is() -> None:
    found = made({"a": "app:80", "b": "app:81"}, good=made({"a": "app:79"}).good())
    other = found.without(["a", "b"])
    assert standing(other) == {"a": Standing.LAST_GOOD, "b": Standing.UNAVAILABLE}
    assert set(standing(found).values()) == {Standing.CURRENT}
