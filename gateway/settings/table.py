"""Every variable, once: what `parse` accepts and what docs/configuration.md says."""

from __future__ import annotations

from gateway.core.model import Site, Strategy
from gateway.settings import rules, serving
from gateway.settings.variable import Scope, Variable

PREFIX = "GATEWAY_"
STATE_DIR = "/var/lib/gateway"
CONFIG_DIR = "/etc/gateway"
HTTP_PORT = 80
ENGINE = "compose"
ROLE, AGENT, TOKEN_FILE = "all", "agent:9180", "/run/secrets/gateway_token"
# Read once, from the environment only: what hangs on them can't be moved while the gateway runs.
_ONCE = (
    *("AGENT", "CERTS_DIR", "CONFIG_DIR", "ENGINE", "METRICS_PORT", "NETWORK", "ROLE", "STATE_DIR"),
    "TOKEN_FILE",
)
AT_START = tuple(PREFIX + name for name in _ONCE)

_SITE = Site(name="site", domains=(), service="", port=1, stack_file="")  # for the defaults of the model
_PROBE = _SITE.probe


SITE = Variable(
    "SITE", rules.SITE, "site", "Name of the only site, as commands take it.", "shop", Scope.GATEWAY
)
SITES = Variable(
    "SITES", rules.SITES, None, "Names of several sites, instead of one.", "shop,blog", Scope.GATEWAY
)
DOMAIN = Variable(
    "DOMAIN",
    rules.HOSTS,
    None,
    "Host names that the site answers to.",
    "shop.example.com,*.shop.example.com",
    Scope.OWN,
    required=True,
    foreign="VIRTUAL_HOST",
)
WWW = Variable(
    "WWW",
    rules.choice("as-is", "add", "remove"),
    "as-is",
    "`add` sends each domain to the same with `www.` before it, `remove` the other way round.",
    "remove",
)
UPSTREAM = Variable(
    "UPSTREAM",
    rules.UPSTREAM,
    None,
    "Compose service that takes the site's traffic, and the port it listens on in its container.",
    "app:8000",
    Scope.OWN,
    required=True,
)
VIRTUAL_PORT = Variable(
    "VIRTUAL_PORT",
    rules.PORT,
    None,
    "The port, where `UPSTREAM` names the service alone.",
    "8000",
    Scope.OWN,
    foreign="VIRTUAL_PORT",
)
PATH_PREFIX = Variable(
    "PATH_PREFIX",
    rules.PATH_PREFIX,
    None,
    "The part of its domains that is the site's, where several share them by path. Unset, it has them to "
    "itself.",
    "/blog",
    Scope.OWN,
    foreign="VIRTUAL_PATH",
)
OLD_ASSETS = Variable(
    "OLD_ASSETS",
    rules.FOLDERS,
    None,
    "Paths of assets: what the live release answers with 404 there is asked of the one before, as long as "
    "that is kept warm.",
    "/assets/,/static/",
)
STACK_FILE = Variable(
    "STACK_FILE",
    rules.FILE,
    "/stacks/<site>.yaml",
    "The site's compose file inside the controller; in the simplest form `/stacks/stack.yaml` by default.",
    "/stacks/shop/compose.yaml",
    Scope.OWN,
)
STRATEGY = Variable(
    "STRATEGY",
    rules.choice(*Strategy),
    None,
    "How a candidate takes over: `blue-green`, all visitors at once, is the default; `canary` where "
    "`CANARY_STEPS` is set; `rolling`, some replicas at a time, as the stack's `deploy.update_config` says.",
    "rolling",
)
CANARY_STEPS = Variable(
    "CANARY_STEPS",
    rules.PERCENTS,
    None,
    "Percent of the visitors that a canary gets, step by step, before it gets all.",
    "1,10,50",
)
SESSION_TIMEOUT_S = Variable(
    "SESSION_TIMEOUT_S",
    rules.seconds(0, 604800),
    f"{_SITE.session_timeout_s:g}",
    "Seconds that visitors may stay with the release on which their session began, after another "
    "replaced it. Sets a cookie; 0 does neither.",
    "3600",
)

