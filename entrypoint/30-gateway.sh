#!/bin/sh
# Run by the base image's entrypoint before it becomes nginx: renders the configuration, publishes
# the last routing, and starts the daemon beside nginx. A mistake stops the container with a message.
set -eu

python=/opt/gateway/bin/python
"$python" -m gateway.agent.prepare

# The daemon may die without harm to the traffic; it is started again and goes on where it was.
# nginx is process 1: when it ends, so does everything else in the container.
(
    while :; do
        "$python" -m gateway.daemon || true
        echo 'gateway: the daemon ended; starting it again' >&2
        sleep 1
    done
) </dev/null >&2 &
