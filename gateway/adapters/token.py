"""The secret that controller and agent share."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.errors import Failed

SHORTEST = 32  # characters


def read_token(file: str) -> str:
    """Raises Failed when there is none, or one that is too easily guessed."""
    try:
        token = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(
            f"GATEWAY_TOKEN_FILE: {file} can't be read ({error}); both containers need it,"
            " readable for the user that they run as"
        ) from error
    if len(token) < SHORTEST or not re.fullmatch(r"[!-~]+", token):
        raise Failed(
            f"GATEWAY_TOKEN_FILE: {file} must hold at least {SHORTEST} characters without blanks, as"
            " `openssl rand -hex 32` prints"
        )
    return token
