"""Who may see a candidate before it takes over."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from gateway.core.roster import Roster
from gateway.errors import Failed

log = logging.getLogger("gateway")


def may_see(roster: Callable[[], Roster], read: Callable[[str], str]) -> Callable[[str, str], bool]:
    """Whether the token is the one in the site's file, which is read anew each time: it may be replaced.

    `read` gives the secret of a file, or raises Failed.
    """

    def has_it(name: str, token: str) -> bool:
        site = roster().site(name)
        file = site.preview_token_file if site else None
        if file is None:
            return False
        try:
            secret = read(file)
        except Failed as error:
            log.warning("nobody sees a candidate of %s: %s", name, error)
            return False
        return hmac.compare_digest(secret.encode(), token.encode())

    return has_it
