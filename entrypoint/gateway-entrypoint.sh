#!/bin/sh
# What the container is (GATEWAY_ROLE); nginx and everything else go to the base image's own entrypoint.
set -eu
if [ "${1:-}" = nginx ]; then
    case ${GATEWAY_ROLE:-all} in
        controller) exec /opt/gateway/bin/python -m gateway.daemon ;;
        docker-proxy) exec nginx -c /etc/nginx/docker-proxy.conf ;;
    esac
fi
exec /docker-entrypoint.sh "$@"
