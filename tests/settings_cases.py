"""Environments that the tests of the settings share, and how they read a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings import parse
from gateway.settings.places import Claim
from gateway.settings.table import VARIABLES
from gateway.settings.variable import Scope

ONE = {"GATEWAY_DOMAIN": "shop.example.com", "GATEWAY_UPSTREAM": "app:8000"}
TWO = {
    "GATEWAY_SITES": "shop,my-blog",
    "GATEWAY_SHOP_DOMAIN": "shop.example.com",
    "GATEWAY_SHOP_UPSTREAM": "app:8000",
    "GATEWAY_MY_BLOG_DOMAIN": "blog.example.com",
    "GATEWAY_MY_BLOG_UPSTREAM": "web:3000",
}
PER_SITE = [var.name for var in VARIABLES if var.scope is not Scope.GATEWAY]
INJECTION = "a.test; location /pwn { alias /etc/; } set $x 1"


def held_by(**places: Claim) -> Callable[[str], Iterable[Claim]]:
    """What each of the sites named has now."""
    return lambda name: [places[name]] if name in places else []


def problems(env: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        parse(env)
    return refused.value.problems


def only_problem(env: dict[str, str]) -> str:
    (problem,) = problems(env)
    return problem
