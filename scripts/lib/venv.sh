# shellcheck shell=bash
# ensure_venv: .venv in the repo root with the project (editable) and its dev tools.

# shellcheck source-path=SCRIPTDIR source=debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

ensure_venv() {
    local venv=$LAB_REPO_ROOT/.venv stamp=$LAB_REPO_ROOT/.venv/installed want python fd
    exec {fd}<"$LAB_REPO_ROOT"
    flock "$fd" # two scripts at the same time: the second finds the first one's work
    # The folder counts too: a venv that was moved with its checkout does not work.
    want=$(echo "$LAB_REPO_ROOT" | cat - "$LAB_REPO_ROOT/pyproject.toml" | sha256sum)
    if [[ ! -x $venv/bin/python || $(cat "$stamp" 2>/dev/null) != "$want" ]]; then
        python=$(lab_python)
        lab_say "installing the project into .venv ($("$python" --version))"
        "$python" -m venv --clear "$venv"
        (cd "$LAB_REPO_ROOT" && "$venv/bin/python" -m pip install -q -e '.[dev]')
        printf '%s\n' "$want" >"$stamp"
    fi
    exec {fd}<&-
}

# Prints a Python >= 3.11 that can make a venv (Debian's needs python3-venv for that).
lab_python() {
    lab_python_will_do python3 || lab_install_python >&2
    if lab_python_will_do python3; then echo python3; else echo /usr/bin/python3; fi
}

lab_python_will_do() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

lab_install_python() {
    lab_needs_debian_root 'Python >= 3.11 with venv is missing'
    lab_apt_update
    DEBIAN_FRONTEND=noninteractive apt-get -q=2 install --no-install-recommends -y python3 python3-venv >/dev/null
    lab_python_will_do /usr/bin/python3 || lab_die "Debian's python3 is older than 3.11"
}
