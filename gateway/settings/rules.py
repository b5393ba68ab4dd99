"""Allow-lists for values. A rule accepts a whole value or refuses it; none repairs one.

These values end up in nginx configuration, URLs and file paths, so a rule names what may occur and
always matches the full value (`$` would let a final newline through).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123 section 2.1, RFC 1035 section 2.3.4
_HOST = rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*"
_SITE = r"[a-z][a-z0-9-]{0,30}"
_DOCKER_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}"
_PORT = r"[1-9][0-9]{0,4}"
_STATUS = r"[2-5][0-9]{2}"
_FILE = r"(?:/[A-Za-z0-9_.@+-]+)+"
# RFC 3986 sections 3.3 and 3.4 without $ ' ; and without encoded control characters. A path that
# begins with // would read as a host (section 3.3).
_PATH = r"/(?!/)(?:[A-Za-z0-9._~!&()*+,=:@/?-]|%(?![01]|7[fF])[0-9A-Fa-f]{2})*"
# Characters of RFC 3986 section 2.3 that nobody writes as %-codes (~ often is). No segment is . or ..
_PATH_PREFIX = r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+/?"
_ACME = "/.well-known/acme-challenge/"  # RFC 8555 section 8.3: the gateway's own
_NETWORK = r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?"

_SLOT_NAMES = ("blue", "green", "maintenance")


@dataclass(frozen=True, slots=True)
class Rule:
    """`read` gives the value or raises ValueError; `text` completes the sentence "must be ..."."""

    text: str
    read: Callable[[str], Any]

    def accepts(self, raw: str) -> bool:
        try:
            self.read(raw)
        except ValueError:
            return False
        return True


def split(raw: str) -> list[str]:
    """The items of a comma separated list; blanks around an item don't count."""
    return [item.strip(" ") for item in raw.split(",")]


def _require(holds: object) -> None:
    if not holds:
        raise ValueError


def _match(pattern: str, raw: str, longest: int) -> str:
    _require(len(raw) <= longest and re.fullmatch(pattern, raw))
    return raw


def _site_name(raw: str) -> str:
    _match(_SITE, raw, 31)
    _require("--" not in raw and not raw.endswith("-"))
    _require(raw.rsplit("-", 1)[-1] not in _SLOT_NAMES)
    return raw


def _distinct(items: list[str]) -> tuple[str, ...]:
    _require(len(set(items)) == len(items))
    return tuple(items)


def _hosts(raw: str) -> tuple[str, ...]:
    return _distinct([_match(_HOST, item, 253).lower() for item in split(raw)])


def _port(raw: str) -> int:
    port = int(_match(_PORT, raw, 5))
    _require(port <= 65535)
    return port


def _upstream(raw: str) -> tuple[str, int | None]:
    service, colon, port = raw.partition(":")
    return _match(_DOCKER_NAME, service, 63), _port(port) if colon else None


def _address(raw: str) -> tuple[str, int]:
    host, _, port = raw.rpartition(":")
    return _match(rf"{_LABEL}(?:\.{_LABEL})*", host, 253), _port(port)


def _size(raw: str) -> int:
    _match(r"0|[1-9][0-9]{0,8}[kmg]?", raw, 10)
    shift = {"k": 10, "m": 20, "g": 30}.get(raw[-1], 0)
    return int(raw.rstrip("kmg")) << shift


def _networks(raw: str) -> tuple[str, ...]:
    return _distinct([str(ipaddress.ip_network(_match(_NETWORK, one, 43))) for one in split(raw)])


def _statuses(raw: str) -> tuple[int, int]:
    low, _, high = _match(rf"{_STATUS}(?:-{_STATUS})?", raw, 7).partition("-")
    bounds = int(low), int(high or low)
    _require(bounds[0] <= bounds[1])
    return bounds


def _file(raw: str) -> str:
    _match(_FILE, raw, 255)
    _require(".." not in raw and "." not in raw.split("/"))
    return raw


def _text(raw: str) -> str:
    _require(len(raw) <= 200 and raw.isprintable())
    return raw


def number(low: float, high: float, unit: str = "") -> Rule:
    """A finite decimal number within the bounds, both included."""

    def read(raw: str) -> float:
        value = float(_match(r"[0-9]+(?:\.[0-9]+)?", raw, 20))
        _require(low <= value <= high)
        return value

    return Rule(f"a number{unit and f' of {unit}'} from {low:.7g} to {high:.7g}", read)


def seconds(low: float, high: float) -> Rule:
    return number(low, high, "seconds")


