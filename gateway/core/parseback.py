"""What a site's rendered file says, read back and compared with the site: nothing else got in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.core import syntax
from gateway.core.model import Site, Slot, Strategy
from gateway.core.servers import Act, Server, Shared
from gateway.core.serving import Edge, Protocol
from gateway.core.syntax import Directive

# Where files may be served from; what a literal path below them leads to is meant for visitors.
PUBLIC = ("/usr/share/nginx/html", "/var/www", "/srv")
# Ends what stands beside servers; what follows stands in the servers that the site shares by path.
INSIDE = "# In the servers of its domains:\n"
_OF_A_SERVER = ("listen", "server_name", "ssl_certificate", "ssl_certificate_key")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a site's file may refer to besides the site: ports, and where things lie."""

    http_port: int
    edge: Edge
    tls_dir: str
    routing_dir: str
    conf_dir: str
    run_dir: str


def differences(
    text: str, site: Site, servers: Sequence[Server], frame: Frame, *, own_page: bool = False
) -> list[str]:
    """Where the file is not the site's; empty when it is. `servers` are those that it is to have.

    `own_page`: its maintenance page is a file.
    """
    try:
        tree, inside = (syntax.parse(half) for half in halves(text))
    except syntax.SyntaxRefused as error:
        return [f"what was rendered can't be read back: {error}"]
    everything = [inner for top in (*tree, *inside) for inner in top.walk()]
    serves = site.path is not None or any(server.answer.act is Act.SERVE for server in servers)
    alone = servers if site.path is None else ()
    folders = (*PUBLIC, f"{frame.routing_dir}/{site.name}", frame.edge.acme_dir)
    page = f"{frame.conf_dir}/live/pages/{site.name}.html"
    return [
        *_foreign(tree, site),
        *_unequal("server", _servers(tree), [_said(_expected(server, frame)) for server in alone]),
        *_unequal("location", [_text(top.words) for top in inside], own_locations(site, own_page=own_page)),
        *_unequal("target", _targets(everything), _own_targets(site, frame) if serves else ()),
        *_unequal("slot", _slots(everything) - {""}, _own_slots(site) if serves else ()),
        *_unequal("upstream server", _upstreams(tree), _own_upstreams(site)),
        *_nested(inner for top in tree for inner in top.block or ()),
        *_nested(inside),
        *_paths(everything, (*folders, page)),
    ]


def halves(text: str) -> tuple[str, str]:
    """A site's text: what stands beside servers or is some, and what stands in those that it shares."""
    before, _, after = text.partition(INSIDE)
    return before, after


def own_locations(site: Site, *, own_page: bool = False) -> tuple[str, ...]:
    """Of a site with a path: the path itself and what is below it, never what merely begins alike."""
    if site.path is None:
        return ()
    under = ("location /",) if site.path == "/" else (f"location = {site.path}", f"location {site.path}/")
    assets = [f"location {path}" for path in site.old_assets]
    assets += [f"location @{what}_{site.name}" for what in ("assets", "older", "again") if site.old_assets]
    if site.preview_token_file:
        assets += [f"location @{what}_{site.name}" for what in ("preview", "candidate")]
        assets += [f"location = /.gateway/preview/{site.name}"]
    proxying = site.proxying
    again = () if proxying.protocol is Protocol.GRPC or proxying.stream_uploads else ("next",)
    closed = [f"location @{what}_{site.name}" for what in ("live", "hold", "maintenance", *again)]
    pages = [f"location = /.gateway/maintenance/{site.name}"] if own_page else []
    return (*under, *assets, *closed, f"location = /.gateway/hold/{site.name}", *pages)


def shared_differences(text: str, together: Sequence[Shared], frame: Frame, conf_dir: str) -> list[str]:
    """Where the servers of sites with a path are not those; empty when they are."""
    try:
        tree = syntax.parse(text)
    except syntax.SyntaxRefused as error:
        return [f"the shared servers can't be read back: {error}"]
    found = [
        _said(_text(d.words) for d in _named(top.block or (), *_OF_A_SERVER, "include", "location"))
        for top in tree
    ]
    wanted = []
    for one in together:
        said = _expected(one.server, frame)
        said += [f"include {conf_dir}/paths/{site.name}.conf" for site in one.sites]
        said += ["location ^~ /.well-known/acme-challenge/"] if one.server.answer.http else []
        said += [] if one.has_rest else ["location /"]
        wanted.append(_said(said))
    foreign = [
        f"line {top.line}: {_text(top.words)!r} is no server" for top in tree if top.words != ("server",)
    ]
    blocks = (inner for top in tree for inner in top.block or ())
    return [*foreign, *_unequal("shared server", found, wanted), *_nested(blocks)]


def is_below(path: str, folders: Iterable[str]) -> bool:
    """A literal path in one of the folders, without a way out of it."""
    return (
        "$" not in path
        and ".." not in path.split("/")
        and any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
    )


def _named(directives: Iterable[Directive], *names: str) -> Iterator[Directive]:
    return (d for d in directives if d.name in names)


def _unequal(what: str, found: Collection[str], wanted: Collection[str]) -> Iterator[str]:
    for extra in sorted(Counter(found) - Counter(wanted)):
        yield f"{what} {extra!r} is not the site's"
    for missing in sorted(Counter(wanted) - Counter(found)):
        yield f"{what} {missing!r} is missing"


