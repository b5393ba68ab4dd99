# shellcheck shell=bash
# ensure_engine: a Docker Engine with Compose v2. One that already answers is used as it
# is; otherwise one of our own is started, which stop_engine takes away without a trace.
# Use:  source scripts/lib/engine.sh; trap stop_engine EXIT; ensure_engine

# shellcheck source-path=SCRIPTDIR source=debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
# shellcheck source-path=SCRIPTDIR source=engine-stop.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine-stop.sh"

# Compose files mount /var/run/docker.sock, so that is where an engine of ours listens.
LAB_DOCKER_SOCKET=${LAB_DOCKER_SOCKET:-/var/run/docker.sock}
LAB_DATA_ROOT=${LAB_DATA_ROOT:-$LAB_DIR/data}
# A short path, because sockets are made below it and theirs may have 107 characters only.
LAB_RUN_DIR=${LAB_RUN_DIR:-/run/gateway-lab}
LAB_LOCK_WAIT_S=${LAB_LOCK_WAIT_S:-3600}
LAB_SUITE=${LAB_SUITE:-trixie}

ensure_engine() {
    # A script started by one that has an engine of ours up goes on with that.
    [[ ${LAB_ENGINE_UP:-} ]] && lab_engine_answers && return 0
    mkdir -p "$LAB_DIR"
    lab_lock
    lab_stop_leftover
    if lab_engine_answers; then
        lab_unlock # not ours: nobody has to wait for us
        lab_compose_answers || lab_add_plugins
        return 0
    fi
    [[ ! ${DOCKER_HOST:-} ]] || lab_die "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST"
    lab_needs_debian_root 'no Docker Engine answers'
    lab_apt_install iptables=iptables nft=nftables ip=iproute2 runc=runc tini-static=tini setsid=util-linux
    lab_unpack_engine
    export PATH=$LAB_DIR/engine/bin:$PATH DOCKER_HOST=unix://$LAB_DOCKER_SOCKET
    unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
    lab_add_plugins
    # There may have been an engine all along, and only a client for it was missing.
    if lab_engine_answers; then lab_unlock; else lab_start_engine; fi
}

lab_engine_answers() { timeout 20 docker info >/dev/null 2>&1; }
lab_compose_answers() { timeout 20 docker compose version >/dev/null 2>&1; }

# Held while an engine of ours is up, so that no script starts or stops it under another.
# The folder itself is locked: that leaves no file behind, holds for every checkout on this
# machine, and the kernel gives the lock back when a script is killed.
lab_lock() {
    exec {LAB_LOCK_FD}<"$(dirname "$LAB_RUN_DIR")"
    flock -n "$LAB_LOCK_FD" && return 0
    lab_say "another script has its engine up: waiting for it to end"
    flock -w "$LAB_LOCK_WAIT_S" "$LAB_LOCK_FD" || lab_die "it did not end within $LAB_LOCK_WAIT_S s"
}

lab_unlock() { exec {LAB_LOCK_FD}<&-; }

# The user's own docker configuration (logins, contexts) goes on counting; only plugins
# are added, in a folder of ours.
lab_add_plugins() {
    local config=$LAB_DIR/docker-config plugins=$LAB_DIR/plugins users=${DOCKER_CONFIG:-$HOME/.docker}
    if [[ ! -d $plugins ]]; then
        command -v apt-get >/dev/null ||
            lab_die "'docker compose' is missing: install Docker's Compose v2 plugin"
        lab_say "unpacking Compose and Buildx ($LAB_SUITE)"
        ((EUID != 0)) || lab_apt_update
        lab_unpack "$LAB_SUITE" "$plugins.new" docker-compose docker-buildx
        mv "$plugins.new" "$plugins"
    fi
    mkdir -p "$config/cli-plugins"
    ln -sf "$plugins"/usr/libexec/docker/cli-plugins/docker-* "$config/cli-plugins/"
    if [[ $users != "$config" ]]; then
        local name
        for name in config.json contexts; do
            [[ ! -e $users/$name ]] || ln -sfn "$users/$name" "$config/$name"
        done
    fi
    export DOCKER_CONFIG=$config
    lab_compose_answers || lab_die "'docker compose version' fails even with the plugin in $config"
}

lab_unpack_engine() {
    local engine=$LAB_DIR/engine new=$LAB_DIR/engine.new
    [[ ! -d $engine ]] || return 0
    lab_say "unpacking Docker Engine ($LAB_SUITE)"
    lab_apt_update
    rm -rf "$new"
    lab_unpack "$LAB_SUITE" "$new/root" docker.io docker-cli containerd
    mkdir -p "$new/bin"
    mv "$new"/root/usr/sbin/{dockerd,docker-proxy} \
        "$new"/root/usr/bin/{docker,containerd,containerd-shim-runc-v2,ctr} "$new/bin/"
    # runc and tini of newer suites need a newer libc: the machine's own are used.
    ln -s "$(command -v tini-static)" "$new/bin/docker-init"
    rm -rf "$new/root"
    mv "$new" "$engine"
}

lab_start_engine() {
    local log=$LAB_RUN_DIR/dockerd.log deadline=$((SECONDS + 60))
    lab_remember_machine
    LAB_ENGINE_STARTED=1
    # In a session of its own, so that a Ctrl-C meant for the script does not reach it, and
    # without the lock, so that it does not go on holding it when the script is killed.
    # Docker's own pools are 31 networks, which tests side by side need more than; Docker passes over what is
    # taken on this machine.
    setsid dockerd --data-root "$LAB_DATA_ROOT" --exec-root "$LAB_RUN_DIR" \
        --default-address-pool base=172.16.0.0/12,size=24 \
        --pidfile "$LAB_RUN_DIR/docker.pid" -H "$DOCKER_HOST" \
        </dev/null >"$log" 2>&1 {LAB_LOCK_FD}<&- &
    disown
    until lab_engine_answers; do
        if ((SECONDS > deadline)) || ! kill -0 $! 2>/dev/null; then
            tail -n 30 "$log" >&2
            lab_die 'dockerd did not answer within 60 s, or ended: see the log above'
        fi
        sleep 0.2
    done
    export LAB_ENGINE_UP=1
    lab_say "Docker Engine $(docker version -f '{{.Server.Version}}') is up on $LAB_DOCKER_SOCKET"
}
