"""Before nginx starts: settings -> configuration -> `nginx -t`, and the last routing published."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.adapters.certificates import CertificateFiles, CertificateFolder, by_domain
from gateway.adapters.configuration import ConfigurationFiles, nginx_test
from gateway.adapters.render import Place, render
from gateway.adapters.routing import RoutingFiles
from gateway.core.serving import Certificate
from gateway.errors import GatewayError
from gateway.paths import ROUTING_DIR, RUN_DIR, TLS_DIR
from gateway.settings import Settings, parse


def main() -> None:
    """Exit code 2 with every problem on stderr when the configuration is wrong."""
    try:
        prepare(parse(os.environ))
    except GatewayError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def prepare(settings: Settings) -> None:
    """Everything that nginx needs at its first connection. Raises Failed."""
    Path(RUN_DIR).mkdir(parents=True, exist_ok=True)
    # Its sockets are for root and nginx's workers alone; nginx itself makes them 0666.
    shutil.chown(RUN_DIR, "root", "nginx")
    Path(RUN_DIR).chmod(0o750)
    # nginx does not start over a socket that a killed predecessor left.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)
    RoutingFiles(ROUTING_DIR, settings.state_dir).restore(settings.sites)
    rendered = render(
        settings.sites, Place(http_port=settings.http_port, edge=settings.edge), _certificates(settings)
    )
    files = ConfigurationFiles()
    files.write(rendered)
    files.show(rendered.generation)
    files.forget_others(rendered.generation)
    CertificateFiles(TLS_DIR).forget_all_but(rendered.files.values())
    nginx_test()
    # `nginx -t` opens the sockets to test them and leaves the file behind.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)


def _certificates(settings: Settings) -> Mapping[str, Certificate]:
    """By domain, as copies that nginx reads. What is wrong is told, and stops nothing."""
    folder = CertificateFolder(settings.certs_dir, now=time.time())
    found = [one for site in settings.sites for one in folder.of(site)]
    for one in found:
        if one.problem:
            print(f"gateway: {one.domain}: {one.problem}", file=sys.stderr)
    usable = by_domain(found)
    CertificateFiles(TLS_DIR).write(usable.values())
    return usable


if __name__ == "__main__":
    main()
