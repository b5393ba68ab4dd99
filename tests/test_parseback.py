"""What was rendered is read back: whatever slips past the settings' allow-lists is found here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.render import Place, Renderer
from gateway.core.model import Site, Strategy
from gateway.core.parseback import Frame, differences
from gateway.core.servers import servers
from gateway.core.serving import Certificate, Edge, HttpsMethod, Protocol, Proxying, Tls
from tests.settings_cases import INJECTION

SHOP = Site("shop", ("shop.test", "*.shop.test"), "app", 8000, "/stacks/stack.yaml")
PAIR = Certificate("chain", "key", expires_at=0)
PLACE = Place(http_port=8080, routing_dir="/r", tls_dir="/t", edge=Edge(http3=True))
FRAME = Frame(8080, PLACE.edge, "/t", "/r", PLACE.conf_dir, PLACE.run_dir)


def rendered(site: Site, certificates: dict[str, Certificate] | None = None) -> str:
    return Renderer(PLACE).site(site, servers(site, certificates or {}))


def found(text: str, site: Site = SHOP, certificates: dict[str, Certificate] | None = None) -> list[str]:
    return differences(text, site, servers(site, certificates or {}), FRAME)


@pytest.fixture(scope="module")
def text() -> str:
    return rendered(SHOP)


@pytest.mark.parametrize("method", HttpsMethod)
@pytest.mark.parametrize("certificates", [{}, {"shop.test": PAIR}, {"shop.test": PAIR, "*.shop.test": PAIR}])
@pytest.mark.parametrize(
    "site",
    [
        SHOP,
        replace(SHOP, name="my-shop", redirects=(("www.shop.test", "shop.test"),)),
        replace(SHOP, proxying=Proxying(protocol=Protocol.GRPC, rate_limit="9r/s", connection_limit=7)),
        replace(SHOP, name="my-shop", steps=(1, 10), session_timeout_s=60.0),
        replace(SHOP, old_assets=("/assets/", "/a/b/"), session_timeout_s=60.0),
        replace(SHOP, path="/blog", old_assets=("/blog/assets/",)),
        replace(SHOP, preview_token_file="/t", session_timeout_s=60.0),
        replace(SHOP, path="/blog", preview_token_file="/t", proxying=Proxying(protocol=Protocol.GRPC)),
        replace(SHOP, name="my-shop", strategy=Strategy.ROLLING),
        replace(SHOP, strategy=Strategy.ROLLING, proxying=Proxying(protocol=Protocol.GRPC)),
    ],
    ids=[
        *("plain", "with www", "gRPC with limits", "steps and sessions", "old assets", "of a path"),
        *("preview", "preview of a path"),
        *("rolling", "rolling gRPC"),
    ],
)
def test_what_was_rendered_is_the_site(
    site: Site, certificates: dict[str, Certificate], method: HttpsMethod
) -> None:
    site = replace(site, tls=Tls(method, hsts_s=60))
    assert found(rendered(site, certificates), site, certificates) == []


@pytest.mark.parametrize(
    "evil",
    [
        replace(SHOP, domains=(INJECTION,)),
        replace(SHOP, domains=("shop.test; return 200",)),
        replace(SHOP, domains=("shop.test blog.test",)),
        replace(SHOP, domains=("shop.test; } server { listen 8080; server_name blog.test",)),
        replace(SHOP, port="80 backup; server evil:80"),  # type: ignore[arg-type]
        replace(SHOP, name="shop{}"),
        replace(SHOP, name="shop_blue { server evil:1; } upstream x"),
    ],
    ids=lambda site: f"{site.name[:9]}-{site.domains[0][:30]}-{site.port}",
)
def test_a_value_that_became_configuration_is_found(evil: Site) -> None:
    """Past the settings, which refuse it: as if their rules had a hole."""
    assert found(rendered(evil), evil) != []


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("server_name shop.test *.shop.test", "server_name shop.test", "*.shop.test' is missing"),
        ("server_name shop.test", "server_name x.test shop.test", "x.test shop.test *.shop.test' is not the"),
        ("listen 8080", "listen 81", "'listen 81; server_name"),
        ("listen 8080", "listen 8080 default_server", "'listen 8080 default_server; server_name"),
        ("listen 8080", "listen 8080; listen unix:/run/x.sock", "listen unix:/run/x.sock"),
        ("set $gateway_slot", "ssl_certificate /x; set $gateway_slot", "ssl_certificate /x"),
        ("location /", "location /x { server_name y; } location /", "inside a block"),
        (
            "proxy_pass http://shop_blue",
            "proxy_pass http://blog_blue",
            "'proxy_pass http://blog_blue' is not",
        ),
        ("proxy_pass http://shop_blue", "fastcgi_pass x:1", "'fastcgi_pass x:1' is not"),
        ("server shop-blue:8000", "server evil:8000", "'shop_blue evil:8000' is not the site's"),
        (
            "server {",
            "server { listen 8080; server_name shop.test *.shop.test; } server {",
            "is not the site's",
        ),
        ("root /r/shop", "root /etc", "leads out of"),
        ("upstream shop_blue", "upstream blog_blue", "beside the site's servers"),
        ("upstream shop_blue", "map $a $b {} upstream shop_blue", "beside the site's servers"),
        ("upstream shop_blue", "load_module x; upstream shop_blue", "beside the site's servers"),
        ("set $gateway_slot", "} set $gateway_slot", "can't be read back"),
    ],
)
def test_every_difference_is_found(text: str, before: str, after: str, why: str) -> None:
    assert before in text
    assert why in "\n".join(found(text.replace(before, after, 1)))
