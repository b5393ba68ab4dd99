"""docs/configuration.md, from the table: `python -m gateway.settings.docs > docs/configuration.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from gateway.settings.table import GROUPS, PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable

_INTRO = """\
<!-- Generated: change gateway/settings/table.py or docs.py, then run
     python -m gateway.settings.docs > docs/configuration.md -->
# Configuration

The gateway is set by environment variables. One site needs two:

```
GATEWAY_DOMAIN=shop.example.com
GATEWAY_UPSTREAM=app:8000
```

Several sites are named first. Each then has its own variables, with its name in capitals and `_` for `-`;
what isn't set for a site is taken from the un-prefixed variable, else from the default:

```
GATEWAY_SITES=shop,my-blog
GATEWAY_SHOP_DOMAIN=shop.example.com
GATEWAY_SHOP_UPSTREAM=app:8000
GATEWAY_MY_BLOG_DOMAIN=blog.example.com
GATEWAY_MY_BLOG_UPSTREAM=web:3000
GATEWAY_MY_BLOG_DRAIN_TIMEOUT_S=300
GATEWAY_PROBE_PATH=/health
```

nginx-proxy's names are read too: `VIRTUAL_HOST` for `DOMAIN`, `VIRTUAL_PORT` for the port of `UPSTREAM`,
`VIRTUAL_PATH` for `PATH_PREFIX`, `VIRTUAL_PROTO` for `PROTOCOL`, `CERT_NAME` and `HTTPS_METHOD`. A single
site takes them without a prefix; of several, each takes its own:

```
VIRTUAL_HOST=shop.example.com
VIRTUAL_PORT=8000
GATEWAY_UPSTREAM=app
```

They are set for the gateway, not for the application's container, and name its service in `UPSTREAM`. If the
same is set under our name too, ours counts before an un-prefixed one. Regular expressions and names that end
in `.*` are not taken.

A site may have a file of its own instead, `sites/<name>.env` in the config folder (`GATEWAY_CONFIG_DIR`).
There, the variables are written without a prefix:

```
DOMAIN=wiki.example.com
UPSTREAM=wiki:8080
KEEP_S=60
```

Variables come from the environment, then from `.env` in the config folder; nothing is put in for `$NAME`
there. The folder is watched, so its files may change while the gateway runs; the environment is read at the
start. A mistake in a site's file, in `snippets/<name>.conf` or in `snippets/<name>.conf.j2` concerns that
site alone: it keeps its last good configuration, or answers 503 if it never had one. Of two files with the
same host name, the site that has it keeps it. One in `.env` is logged and shown by `gateway status`, and
nothing changes. A snippet whose site there is not is told there too, and keeps nothing from going live.

A snippet stands in the site's `server` block. Directives that run code, read, write or list files
elsewhere, lead past the site's upstreams or change what belongs to all are refused, each with its reason. A
snippet that ends in `.j2` is a Jinja2 template with the values of `site`. Own `templates/site.conf.j2` and
`templates/http.conf.j2` take the place of the shipped ones.

`maintenance/<name>.html`, else `maintenance.html`, is what visitors get with a 503 while no release is live
or the site is closed: UTF-8, up to 256 KiB, sent as it is. Of one that can't be used `gateway status` tells,
and the shipped page is sent.

The official image's `/etc/nginx/templates/*.template` with their `NGINX_ENVSUBST_*` variables, and files in
`/etc/nginx/conf.d`, are served beside the sites; they are read at the start. nginx takes a directive for all
of `http` once, and the gateway sets some (`nginx -T` shows them), so yours belong in your `server` block;
`resolver` alone may stand outside of it. A host name that a site has stays the site's, and the log says so.

An empty variable counts as unset. The gateway refuses to start with a value that breaks its rule, with an
unknown `GATEWAY_` variable or with a host name in two sites, and names every problem at once.
`gateway config check` says the same of a folder before it is used.
"""

_NOTES = {
    "Each site": """\
With `GATEWAY_SITES`, write `GATEWAY_<SITE>_` for `GATEWAY_`, in the tables below too. <own> then have no
un-prefixed form. No two sites may have a host name in common, those that `WWW` adds included, unless each has
a `PATH_PREFIX` of its own there.

`PATH_PREFIX=/blog` gives a site `/blog` and what is below it, never `/blogger`. Of several, the longest
counts, and `/` is what is left. All sites of a domain need one. What no site has is answered with 404. The
path is passed on as the client wrote it, with the prefix, so `PROBE_PATH` should have it too. A path that
is written so that an application could take it for another site's is answered with 400. `WWW`,
`HTTPS_METHOD`, `HSTS_S` and `CERT_NAME` belong to the domain: its sites must agree. A snippet stands in the
site's own locations and may hold none.
A path is no access control: it says where a request goes, not who may send it.
""",
    "TLS of a site": """\
A domain is served over HTTPS as soon as its certificate lies in `GATEWAY_CERTS_DIR`: `shop.example.com.crt`
and `.key`, else those of its parent `example.com` if they are for this name too. The key may be readable by
root alone. Protocols and ciphers are Mozilla's guideline 6.0, "intermediate". A certificate that is missing,
unreadable, for other names or without its key leaves the domain on HTTP; an expired one is still offered, but
HTTP is not redirected to it. `gateway status` and the log say so.
""",
    "Proxying of a site": """\
WebSockets and server-sent events need no setting; an answer with `X-Accel-Buffering: no` is passed on as it
comes. Paths reach the application as the client wrote them.
""",
}
_COLUMNS = ("Variable", "Meaning", "Default", "Must be", "Example")


def render_markdown() -> str:
    """The whole page, ending in a line break."""
    lines = [_INTRO]
    for heading, variables in GROUPS.items():
        lines += [f"## {heading}\n"]
        if heading in _NOTES:
            lines += [_NOTES[heading].replace("<own>", _listed(Scope.OWN))]
        lines += [*_rows(variables), ""]
    return "\n".join(lines)


def _listed(scope: Scope) -> str:
    *names, last = [f"`{var.name}`" for var in VARIABLES if var.scope is scope]
    return f"{', '.join(names)} and {last}"


def _rows(variables: Sequence[Variable]) -> list[str]:
    cells = [_COLUMNS, tuple("---" for _ in _COLUMNS), *map(_cells, variables)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _cells(var: Variable) -> tuple[str, ...]:
    default = "required" if var.required else "none" if var.default is None else f"`{var.default}`"
    return (f"`{PREFIX}{var.name}`", var.meaning, default, _escaped(var.rule.text), f"`{var.example}`")


def _escaped(text: str) -> str:
    """Plain text for a table cell: nothing in it is markup."""
    return re.sub(r"([*_|<~])", r"\\\1", text)


if __name__ == "__main__":
    sys.stdout.write(render_markdown())