GATEWAY: tuple[Variable, ...] = (
    SITE,
    SITES,
    Variable(
        "HTTP_PORT",
        rules.PORT,
        str(HTTP_PORT),
        "Port on which nginx serves the sites.",
        "8080",
        Scope.GATEWAY,
    ),
    Variable(
        "METRICS_PORT",
        rules.PORT,
        None,
        "Port on which `/metrics` is served to who reaches the container; unset, on none.",
        "9100",
        Scope.GATEWAY,
    ),
    Variable(
        "CONFIG_DIR",
        rules.FILE,
        CONFIG_DIR,
        "Folder that is watched: `.env`, `sites/`, `snippets/`, `templates/` and `maintenance/` in it.",
        "/config",
        Scope.GATEWAY,
    ),
    Variable(
        "NETWORK",
        rules.NETWORK,
        None,
        "Docker network between nginx and the stacks; unset, the controller finds it.",
        "gateway",
        Scope.GATEWAY,
    ),
    Variable(
        "STATE_DIR",
        rules.FILE,
        STATE_DIR,
        "Directory in which the controller keeps its state.",
        "/srv/gateway",
        Scope.GATEWAY,
    ),
    Variable(
        "ENGINE",
        rules.choice("compose", "swarm"),
        ENGINE,
        "What runs the stacks: this machine's Docker, or the Swarm that it manages.",
        "swarm",
        Scope.GATEWAY,
    ),
    Variable(
        "ROLE",
        rules.choice("all", "gateway", "controller", "docker-proxy"),
        ROLE,
        "What this container is: everything, or one part of the hardened layout.",
        "controller",
        Scope.GATEWAY,
    ),
    Variable(
        "AGENT",
        rules.ADDRESS,
        AGENT,
        "Where the agent of the role `gateway` listens, and the `controller` calls it. Never publish it.",
        "10.0.3.2:9180",
        Scope.GATEWAY,
    ),
    Variable(
        "TOKEN_FILE",
        rules.FILE,
        TOKEN_FILE,
        "File with the secret of at least 32 characters that `gateway` and `controller` share.",
        "/run/secrets/token",
        Scope.GATEWAY,
    ),
)
SITES_OWN: tuple[Variable, ...] = (
    DOMAIN,
    WWW,
    UPSTREAM,
    VIRTUAL_PORT,
    PATH_PREFIX,
    STACK_FILE,
    Variable(
        "PROBE_PATH", rules.PATH, _PROBE.path, "Path and query that the probe asks for.", "/health?ready=1"
    ),
    Variable(
        "PROBE_STATUS",
        rules.STATUSES,
        f"{_PROBE.status_min}-{_PROBE.status_max}",
        "Statuses that count as healthy.",
        "200",
    ),
    Variable("PROBE_BODY", rules.TEXT, None, "Text that a healthy answer's body must hold.", '"status":"ok"'),
    Variable(
        "PROBE_INTERVAL_S",
        rules.seconds(0.05, 60),
        f"{_PROBE.interval_s:g}",
        "Seconds between two probes.",
        "1",
    ),
    Variable(
        "PROBE_TIMEOUT_S",
        rules.seconds(0.1, 300),
        f"{_PROBE.timeout_s:g}",
        "Seconds that one probe may take.",
        "2",
    ),
    Variable(
        "PROBE_SUCCESSES",
        rules.whole(1, 100),
        f"{_PROBE.successes}",
        "Good answers in a row, per replica, until the candidate counts as healthy.",
        "3",
    ),
    Variable(
        "START_DEADLINE_S",
        rules.seconds(1, 3600),
        f"{_PROBE.start_deadline_s:g}",
        "Seconds in which a candidate must become healthy; later, the deploy is aborted.",
        "120",
    ),
    STRATEGY,
    CANARY_STEPS,
    Variable(
        "CANARY_STEP_S",
        rules.seconds(0, 86400),
        f"{_SITE.step_s:g}",
        "Seconds for which each of these steps is watched.",
        "300",
    ),
    Variable(
        "CANARY_OVERRIDE",
        rules.SWITCH,
        "off",
        "During the steps, the header `X-Gateway-Canary` or the cookie `gateway_canary` sends a visitor to "
        "the candidate (`always`) or to the live release (`never`), whatever his share.",
        "on",
    ),
    Variable(
        "OBSERVE_S",
        rules.seconds(0, 3600),
        f"{_SITE.observe_s:g}",
        "Seconds in which answers are watched after the switch.",
        "30",
    ),
    Variable(
        "MAX_5XX_SHARE",
        rules.number(0, 1),
        f"{_SITE.max_5xx_share:g}",
        "Share of 5xx answers, or of requests that could not be connected, beyond the live release's own in "
        "the same time, above which a release is reverted.",
        "0.01",
    ),
    Variable(
        "MAX_P95_RATIO",
        rules.number(0, 100),
        f"{_SITE.max_p95_ratio:g}",
        "How many times as long as the live release's may 95 % of a candidate's answers take in the same "
        "time; 0 compares nothing.",
        "2",
    ),
    SESSION_TIMEOUT_S,
    Variable(
        "SESSION_IDLE_S",
        rules.seconds(1, 86400),
        f"{_SITE.session_idle_s:g}",
        "A session that asked nothing for so many seconds has ended; with the last one the release goes.",
        "900",
    ),
    Variable(
        "DRAIN_TIMEOUT_S",
        rules.seconds(0, 86400),
        f"{_SITE.drain_timeout_s:g}",
        "Seconds that requests in flight get to finish in the slot that traffic left.",
        "300",
    ),
    Variable(
        "WEBSOCKET_TIMEOUT_S",
        rules.seconds(0, 604800),
        f"{_SITE.websocket_timeout_s:g}",
        "Seconds that WebSockets get after that, before their application is told to stop.",
        "3600",
    ),
    Variable(
        "KEEP_S",
        rules.seconds(0, 604800),
        f"{_SITE.keep_s:g}",
        "Seconds that the previous release keeps running for an instant rollback.",
        "3600",
    ),
    OLD_ASSETS,
    Variable(
        "PREVIEW_TOKEN_FILE",
        rules.FILE,
        None,
        "File with a secret of at least 32 characters. Who sends it, in the header `X-Gateway-Preview` or "
        "the cookie `gateway_preview`, sees a staged candidate before it takes over.",
        "/run/secrets/preview",
    ),
    Variable(
        "HOOK_TIMEOUT_S",
        rules.seconds(1, 86400),
        f"{_SITE.hook_timeout_s:g}",
        "Seconds that one of the stack's hooks (`gateway.hook`) may take.",
        "3600",
    ),
)

# By the headings of docs/configuration.md.
GROUPS: dict[str, tuple[Variable, ...]] = {
    "The gateway": GATEWAY + serving.EDGE,
    "Each site": SITES_OWN,
    "TLS of a site": serving.TLS,
    "Proxying of a site": serving.PROXYING,
}
VARIABLES: tuple[Variable, ...] = tuple(var for group in GROUPS.values() for var in group)
# What sites that share a domain must have in common: it belongs to the domain.
ALIKE: tuple[Variable, ...] = (WWW, *serving.TLS)
# What nginx-proxy calls them: read without our prefix where there is a single site.
FOREIGN: dict[str, Variable] = {var.foreign: var for var in VARIABLES if var.foreign}
