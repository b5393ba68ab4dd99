"""What a site's rendered file says, read back and compared with the site: nothing else got in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.core import syntax
from gateway.core.model import Site, Slot
from gateway.core.servers import Act, Server
from gateway.core.serving import Edge, Protocol
from gateway.core.syntax import Directive

# Where files may be served from; what a literal path below them leads to is meant for visitors.
PUBLIC = ("/usr/share/nginx/html", "/var/www", "/srv")
_OF_A_SERVER = ("listen", "server_name", "ssl_certificate", "ssl_certificate_key")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a site's file may refer to besides the site: ports, and where certificates and routing lie."""

    http_port: int
    edge: Edge
    tls_dir: str
    routing_dir: str


def differences(text: str, site: Site, servers: Sequence[Server], frame: Frame) -> list[str]:
    """Where the file is not the site's; empty when it is. `servers` are those that it is to have."""
    try:
        tree = syntax.parse(text)
    except syntax.SyntaxRefused as error:
        return [f"what was rendered can't be read back: {error}"]
    everything = [inner for top in tree for inner in top.walk()]
    serves = any(server.answer.act is Act.SERVE for server in servers)
    folders = (*PUBLIC, f"{frame.routing_dir}/{site.name}", frame.edge.acme_dir)
    return [
        *_foreign(tree, site),
        *_unequal("server", _servers(tree), [_expected(server, frame) for server in servers]),
        *_unequal("target", _targets(everything), _own_targets(site) if serves else ()),
        *_unequal("upstream server", _upstreams(tree), _own_upstreams(site)),
        *_nested(tree),
        *_paths(everything, folders),
    ]


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
        *(re.escape(_text(words)) for words in _of_sessions(site)),
    )
    for top in tree:
        said = _text(top.words)
        if not any(re.fullmatch(pattern, said) for pattern in own):
            yield f"line {top.line}: {said!r} beside the site's servers and upstreams"


def _of_sessions(site: Site) -> Iterator[Sequence[str]]:
    if not site.session_timeout_s:
        return
    zone = site.name.replace("-", "_")
    cookie = f"$cookie_gateway_{zone}"
    yield "map", f"$gateway_routing {cookie}", f"$gateway_pick_{zone}"
    yield "map", f"$gateway_release {cookie}", f"$gateway_cookie_{zone}"
    yield "map", f"$gateway_held_release {cookie}", f"$gateway_held_cookie_{zone}"
    yield "log_format", f"gateway_held_{zone}", f"$gateway_slot/held $status {cookie}"


def _nested(tree: Iterable[Directive]) -> Iterator[str]:
    """What belongs to a server stands directly in it, where `_servers` has seen it."""
    below = (
        inner for top in tree for block in top.block or () for inner in block.walk() if inner is not block
    )
    for d in _named(below, *_OF_A_SERVER):
        yield f"line {d.line}: {d.name!r} inside a block of a server"


def _servers(tree: Iterable[Directive]) -> list[str]:
    """Each server as one text: its names, how it listens, its certificate."""
    return [
        _said(_text(d.words) for d in _named(top.block or (), *_OF_A_SERVER))
        for top in _named(tree, "server")
    ]


def _expected(server: Server, frame: Frame) -> str:
    answer, edge = server.answer, frame.edge
    said = [_text(["server_name", *server.names])]
    if answer.http:
        said.append(f"listen {frame.http_port}")
    if answer.certificate:
        pair = f"{frame.tls_dir}/{answer.certificate.digest}"
        said += [f"ssl_certificate {pair}.crt", f"ssl_certificate_key {pair}.key"]
        said += [f"listen {edge.https_port} {kind}" for kind in ("ssl", "quic")[: 1 + edge.http3]]
    return _said(said)


def _text(words: Iterable[str]) -> str:
    """Two words are never taken for one, nor one for two."""
    return " ".join(word.replace(" ", r"\ ") for word in words)


def _said(directives: Iterable[str]) -> str:
    return "; ".join(sorted(directives))


def _targets(everything: Iterable[Directive]) -> set[str]:
    return {_text(d.words) for d in everything if d.name.endswith("_pass")}


def _own_targets(site: Site) -> set[str]:
    call = "grpc_pass grpc" if site.proxying.protocol is Protocol.GRPC else "proxy_pass http"
    return {f"{call}://{site.name}_{slot}" for slot in Slot}


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
