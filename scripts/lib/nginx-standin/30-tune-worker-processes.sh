#!/bin/sh
# As in the official image: with NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE, as many workers as the
# container may use processors, and a note of it in nginx.conf.
set -eu

[ -n "${NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE:-}" ] || exit 0

workers=$(nproc) # what the cpuset allows
if read -r quota period 2>/dev/null </sys/fs/cgroup/cpu.max && [ "$quota" != max ]; then
    share=$(((quota + period - 1) / period))
    [ "$share" -ge "$workers" ] || workers=$share
fi
sed -i "s/^worker_processes .*/# Commented out by ${0##*\/} on $(date)\n#&\nworker_processes $workers;/" \
    /etc/nginx/nginx.conf
