"""How controller and agent write values to one another: our own dataclasses as JSON, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import make_converter

from gateway.core.roster import Roster
from gateway.errors import ProxyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ToldRoster:
    """`roster` None: the version that was known is the one that holds."""

    version: str
    roster: Roster | None


_CONVERTER = make_converter(forbid_extra_keys=True)


def to_wire(value: object) -> Any:
    return _CONVERTER.unstructure(value)


def from_wire(kind: type[T], raw: Any) -> T:
    """Raises ProxyError when the other side has another version of it: both need the same image."""
    try:
        return _CONVERTER.structure(raw, kind)
    except (BaseValidationError, KeyError, TypeError, ValueError) as error:
        why = "; ".join(transform_error(error)) if isinstance(error, BaseValidationError) else str(error)
        raise ProxyError(f"controller and agent differ; give both the same image: {why}") from error


def part(body: Mapping[str, Any], name: str, kind: type[T]) -> T:
    return from_wire(kind, body.get(name))
