"""A secret in a file: what controller and agent share, and what lets people see a candidate."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.errors import Failed

SHORTEST = 32  # characters


def read_token(file: str, *, variable: str = "GATEWAY_TOKEN_FILE", whom: str = "both containers need") -> str:
    """Raises Failed when there is none, or one that is too easily guessed. `whom`: for whom it lies there."""
    try:
        token = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(
            f"{variable}: {file} can't be read ({error}); {whom} it, readable for the user that runs there"
        ) from error
    if len(token) < SHORTEST or not re.fullmatch(r"[!-~]+", token):
        raise Failed(
            f"{variable}: {file} must hold at least {SHORTEST} characters without blanks, as"
            " `openssl rand -hex 32` prints"
        )
    return token
