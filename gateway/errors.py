"""The exception tree, each with the exit code that the CLI gives.

GatewayError                       1  aborted; live untouched or restored
|- UsageError                      2  wrong site, slot, option
|  |- SettingsInvalid              2  GATEWAY_* variables, every problem at once
|  `- StackInvalid                 2  the site's compose file
|- Bug                             3  in the gateway itself
|- Failed                          4  needs a person; nothing was stopped
|- Busy                            5  another deployment holds the site
|- Unreachable                     6
|  |- EngineUnreachable            6  the Docker Engine
|  `- ControllerUnreachable        6  the controller
|- JournalError                    1  nothing was written; it may be tried again
|- EngineError                     1  Docker refused or a stack did not start
`- ProxyError                      1  nginx does not serve what was ordered
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    exit_code = 1


class UsageError(GatewayError):
    exit_code = 2


class _Problems(UsageError):
    """An error that lists every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class SettingsInvalid(_Problems):
    pass


class StackInvalid(_Problems):
    pass


class Bug(GatewayError):
    exit_code = 3


class Failed(GatewayError):
    exit_code = 4


class Busy(GatewayError):
    exit_code = 5


class Unreachable(GatewayError):
    exit_code = 6


class EngineUnreachable(Unreachable):
    pass


class ControllerUnreachable(Unreachable):
    pass


class JournalError(GatewayError):
    pass


class EngineError(GatewayError):
    pass


class ProxyError(GatewayError):
    pass


class AgentUnreachable(ProxyError, Unreachable):
    """Raised by the controller of the hardened layout."""
