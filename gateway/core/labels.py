"""What a stack's services ask of the gateway in their labels, and what is wrong with that. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gateway.core.model import Hook, Site

Services = Mapping[str, Any]

PREFIX = "gateway."
HOOK, SCHEDULER = "gateway.hook", "gateway.scheduler"
QUIESCE, COMMAND, TIMEOUT = "gateway.quiesce", "gateway.quiesce.command", "gateway.quiesce.timeout_s"
KNOWN = (HOOK, SCHEDULER, QUIESCE, COMMAND, TIMEOUT)
# Those by which an application may be told something. KILL and STOP it could not act on.
SIGNALS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
DEFAULT_TIMEOUT_S, LONGEST_TIMEOUT_S = 60.0, 86400.0


@dataclass(frozen=True, slots=True)
class Quiesce:
    """How a worker is told to take on nothing new, and how long it may take with what it has."""

    signal: str = ""
    command: str = ""  # for `sh -c` in the container
    timeout_s: float = DEFAULT_TIMEOUT_S


def of(service: Any) -> Mapping[str, str]:
    """A service's labels, as `docker compose config` writes them."""
    return {str(key): str(value) for key, value in ((service or {}).get("labels") or {}).items()}


def hooks(services: Services) -> dict[Hook, str]:
    """Hook -> the service that is run for it. Of labels without `problems`."""
    return {Hook(label): name for name, s in services.items() if (label := of(s).get(HOOK))}


def schedulers(services: Services) -> set[str]:
    return {name for name, service in services.items() if of(service).get(SCHEDULER) == "true"}


def quiesce(labels: Mapping[str, str]) -> Quiesce | None:
    """None: it is just stopped."""
    if not (labels.get(QUIESCE) or labels.get(COMMAND)):
        return None
    timeout_s = float(labels.get(TIMEOUT) or DEFAULT_TIMEOUT_S)
    return Quiesce(labels.get(QUIESCE, ""), labels.get(COMMAND, ""), timeout_s)


def problems(services: Services, site: Site) -> list[str]:
    """Everything that is wrong with the services' labels."""
    found = [p for name, service in services.items() for p in _wrong(name, of(service))]
    by_hook: dict[str, list[str]] = defaultdict(list)
    for name, service in services.items():
        if hook := of(service).get(HOOK):
            by_hook[hook].append(repr(name))
    found += [
        f"{HOOK}: {hook} is the label of the services {' and '.join(names)}: a hook is one service"
        for hook, names in by_hook.items()
        if len(names) > 1
    ]
    return found + _wrong_places(services, site)


def _wrong(name: str, labels: Mapping[str, str]) -> list[str]:
    """What is wrong with one service's labels, wherever they stand."""

    def said(label: str, rule: str) -> str:
        return f"service {name!r}: label {label}={labels[label]!r} {rule}"

    found = [
        said(label, f"is none that the gateway knows{_nearest(label, KNOWN)}")
        for label in labels
        if label.startswith(PREFIX) and label not in KNOWN
    ]
    if (hook := labels.get(HOOK)) is not None and hook not in tuple(Hook):
        found.append(said(HOOK, f"must be one of {', '.join(Hook)}{_nearest(hook, tuple(Hook))}"))
    if labels.get(SCHEDULER, "true") not in ("true", "false"):
        found.append(said(SCHEDULER, "must be true or false"))
    if (signal := labels.get(QUIESCE)) is not None and signal not in SIGNALS:
        found.append(said(QUIESCE, f"must be one of {', '.join(SIGNALS)}{_nearest(signal, SIGNALS)}"))
    if labels.get(COMMAND, "x").strip() == "":
        found.append(said(COMMAND, "must be a command line"))
    if QUIESCE in labels and COMMAND in labels:
        found.append(said(COMMAND, f"stands beside {QUIESCE}: name one of them"))
    if TIMEOUT in labels and not (QUIESCE in labels or COMMAND in labels):
        found.append(said(TIMEOUT, f"needs {QUIESCE} or {COMMAND}"))
    if TIMEOUT in labels and not _is_timeout(labels[TIMEOUT]):
        found.append(said(TIMEOUT, f"must be a number of seconds from 0 to {LONGEST_TIMEOUT_S:g}"))
    return found


def _wrong_places(services: Services, site: Site) -> list[str]:
    """Labels that don't go together with what the service is, or with what others expect of it."""
    found = []
    apart = {name: "a hook" for name, s in services.items() if HOOK in of(s)}
    apart |= dict.fromkeys(schedulers(services), "a scheduler")
    for name, service in services.items():
        labels = of(service)
        kinds = [
            label for label in (HOOK, SCHEDULER, QUIESCE, COMMAND) if labels.get(label, "false") != "false"
        ]
        if name == site.service and kinds:
            found.append(
                f"service {name!r} takes the traffic (GATEWAY_UPSTREAM names it): it can't have {kinds[0]}"
            )
        elif len(kinds) > 1 and kinds[0] in (HOOK, SCHEDULER):
            how = "it runs to its end" if kinds[0] == HOOK else "stop_signal and stop_grace_period stop it"
            found.append(f"service {name!r} has {kinds[0]} and {kinds[1]}: name one of them; {how}")
        needed = list((service or {}).get("depends_on") or {})
        if HOOK in labels and needed:
            found.append(
                f"service {name!r} is a hook: it can't have depends_on ({', '.join(needed)}); what it needs"
                " must run outside the stack"
            )
        found += [
            f"service {name!r} depends on {other!r}, which is {apart[other]}: not started with the stack"
            for other in needed
            if other in apart and HOOK not in labels
        ]
    return found


def _nearest(given: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(given, [str(one) for one in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_timeout(text: str) -> bool:
    return bool(re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text)) and float(text) <= LONGEST_TIMEOUT_S
