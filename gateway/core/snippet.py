"""What a site's snippet may not say, and why. A snippet stands in the site's `server` block.

It is read on its own first, so that it can't end the block that it stands in. nginx's own test then
refuses what nginx does not know; this list is of what nginx would accept, and of what would run or
write something already while nginx tests it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.core import syntax
from gateway.core.parseback import PUBLIC, is_below
from gateway.core.syntax import Directive

LARGEST = 64 * 1024  # characters
_IN_LOCATION = "can't stand here: the snippet of a site with PATH_PREFIX is in the site's locations already"

# Pattern of a whole name -> why it is refused.
DENIED = tuple(
    (re.compile(names), why)
    for names, why in (
        ("load_module", "runs code of its own, even while nginx tests a configuration"),
        ("include", "brings in a file that nothing has checked"),
        (r".*_by_lua.*|lua_.*|js_.*|njs.*|perl.*|.*_by_njs.*", "runs code inside nginx"),
        ("ssi|ssi_.*", "runs commands that it finds in answers"),
        (
            "user|daemon|env|pid|lock_file|master_process|events|http|mail|stream|worker_.*|thread_pool"
            "|working_directory|debug_.*|timer_resolution|pcre_jit|ssl_engine",
            "belongs to the whole gateway",
        ),
        ("error_log", "writes a file; errors go to the container's log"),
        (".*_cache_path|.*_temp_path|.*_store|.*_store_access|client_body_in_file_only", "writes files"),
        ("dav_.*|create_full_put_path|min_delete_depth", "lets visitors write files"),
        ("autoindex.*|random_index", "lists what lies in a directory"),
        ("stub_status|status.*|api|upstream_conf", "tells of other sites"),
        ("server|listen|server_name|upstream", "is the site's own: its variables say it"),
        ("ssl_.*|http2.*|http3.*|quic.*", "is set by the site's variables"),
        ("resolver.*", "is the gateway's: Docker's DNS"),
        ("(?:fastcgi|uwsgi|scgi|grpc|memcached|tunnel|js)_pass", "leads past the site's upstreams"),
        (
            "proxy_set_header|proxy_pass_request_headers",
            "replaces every header that the gateway sets: nginx does not merge them",
        ),
        ("set_real_ip_from|real_ip_.*", "says whose word is taken for a visitor's address"),
        (
            "underscores_in_headers|ignore_invalid_headers|merge_slashes",
            "changes how a request is read; a proxy and an application that differ in it can be tricked",
        ),
        ("open_file_cache.*|disable_symlinks", "would hide a switch from nginx"),
        ("limit_conn_dry_run", "turns the count of a drain into a limit"),
        ("mirror.*", "sends requests twice, past the count of a drain"),
    )
)


def refusals(text: str, *, in_location: bool = False) -> list[str]:
    """Every reason, with its line; empty when the snippet may go in.

    `in_location`: it stands in the locations of a site that shares its domains by path, not in a server.
    """
    if len(text) > LARGEST:
        return [f"is longer than {LARGEST} characters"]
    try:
        tree = syntax.parse(text)
    except syntax.SyntaxRefused as error:
        return [str(error)]
    everything = [d for top in tree for d in top.walk()]
    found = [f"line {d.line}: {d.name!r} {why}" for d in everything for why in _whys(d)]
    if in_location:
        found += [f"line {d.line}: {d.name!r} {_IN_LOCATION}" for d in everything if d.name == "location"]
    return found


def _whys(d: Directive) -> Iterator[str]:
    for names, why in DENIED:
        if names.fullmatch(d.name):
            yield why
    if any("gateway_" in word for word in d.words):
        yield "uses a name that begins with gateway_: those are the gateway's own"
    if d.name == "access_log" and d.words[1:] != ("off",):
        yield "writes a file; only `access_log off` may stand in a snippet"
    if d.name == "proxy_pass":
        yield "leads past the site's upstreams"
    if d.name in ("root", "alias") and not (len(d.words) == 2 and is_below(d.words[1], PUBLIC)):
        yield f"must name a directory in {', '.join(PUBLIC)}, without variables"
    if any(".." in word.split("/") for word in d.words[1:]):
        yield "holds a path with .. in it"
    if any(_names_a_file(uri) for uri in _own_uris(d)):
        yield "may use $uri and $1 to $9 (anything after ?): other variables let a visitor name the file"
    if d.name.endswith("_file") and any("$" in word for word in d.words[1:]):
        yield "must name its file without variables"


def _own_uris(d: Directive) -> tuple[str, ...]:
    """The words that nginx goes on with as a path of the site, without looking for .. in them again."""
    if d.name == "rewrite" and len(d.words) > 2:
        outside = re.match(r"https?://|\$scheme", d.words[2]) or d.words[-1] in ("redirect", "permanent")
        return () if outside else (d.words[2],)
    return d.words[1:] if d.name in ("try_files", "index", "error_page", "auth_request") else ()


def _names_a_file(uri: str) -> bool:
    return "$" in re.sub(r"\$(?:\{uri\}|uri\b|[1-9])", "", uri.partition("?")[0])
