"""The demo's stack file, changed for a test."""

from __future__ import annotations

import yaml

from tests.e2e.gateways import Gateway


def with_service(gateway: Gateway, **settings: object) -> None:
    """The stack file with other settings of the service that takes the traffic."""
    file = gateway.folder / "stack.yaml"
    model = yaml.safe_load(file.read_text())
    model["services"]["app"] |= settings
    file.write_text(yaml.safe_dump(model))