def _foreign(tree: Iterable[Directive], site: Site) -> Iterator[str]:
    """What stands beside the servers: only what has the site's name."""
    name = re.escape(site.name)
    own = (
        rf"upstream {name}_(?:blue|green)",
        rf"map \$scheme \$gateway_hsts_{re.escape(site.name.replace('-', '_'))}",
        rf"limit_req_zone \$binary_remote_addr zone={name}_rate:1m rate=\S+",
        rf"limit_conn_zone \$binary_remote_addr zone={name}_connections:1m",
        "server",
        *(re.escape(_text(words)) for words in (*_of_sessions(site), *_of_wishes(site))),
    )
    for top in tree:
        said = _text(top.words)
        if not any(re.fullmatch(pattern, said) for pattern in own):
            yield f"line {top.line}: {said!r} beside the site's servers and upstreams"


def _of_wishes(site: Site) -> Iterator[Sequence[str]]:
    if site.steps and site.canary_override:
        zone = site.name.replace("-", "_")
        picked = f"$gateway_pick_{zone}" if site.session_timeout_s else "$gateway_choice"
        yield "map", f"{picked} $http_x_gateway_canary $cookie_gateway_canary", f"$gateway_wish_{zone}"


def _of_sessions(site: Site) -> Iterator[Sequence[str]]:
    if not site.session_timeout_s:
        return
    zone = site.name.replace("-", "_")
    cookie = f"$cookie_gateway_{zone}"
    yield "map", f"$gateway_routing {cookie}", f"$gateway_pick_{zone}"
    yield "map", f"$gateway_release {cookie}", f"$gateway_cookie_{zone}"
    yield "map", f"$gateway_held_release {cookie}", f"$gateway_held_cookie_{zone}"
    yield "map", "$gateway_now", f"$gateway_new_cookie_{zone}"
    yield "map", cookie, f"$gateway_mine_{zone}"
    yield "log_format", f"gateway_held_{zone}", f"$gateway_slot/held $status {cookie}"


def _nested(blocks: Iterable[Directive]) -> Iterator[str]:
    """What belongs to a server stands directly in it, where `_servers` has seen it."""
    below = (inner for block in blocks for inner in block.walk() if inner is not block)
    for d in _named(below, *_OF_A_SERVER):
        yield f"line {d.line}: {d.name!r} inside a block of a server"


def _servers(tree: Iterable[Directive]) -> list[str]:
    """Each server as one text: its names, how it listens, its certificate."""
    return [
        _said(_text(d.words) for d in _named(top.block or (), *_OF_A_SERVER))
        for top in _named(tree, "server")
    ]


def _expected(server: Server, frame: Frame) -> list[str]:
    answer, edge = server.answer, frame.edge
    said = [_text(["server_name", *server.names])]
    if answer.http:
        said.append(f"listen {frame.http_port}")
    if answer.certificate:
        pair = f"{frame.tls_dir}/{answer.certificate.digest}"
        said += [f"ssl_certificate {pair}.crt", f"ssl_certificate_key {pair}.key"]
        said += [f"listen {edge.https_port} {kind}" for kind in ("ssl", "quic")[: 1 + edge.http3]]
    return said


def _text(words: Iterable[str]) -> str:
    """Two words are never taken for one, nor one for two."""
    return " ".join(word.replace(" ", r"\ ") for word in words)


def _said(directives: Iterable[str]) -> str:
    return "; ".join(sorted(directives))


def _targets(everything: Iterable[Directive]) -> set[str]:
    return {_text(d.words) for d in everything if d.name.endswith("_pass")}


def _own_targets(site: Site, frame: Frame) -> set[str]:
    call = "grpc_pass grpc" if site.proxying.protocol is Protocol.GRPC else "proxy_pass http"
    held = f"proxy_pass http://unix:{frame.run_dir}/hold.sock:/{site.name}"
    targets = [*(f"{site.name}_{slot}" for slot in Slot), "$gateway_slot"]
    targets += ["$gateway_older"] if site.old_assets else []
    targets += [f"$gateway_slot:{site.port}"] if site.strategy is Strategy.ROLLING else []
    asked = {f"{held}/preview"} if site.preview_token_file else set()
    return {held, *asked, *(f"{call}://{to}" for to in targets)}


def _slots(everything: Iterable[Directive]) -> set[str]:
    """What the variable that a target may be is set to."""
    return {_text(d.words[2:]) for d in _named(everything, "set") if d.words[1] == "$gateway_slot"}


def _own_slots(site: Site) -> set[str]:
    part = ("$gateway_part",) if site.strategy is Strategy.ROLLING else ()
    previewed = ("$gateway_candidate",) if site.preview_token_file else ()
    return {f"{site.name}_{slot}" for slot in (*Slot, "$gateway_to", *part, *previewed)}


def _upstreams(tree: Iterable[Directive]) -> set[str]:
    return {
        _text([*top.words[1:], server.words[1]])
        for top in _named(tree, "upstream")
        for server in _named(top.block or (), "server")
        if len(server.words) > 1
    }


def _own_upstreams(site: Site) -> set[str]:
    return {f"{site.name}_{slot} {site.name}-{slot}:{site.port}" for slot in Slot}


def _paths(everything: Iterable[Directive], folders: Collection[str]) -> Iterator[str]:
    for d in _named(everything, "root", "alias"):
        if not (len(d.words) == 2 and is_below(d.words[1], folders)):
            yield f"line {d.line}: {' '.join(d.words)!r} leads out of {', '.join(folders)}"
