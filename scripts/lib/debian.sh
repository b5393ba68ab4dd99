# shellcheck shell=bash
# Debian packages for the lab: installed where bookworm's own will do, unpacked beside
# the system where a newer suite is needed. Sourced by engine.sh and images.sh.

LAB_REPO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_DIR=${LAB_DIR:-$LAB_REPO_ROOT/.lab}

lab_say() { printf 'lab: %s\n' "$*" >&2; }

lab_die() { lab_say "$*"; exit 1; }

lab_needs_debian_root() { # WHY
    command -v apt-get >/dev/null || lab_die "$1: this needs Debian's apt-get, or a running Docker Engine"
    ((EUID == 0)) || lab_die "$1: this needs root, or a running Docker Engine that you may use"
}

# Once a run is enough: the lists do not grow old within minutes.
lab_apt_update() {
    [[ ${LAB_APT_UPDATED:-} ]] || apt-get -q=2 update >&2
    LAB_APT_UPDATED=1
}

# lab_apt_install COMMAND=PACKAGE...: installs the packages whose command is missing.
lab_apt_install() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    lab_needs_debian_root "${missing[*]} missing"
    lab_say "installing ${missing[*]}"
    lab_apt_update
    # A new machine may be installing its own updates.
    DEBIAN_FRONTEND=noninteractive apt-get -q=2 -oDPkg::Lock::Timeout=300 install \
        --no-install-recommends -y "${missing[@]}" >/dev/null
}

# The mirror that apt already uses on this machine; no host name is written in this repo.
lab_debian_mirror() {
    local mirror
    # shellcheck disable=SC2016  # apt expands these, not the shell
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n 's,^Debian|Debian|\(.*[^/]\)/*$,\1,p' | sed -n 1p)
    [[ $mirror ]] || lab_die 'apt knows no Debian mirror here: run apt-get update first'
    printf '%s\n' "$mirror"
}

# lab_unpack SUITE DIR PACKAGE...: downloads the packages of another suite and unpacks
# them into DIR. Touches neither the system's files nor apt's own state.
lab_unpack() {
    local suite=$1 dir=$2 apt mirror work
    shift 2
    mirror=$(lab_debian_mirror)
    work=$dir.apt
    rm -rf "$work"
    mkdir -p "$work"/{lists,cache/archives}/partial "$dir"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror" "$suite" >"$work/sources.list"
    apt=(apt-get -q=2 -oDir::Etc::SourceList="$work/sources.list" -oDir::Etc::SourceParts=/dev/null
        -oDir::State::Lists="$work/lists" -oDir::Cache="$work/cache" -oDir::State::status=/dev/null
        -oAPT::Sandbox::User="$(id -un)" -oAcquire::Languages=none)
    "${apt[@]}" update >&2
    (cd "$work" && "${apt[@]}" download "$@" >&2)
    local deb
    for deb in "$work"/*.deb; do dpkg -x "$deb" "$dir"; done
    rm -rf "$work"
}
