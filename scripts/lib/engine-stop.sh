# shellcheck shell=bash
# stop_engine: takes away the engine that ensure_engine started and all that it made:
# processes, mounts, interfaces, firewall rules, cgroups, files. Sourced by engine.sh.

# What has to be put back, written down where a later run finds it if this one is killed.
lab_remember_machine() {
    case $LAB_DATA_ROOT in
    "$LAB_DIR"/*) rm -rf --one-file-system "$LAB_DATA_ROOT" ;; # left when the machine went down
    *) [[ ! -e $LAB_DATA_ROOT ]] || lab_die "$LAB_DATA_ROOT exists, and stop_engine would delete it" ;;
    esac
    local new=$LAB_RUN_DIR/before.new path tool
    mkdir -p "$new"
    printf '%s\n' "$LAB_DATA_ROOT" >"$new/data-root"
    printf '%s\n' "$LAB_DOCKER_SOCKET" >"$new/socket"
    cp /proc/sys/kernel/random/boot_id /proc/sys/net/ipv4/ip_forward "$new/"
    lab_links >"$new/links"
    lab_cgroups >"$new/cgroups"
    for tool in iptables ip6tables; do "$tool-save" -c >"$new/$tool"; done
    # Docker makes these wherever its own folders are.
    for path in /opt/containerd /run/{containerd,docker,runc}; do
        [[ -e $path ]] || printf '%s\n' "$path"
    done >"$new/absent"
    mv "$new" "$LAB_RUN_DIR/before" # from here on there is something to put back
}

stop_engine() {
    [[ ${LAB_ENGINE_STARTED:-} ]] || return 0
    trap '' INT TERM # a second Ctrl-C would leave half of it behind
    unset LAB_ENGINE_STARTED LAB_ENGINE_UP
    lab_say 'stopping our Docker Engine'
    timeout 60 docker ps -aq 2>/dev/null | timeout 60 xargs -r docker rm -fv >/dev/null 2>&1 || true
    lab_take_down
    lab_unlock
    trap - INT TERM
}

# Called with the lock held: whatever is in our run folder then was left by a killed script.
lab_stop_leftover() {
    [[ -d $LAB_RUN_DIR ]] && ((EUID == 0)) || return 0
    lab_say 'taking down what an earlier, killed script left behind'
    lab_take_down
}

lab_take_down() {
    local before=$LAB_RUN_DIR/before
    lab_end_processes
    if [[ -d $before ]]; then
        local data_root socket
        data_root=$(<"$before/data-root") socket=$(<"$before/socket")
        lab_unmount "$data_root"
        lab_unmount "$LAB_RUN_DIR"
        [[ $(<"$before/boot_id") != $(</proc/sys/kernel/random/boot_id) ]] || lab_put_back_kernel "$before" ||
            lab_say 'the firewall or ip_forward could not be put back'
        xargs -d '\n' rm -rf --one-file-system -- "$data_root" "$socket" <"$before/absent" || true
    fi
    rm -rf --one-file-system "$LAB_RUN_DIR" || true
}

# The engine's processes by comm name, among those that name our run folder.
lab_pids() { # COMM...
    local file pid comm
    # shellcheck disable=SC2013  # these paths have no blanks
    for file in $(grep -lsaF -- "$LAB_RUN_DIR/" /proc/[0-9]*/cmdline); do
        pid=${file//[^0-9]/}
        comm=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
        [[ " $* " != *" $comm "* ]] || printf '%s ' "$pid"
    done
}

lab_await_no_pids() { # SECONDS
    local deadline=$((SECONDS + $1))
    while [[ $(lab_pids dockerd containerd containerd-shim) ]]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# First asks dockerd, which takes its containerd, shims and containers with it.
lab_end_processes() {
    local pid children
    for pid in $(lab_pids dockerd); do
        kill -TERM "$pid" 2>/dev/null || true
        lab_await_no_pids 30 && return 0
    done
    # Without a dockerd nobody tells the shims; the container's first process goes with them.
    for pid in $(lab_pids dockerd containerd) $(lab_pids containerd-shim); do
        children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) || true
        # shellcheck disable=SC2086  # a list of pids
        kill -KILL "$pid" $children 2>/dev/null || true
    done
    lab_await_no_pids 10 || lab_say "still alive: $(lab_pids dockerd containerd containerd-shim)"
}

lab_unmount() { # FOLDER
    local mount
    awk -v dir="$1" '$5 == dir || index($5, dir "/") == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r mount; do umount "$mount" || umount -l "$mount" || true; done
}

lab_links() { ip -o link | awk -F '[:@] *' '{ print $2 }' | sort; }
lab_cgroups() { find /sys/fs/cgroup -maxdepth 3 -type d \( -name docker -o -path '*/docker/*' \) | sort; }

lab_put_back_kernel() { # BEFORE
    local link group
    for link in $(lab_links | comm -13 "$1/links" -); do
        case $link in docker0 | docker_gwbridge | br-* | veth*) ip link delete "$link" 2>/dev/null || true ;; esac
    done
    lab_put_back_firewall iptables "$1/iptables" ip
    lab_put_back_firewall ip6tables "$1/ip6tables" ip6
    cat "$1/ip_forward" >/proc/sys/net/ipv4/ip_forward
    for group in $(lab_cgroups | comm -13 "$1/cgroups" -); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

lab_put_back_firewall() { # TOOL SAVED FAMILY
    local table chain
    for table in $("$1-save" | sed -n 's/^\*//p'); do
        grep -qx "\*$table" "$2" && continue # restored as a whole, below
        for chain in INPUT FORWARD OUTPUT; do
            [[ $table != filter ]] || "$1" -P "$chain" ACCEPT
        done
        "$1" -t "$table" -F
        "$1" -t "$table" -X
        # iptables can empty a table but not delete it; with the legacy backend there is none.
        nft delete table "$3" "$table" 2>/dev/null || true
    done
    "$1-restore" -c <"$2"
}
