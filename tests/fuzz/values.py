"""Values that a variable's rule accepts, made from the rule: a new variable needs nothing here."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from gateway.settings import rules
from gateway.settings.rules import Rule
from gateway.settings.table import VARIABLES
from gateway.settings.variable import Variable

Make = Callable[[Random], str]
LETTERS = "abcxyzABCXYZ019"


def _word(random: Random, more: str, longest: int) -> str:
    return random.choice(LETTERS) + "".join(random.choices(LETTERS + more, k=random.randrange(longest)))


def _file(random: Random) -> str:
    return "".join(f"/{_word(random, '_@+-', 12)}" for _ in range(random.randint(1, 4)))


def _port(random: Random) -> str:
    return str(random.choice([1, 80, 443, 8000, 65535, random.randint(1, 65535)]))


def _path(random: Random) -> str:
    return "/" + _word(random, "._~!&()*+,=:@/?-", 30) + random.choice(["", "%20", "/", "?a=%7B"])


def _statuses(random: Random) -> str:
    low, high = sorted(random.randint(200, 599) for _ in range(2))
    return random.choice([str(low), f"{low}-{high}"])


def _text(random: Random) -> str:
    return "".join(random.choices(LETTERS + ";{}\"'\\$#%é{{}} ", k=random.randint(1, 40))).strip() or "ok"


def _networks(random: Random) -> str:
    octets = (str(random.randint(0, 255)) for _ in range(2))
    made = [f"{'.'.join(octets)}.0.0/16", "10.0.0.1", f"2001:DB8:{random.randint(0, 9999)}::/48", "::/0"]
    return random.choice([",", ", "]).join(random.sample(made, random.randint(1, 4)))


def _percents(random: Random) -> str:
    return ",".join(map(str, sorted(random.sample(range(1, 101), random.randint(1, 5)))))


_MADE: tuple[tuple[Rule, Make], ...] = (
    (rules.SITE, lambda random: random.choice(["shop", "a-b", "x9", "a" * 31, "mark-0-x"])),
    (rules.PORT, _port),
    (rules.UPSTREAM, lambda random: f"{_word(random, '_.-', 20)}:{_port(random)}"),
    (rules.NETWORK, lambda random: _word(random, "_.-", 40)),
    (rules.FILE, _file),
    (rules.PATH, _path),
    (rules.STATUSES, _statuses),
    (rules.TEXT, _text),
    (rules.SIZE, lambda random: random.choice(["0", f"{random.randint(1, 999)}{random.choice('kmg')}", "1"])),
    (rules.NETWORKS, _networks),
    (rules.RATE, lambda random: f"{random.randint(1, 999999)}r/{random.choice('sm')}"),
    (rules.FILE_STEM, lambda random: random.choice(["_", ""]) + _word(random, "_.-", 20)),
    (rules.PERCENTS, _percents),
)


def maker(var: Variable) -> Make:
    """By the rule itself, else by what it says of itself, else from what the table has as an example."""
    for rule, make in _MADE:
        if var.rule is rule:
            return make
    if found := re.fullmatch(r"a (?:whole )?number.* from ([0-9.]+) to ([0-9.]+)", var.rule.text):
        low, high = map(float, found.groups())
        return lambda random: _number(random, low, high, whole="whole" in var.rule.text)
    if found := re.fullmatch(r"([a-z0-9, -]+) or ([a-z0-9-]+)", var.rule.text):
        words = [*found[1].split(", "), found[2]]
        return lambda random: random.choice(words)
    return lambda random: random.choice([var.example, var.default or var.example])


def _number(random: Random, low: float, high: float, *, whole: bool) -> str:
    value = random.choice([low, high, random.uniform(low, high), min(high, low + random.random())])
    return str(int(value)) if whole or (value in (low, high) and value.is_integer()) else f"{value:.3f}"


def pairs(random: Random, each: int = 24) -> list[tuple[Variable, str]]:
    """`each` values of every variable, without those that its rule refuses after all."""
    made = [(var, maker(var)(random).replace("<site>", "x")) for var in VARIABLES for _ in range(each)]
    return [(var, raw) for var, raw in made if var.rule.accepts(raw)]
