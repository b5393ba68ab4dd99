"""What the operator sets: GATEWAY_* variables, read once, allow-listed before anything is rendered."""

from gateway.settings.parsing import Settings, parse

__all__ = ["Settings", "parse"]