def whole(low: int, high: int) -> Rule:
    """A whole number within the bounds, both included."""

    def read(raw: str) -> int:
        value = int(_match(r"[0-9]+", raw, 20))
        _require(low <= value <= high)
        return value

    return Rule(f"a whole number from {low} to {high}", read)


def choice(*words: str) -> Rule:
    """One of the words, as it is written."""

    def read(raw: str) -> str:
        _require(raw in words)
        return raw

    return Rule(f"{', '.join(words[:-1])} or {words[-1]}", read)


def _on_or_off(raw: str) -> bool:
    _require(raw in ("on", "off"))
    return raw == "on"


_SITE_TEXT = (
    "up to 31 of a-z, 0-9 and single -, that begins with a letter, doesn't end in - "
    "and whose last part isn't blue, green or maintenance"
)
SITE = Rule(f"a name of {_SITE_TEXT}", _site_name)
SITES = Rule(
    f"different names separated by commas, each of {_SITE_TEXT}",
    lambda raw: _distinct([_site_name(item) for item in split(raw)]),
)
HOSTS = Rule(
    "different host names separated by commas, each of letters, digits, - and . (RFC 1123, up to 253 "
    "characters, other scripts as punycode), optionally beginning with *.",
    _hosts,
)
PORT = Rule("a port from 1 to 65535", _port)
UPSTREAM = Rule(
    "service:port, a compose service of up to 63 letters, digits, _ . - and a port from 1 to 65535", _upstream
)
ADDRESS = Rule("host:port, a host name or IPv4 address and a port from 1 to 65535", _address)
NETWORK = Rule(
    "a Docker network's name of up to 63 letters, digits, _ . - that begins with a letter or digit",
    lambda raw: _match(_DOCKER_NAME, raw, 63),
)
FILE = Rule("an absolute path of up to 255 letters, digits, _ . @ + - and /, without .. or a final /", _file)
PATH = Rule(
    "a path that begins with one / and holds up to 500 letters, digits, -._~!&()*+,=:@/? and %-codes of "
    "other than control characters (RFC 3986 without $ ' ;)",
    lambda raw: _match(_PATH, raw, 500),
)
STATUSES = Rule("a status from 200 to 599, or two joined by -, the lower first", _statuses)
TEXT = Rule("up to 200 printable characters, without line breaks or other control characters", _text)
SWITCH = Rule("on or off", _on_or_off)
SIZE = Rule("0 for any size, or a number of up to 9 digits of bytes, or of k, m or g of them", _size)
NETWORKS = Rule(
    "different addresses or networks (CIDR, without host bits) separated by commas, of IPv4 or IPv6",
    _networks,
)
RATE = Rule("a number from 1 to 999999 and r/s or r/m", lambda raw: _match(r"[1-9][0-9]{0,5}r/[sm]", raw, 9))
FILE_STEM = Rule(
    "a file's name of up to 200 letters, digits, _ . - that begins with a letter, digit or _, without .crt",
    lambda raw: _match(r"(?!.*\.crt)[A-Za-z0-9_][A-Za-z0-9_.-]*", raw, 200),
)


def _percents(raw: str) -> tuple[int, ...]:
    """100, which is the switch itself, may end the list and is left out."""
    steps = [int(_match(r"[1-9][0-9]?|100", item, 3)) for item in split(raw)]
    _require(steps == sorted(set(steps)))
    return tuple(step for step in steps if step < 100)


PERCENTS = Rule("rising whole percents from 1 to 100 separated by commas", _percents)


def _path_prefix(raw: str) -> str:
    path = _match(_PATH_PREFIX, raw, 200).rstrip("/")
    _require(not f"{path}/".startswith(_ACME))
    return path or "/"


def _folders(raw: str) -> tuple[str, ...]:
    paths = _distinct([_match(_PATH_PREFIX, item, 200) for item in split(raw)])
    _require(all(path.endswith("/") and path != "/" and not path.startswith(_ACME) for path in paths))
    return paths


FOLDERS = Rule(
    "different paths separated by commas that each begin and end with /, as /assets/, of up to 200 letters, "
    f"digits, - . _ and /, without // and without . or .. for a segment, not in {_ACME}",
    _folders,
)
PATH_PREFIX = Rule(
    "/ or a path as /blog or /shop/blog of up to 200 letters, digits, - . _ and /, without // and without "
    f". or .. for a segment, not in {_ACME}; a final / changes nothing",
    _path_prefix,
)
