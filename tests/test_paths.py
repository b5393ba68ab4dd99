"""Shared domains as rendered: which host and path lead to which site, and to nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.configuration import Good
from gateway.adapters.folder import Folder, Snippet
from gateway.adapters.nginx_test import Refusal
from gateway.adapters.own_text import files_of
from gateway.adapters.render import SHARED, Place, Renderer, render
from gateway.agent.candidate import Candidate
from gateway.agent.composing import compose
from gateway.agent.texts import Certificates, SiteTexts
from gateway.core import syntax
from gateway.core.model import Site
from gateway.core.parseback import INSIDE, Frame, differences, halves, shared_differences
from gateway.core.roster import Standing
from gateway.core.servers import Act, Shared, servers, shared
from gateway.core.serving import Certificate, HttpsMethod, Tls
from gateway.settings.places import SiteFile
from gateway.settings.sources import desire

PLACE = Place(conf_dir="/c", routing_dir="/r", tls_dir="/t")
FRAME = Frame(80, PLACE.edge, "/t", "/r", PLACE.conf_dir, PLACE.run_dir)
PAIR = Certificate("chain", "key", expires_at=1e10)
PAIRS = {"x.test": PAIR, "*.x.test": PAIR}
SHOP = Site("shop", ("x.test",), "app", 8000, "/s", path="/")
BLOG = replace(SHOP, name="blog", path="/blog", domains=("x.test", "y.test"))


def together(*sites: Site, certificates: dict[str, Certificate] | None = None) -> tuple[Shared, ...]:
    return shared((site, servers(site, certificates or {})) for site in sites)


def routes(*sites: Site) -> dict[tuple[str, str], str]:
    """What nginx would find, from the files alone: (name, path that is matched) -> whose it is."""
    files = render(sites, PLACE).files
    found = {}
    for server in syntax.parse(files.get(SHARED, "")):
        (names,) = (d.words[1:] for d in server.block or () if d.name == "server_name")
        for include in (d for d in server.block or () if d.name == "include"):
            for location in syntax.parse(files["paths/" + include.words[1].rsplit("/", 1)[1]]):
                targets = {
                    d.words[1]
                    for d in location.walk()
                    if d.name == "proxy_pass" and d.words[1] != "http://$gateway_slot"
                }
                for name in names if targets else ():
                    where = "".join(location.words[1:])
                    if where.startswith(("@", "=/.gateway/")):
                        continue  # no request begins there
                    assert (name, where) not in found
                    (found[name, where],) = {
                        target.removeprefix("http://").rpartition("_")[0] for target in targets
                    }
    return found


def test_a_path_leads_to_its_site_at_the_border_of_a_segment() -> None:
    assert routes(SHOP, BLOG) == {
        ("x.test", "/"): "shop",
        ("x.test", "=/blog"): "blog",
        ("x.test", "/blog/"): "blog",
        ("y.test", "=/blog"): "blog",
        ("y.test", "/blog/"): "blog",
    }


_PATHS = st.lists(st.sampled_from(["a", "b", "a.b", "ab"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
_HOSTS = st.lists(st.sampled_from(["x.test", "*.x.test", "y.test"]), min_size=1, unique=True).map(tuple)


@given(
    st.lists(st.tuples(_HOSTS, _PATHS), max_size=6),
    st.sampled_from(HttpsMethod),
    st.sampled_from([{}, PAIRS]),
)
@settings(max_examples=60, deadline=None)
def test_what_was_rendered_is_the_model(
    places: list[tuple[tuple[str, ...], str]], method: HttpsMethod, certificates: dict[str, Certificate]
) -> None:
    sites, taken = [], set()
    for number, (hosts, path) in enumerate(places):
        free = tuple(host for host in hosts if (host, path) not in taken)
        taken |= {(host, path) for host in free}
        if free:
            sites.append(replace(SHOP, name=f"s{number}", domains=free, path=path, tls=Tls(method)))
    want = {}
    for site in sites:
        for host in site.domains:
            for where in ["/"] if site.path == "/" else [f"={site.path}", f"{site.path}/"]:
                want[host, where] = site.name
    assert routes(*sites) == want
    for site in sites:
        own = servers(site, certificates)
        assert differences(Renderer(PLACE).site(site, own), site, own, FRAME) == []
    render(sites, PLACE, certificates)  # raises where the shared servers are not the model's


def test_over_https_all_paths_of_a_domain_are_redirected_alike() -> None:
    found = together(SHOP, BLOG, certificates={"x.test": PAIR})
    assert {(one.server.names, one.server.answer.act, tuple(s.name for s in one.sites)) for one in found} == {
        (("x.test",), Act.REDIRECT, ()),
        (("x.test",), Act.SERVE, ("shop", "blog")),
        (("y.test",), Act.SERVE, ("blog",)),
    }


def test_a_domain_without_a_site_at_its_root_says_404_there() -> None:
    text = render([BLOG], PLACE).files[SHARED]
    assert "return 404;" in text
    assert "return 404;" not in render([SHOP, replace(BLOG, domains=("x.test",))], PLACE).files[SHARED]


def test_a_site_without_a_path_is_rendered_as_if_nobody_had_one() -> None:
    alone = replace(SHOP, name="alone", domains=("z.test",), path=None)
    files = render([alone, SHOP], PLACE).files
    assert files["sites/alone.conf"] == render([alone], PLACE).files["sites/alone.conf"]
    assert SHARED not in render([alone], PLACE).files
    assert "paths/alone.conf" not in files


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("location = /blog {", "location = /blogger {", "'location = /blogger' is not the site's"),
        ("location /blog/ {", "location /blog {", "'location /blog/' is missing"),
        (INSIDE, INSIDE + "location /x { return 200; }\n", "'location /x' is not the site's"),
        (INSIDE, INSIDE + "deny all;\n", "'deny all' is not the site's"),
        (INSIDE, "server { listen 80; server_name x.test; }\n" + INSIDE, "is not the site's"),
        (INSIDE, "", "'location /blog/' beside the site's"),
        (
            "proxy_pass http://blog_blue",
            "proxy_pass http://shop_blue",
            "'proxy_pass http://shop_blue' is not",
        ),
    ],
)
def test_every_difference_of_a_site_with_a_path_is_found(before: str, after: str, why: str) -> None:
    own = servers(BLOG, {})
    text = Renderer(PLACE).site(BLOG, own)
    assert before in text
    assert why in "\n".join(differences(text.replace(before, after, 1), BLOG, own, FRAME))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("paths/blog.conf", "paths/shop.conf"),
        ("include /c/", "include /other/"),
        ("server_name x.test", "server_name z.test"),
        ("listen 80", "listen 81"),
        ("location / {", "location /x { return 200; } location / {"),
        ("\nserver {", "\nmap $a $b { } server {"),
    ],
)
def test_every_difference_of_a_shared_server_is_found(before: str, after: str) -> None:
    rendered = render([SHOP, BLOG], PLACE)
    text, conf_dir = rendered.files[SHARED], f"/c/{rendered.generation}"
    assert shared_differences(text, together(SHOP, BLOG), FRAME, conf_dir) == []
    assert before in text
    assert shared_differences(text.replace(before, after, 1), together(SHOP, BLOG), FRAME, conf_dir) != []


def made(
    snippets: dict[str, Snippet] | None = None, good: dict[str, Good] | None = None, **broken: str
) -> Candidate:
    values = {"DOMAIN": "x.test", "UPSTREAM": "app:80"}
    files = [
        SiteFile("shop", values | {"PATH_PREFIX": "/"}),
        SiteFile("blog", values | {"PATH_PREFIX": "/blog"} | broken),
    ]
    folder = Folder(files=tuple(files), snippets=snippets or {})
    certificates = Certificates(CertificateFolder("/nowhere", now=0))
    return compose(SiteTexts(), PLACE, folder, desire({}, files), good=good or {}, certificates=certificates)


def standing(found: Candidate) -> dict[str, Standing]:
    return {name: entry.standing for name, entry in found.roster().entries.items()}


def test_a_broken_site_answers_503_under_its_path_and_the_other_is_as_it_was() -> None:
    whole, found = made().rendered().files, made(KEEP_S="x")
    assert standing(found) == {"shop": Standing.CURRENT, "blog": Standing.UNAVAILABLE}
    files = found.rendered().files
    assert all(files.get(name) == whole.get(name) for name in files_of("shop"))
    assert [d.words for d in syntax.parse(files["paths/blog.conf"])] == [
        ("location", "=", "/blog"),
        ("location", "/blog/"),
        ("location", "@unavailable_blog"),
    ]
    assert files[SHARED].count("include") == 2
    assert found.roster().entries["blog"].domains == ("x.test/blog",)


def test_with_a_last_good_configuration_it_keeps_that_one() -> None:
    before = made()
    found = made(good=before.good(), KEEP_S="x")
    assert standing(found) == {"shop": Standing.CURRENT, "blog": Standing.LAST_GOOD}
    assert found.rendered() == before.rendered()


def test_a_site_that_is_left_out_leaves_its_path_to_the_root() -> None:
    found = made(KEEP_S="x")
    found.demote("blog", "nginx: refused")
    files = found.rendered().files
    assert standing(found)["blog"] is Standing.LEFT_OUT
    assert (files[SHARED].count("include"), "paths/blog.conf" in files) == (1, False)


def test_nginx_s_refusal_of_either_file_is_the_site_s() -> None:
    assert [made().blamed(Refusal("no", file)) for file in files_of("blog")] == [["blog"], ["blog"]]
    assert made().blamed(Refusal("no", SHARED)) == []


def test_a_snippet_stands_in_the_site_s_own_locations() -> None:
    files = made({"blog": Snippet("deny all;")}).rendered().files
    assert next(d.name for d in syntax.parse(files["paths/blog.conf"])[0].block or ()) == "deny"
    assert files["paths/blog.conf"].count("deny all;") == 4  # also for who was held, or is asked for again
    assert "deny" not in files[SHARED] + files["paths/shop.conf"] + files["sites/blog.conf"]


def test_a_snippet_with_a_location_is_refused_there() -> None:
    found = made({"blog": Snippet("location /blog/x { return 200; }")})
    assert standing(found) == {"shop": Standing.CURRENT, "blog": Standing.UNAVAILABLE}
    assert "in the site's locations already" in "".join(found.roster().entries["blog"].reasons)


def test_a_session_s_cookie_is_for_the_path() -> None:
    text = render([replace(BLOG, session_timeout_s=60.0)], PLACE).files["sites/blog.conf"]
    assert "Path=/blog; $gateway_cookie_kind" in text


def test_the_halves_of_a_text_without_a_path_are_itself_and_nothing() -> None:
    assert halves("server {}") == ("server {}", "")
