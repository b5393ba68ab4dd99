"""What else stands in nginx's http {}: the operator's own conf.d, rendered from `*.template` files or not."""

from __future__ import annotations

from pathlib import Path

from gateway.core.syntax import SyntaxRefused, parse
from gateway.paths import CONF_DIR, NGINX_CONF

CONF_D = Path("/etc/nginx/conf.d")


def sets_resolver(*, nginx_conf: Path = Path(NGINX_CONF), conf_d: Path = CONF_D) -> bool:
    """Whether one of its files has a `resolver` for all of http {}, of which nginx takes only one."""
    try:
        if f"include {CONF_DIR}/live/http.conf;" not in nginx_conf.read_text():
            return False  # not where a gateway runs
        texts = [file.read_text() for file in sorted(conf_d.glob("*.conf"))]
        return any(directive.name == "resolver" for text in texts for directive in parse(text))
    except (OSError, UnicodeDecodeError, SyntaxRefused):
        return False  # nginx's own test says what is wrong
