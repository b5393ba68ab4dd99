# shellcheck shell=bash
# ensure_base_images: nginx:1.30 and gateway-lab/python:3 on the engine that ensure_engine
# found. Pulled where a registry can be reached; otherwise one stand-in, made of Debian
# packages and laid out like the official nginx image, serves as both.

# shellcheck source-path=SCRIPTDIR source=debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

LAB_NGINX_IMAGE=nginx:1.30
LAB_PYTHON_IMAGE=gateway-lab/python:3
LAB_STANDIN_SUITE=forky # the suite that has nginx 1.30
LAB_STANDIN_TAR=$LAB_DIR/base-nginx.tar
LAB_STANDIN_FILES=$LAB_REPO_ROOT/scripts/lib/nginx-standin
# The last line is what our Dockerfile installs, so that this step is a quick no-op there.
LAB_STANDIN_PACKAGES=(nginx libnginx-mod-http-js libnginx-mod-stream gettext-base ca-certificates curl
    python3 python3-venv docker-cli docker-compose)
# Where the machine trusts a CA of its own, pip in a build step has to trust it too.
LAB_STANDIN_CA=${PIP_CERT:-${SSL_CERT_FILE:-}}
LAB_STANDIN_CA_IN_IMAGE=/usr/local/share/lab-ca.pem

ensure_base_images() {
    lab_has_image "$LAB_NGINX_IMAGE" || lab_pull "$LAB_NGINX_IMAGE" || lab_import_standin
    lab_has_image "$LAB_PYTHON_IMAGE" && return 0
    if lab_is_standin; then
        docker tag "$LAB_NGINX_IMAGE" "$LAB_PYTHON_IMAGE"
    else
        lab_pull python:3.13-slim || lab_die "$LAB_PYTHON_IMAGE needs it"
        docker tag python:3.13-slim "$LAB_PYTHON_IMAGE"
    fi
}

lab_has_image() { docker image inspect "$1" >/dev/null 2>&1; }

lab_pull() {
    local error
    error=$(timeout 60 docker pull -q "$1" 2>&1 >/dev/null) && return 0
    lab_say "$1 can't be pulled: ${error##*$'\n'}"
    return 1
}

lab_is_standin() {
    [[ $(docker image inspect -f '{{index .Config.Labels "gateway-lab.standin"}}' "$LAB_NGINX_IMAGE") == yes ]]
}

lab_import_standin() {
    lab_standin_is_cached || lab_build_standin
    lab_say "importing the stand-in for $LAB_NGINX_IMAGE"
    local version changes
    version=$(tar -xOf "$LAB_STANDIN_TAR" ./usr/local/share/nginx-version)
    changes=(--change 'ENTRYPOINT ["/docker-entrypoint.sh"]' --change 'EXPOSE 80'
        --change 'CMD ["nginx", "-g", "daemon off;"]' --change 'STOPSIGNAL SIGQUIT'
        --change "ENV NGINX_VERSION=$version" --change 'LABEL gateway-lab.standin=yes'
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
    [[ ! $LAB_STANDIN_CA ]] ||
        changes+=(--change "ENV PIP_CERT=$LAB_STANDIN_CA_IN_IMAGE SSL_CERT_FILE=$LAB_STANDIN_CA_IN_IMAGE")
    docker import "${changes[@]}" "$LAB_STANDIN_TAR" "$LAB_NGINX_IMAGE" >/dev/null
}

# Built again when a file that goes into it is newer.
lab_standin_is_cached() {
    [[ -s $LAB_STANDIN_TAR ]] || return 1
    local sources=("$LAB_STANDIN_FILES" "${BASH_SOURCE[0]}")
    [[ ! $LAB_STANDIN_CA ]] || sources+=("$LAB_STANDIN_CA")
    [[ ! $(find -L "${sources[@]}" -newer "$LAB_STANDIN_TAR" -print -quit) ]]
}

lab_build_standin() {
    lab_needs_debian_root "$LAB_NGINX_IMAGE can't be pulled"
    lab_apt_install mmdebstrap=mmdebstrap
    lab_apt_update
    lab_say "building the stand-in for $LAB_NGINX_IMAGE (Debian $LAB_STANDIN_SUITE)"
    local new=$LAB_STANDIN_TAR.new mirror packages hooks
    mirror=$(lab_debian_mirror)
    packages=$(IFS=,; echo "${LAB_STANDIN_PACKAGES[*]}")
    # shellcheck disable=SC2016  # $1 is for mmdebstrap's hooks: the new root
    hooks=('--customize-hook=mkdir "$1/tmp/standin"'
        "--customize-hook=copy-in $LAB_STANDIN_FILES/. /tmp/standin"
        '--customize-hook=chroot "$1" sh -c "cd /tmp/standin && sh install.sh && rm -r /tmp/standin"')
    [[ ! $LAB_STANDIN_CA ]] ||
        hooks+=("--customize-hook=upload $LAB_STANDIN_CA $LAB_STANDIN_CA_IN_IMAGE")
    # The suite's Release file is past its date, here and in our image's build.
    mmdebstrap --quiet --variant=minbase --include="$packages" "${hooks[@]}" \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --format=tar "$LAB_STANDIN_SUITE" "$new" "$mirror"
    mv "$new" "$LAB_STANDIN_TAR"
}
