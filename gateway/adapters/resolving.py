"""A stack's file, read by `docker compose config`: whoever runs it afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.adapters.compose_command import PASSED_ON
from gateway.adapters.containers import OnDocker, translated
from gateway.core import stack
from gateway.core.model import Site
from gateway.errors import EngineError, StackInvalid

CONFIG_TIMEOUT_S = 30.0


class Resolving(OnDocker):
    @translated
    def resolve(self, site: Site, images: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
        if not Path(site.stack_file).is_file():
            raise StackInvalid(
                [f"{site.stack_file}: no such file; mount its folder into the gateway, or set the STACK_FILE"]
            )
        if taken := sorted(set(values) & set(PASSED_ON)):
            raise StackInvalid([f"--set {key}: reserved for docker compose itself" for key in taken])
        try:
            text = self._run(
                ["-p", stack.CANDIDATE, "-f", site.stack_file, "config", "--format", "json"],
                values=values,
                timeout_s=CONFIG_TIMEOUT_S,
            )
        except EngineError as error:
            raise StackInvalid([f"{site.stack_file}: {error}"]) from error
        self._docker.ping()  # compose reads a file without Docker; an order would then wait for it
        model: dict[str, Any] = json.loads(text)
        if found := stack.problems(model, site, images) + self._problems(model, site):
            raise StackInvalid(found)
        return stack.with_images(model, images)

    def _problems(self, model: stack.Model, site: Site) -> list[str]:
        """What keeps it from running on this engine."""
        return []
