"""docs/configuration.md, from the table: `python -m gateway.settings.docs > docs/configuration.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from gateway.settings.table import PREFIX, VARIABLES, Scope, Variable

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

An empty variable counts as unset. The gateway refuses to start with a value that breaks its rule, with an
unknown `GATEWAY_` variable or with a host name in two sites, and names every problem at once.
"""

_COLUMNS = ("Variable", "Meaning", "Default", "Must be", "Example")


def render_markdown() -> str:
    """The whole page, ending in a line break."""
    return "\n".join(
        [
            _INTRO,
            "## The gateway\n",
            *_rows([var for var in VARIABLES if var.scope is Scope.GATEWAY]),
            "\n## Each site\n",
            "With `GATEWAY_SITES`, write `GATEWAY_<SITE>_` for `GATEWAY_`. "
            f"{_listed(Scope.OWN)} then have no un-prefixed form.\n",
            *_rows([var for var in VARIABLES if var.scope is not Scope.GATEWAY]),
            "",
        ]
    )


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
