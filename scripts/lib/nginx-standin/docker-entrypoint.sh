#!/bin/sh
# Behaves like the official nginx image's entrypoint: before nginx starts, and only then,
# everything executable in /docker-entrypoint.d has its turn, in version order.
set -eu

say() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"; }

case ${1:-} in
nginx | nginx-debug)
    # As in the official image, the loop is a subshell: what an .envsh exports reaches
    # the scripts after it, but not nginx.
    find /docker-entrypoint.d/ -follow -type f | sort -V | while read -r step; do
        if [ ! -x "$step" ]; then
            say "not executable, left out: $step"
            continue
        fi
        case $step in
        *.envsh)
            say "sourcing $step"
            # shellcheck source=/dev/null
            . "$step"
            ;;
        *.sh) say "running $step"; "$step" ;;
        *) say "neither .sh nor .envsh, left out: $step" ;;
        esac
    done
    ;;
esac

exec "$@"
