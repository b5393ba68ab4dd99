# shellcheck shell=bash
# What scripts/demo, soak and bench share: images, a measurement that ends cleanly, its result.
# Use:  source scripts/lib/bench.sh; bench_begin; bench_build 1 2; bench_run bench.soak ARG...

# shellcheck source-path=SCRIPTDIR source=venv.sh
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
# shellcheck source-path=SCRIPTDIR source=engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source-path=SCRIPTDIR source=images.sh
source "$(dirname "${BASH_SOURCE[0]}")/images.sh"

BENCH_BUILT=() # tags that were not there before

bench_begin() {
    BENCH_RESULT=$(mktemp)
    export BENCH_RESULT
    trap bench_end EXIT
    ensure_venv
    ensure_engine
    ensure_base_images
}

# Everything that was started is gone before the result is told: it is the very last line.
bench_end() {
    trap '' INT TERM
    ((!${#BENCH_BUILT[@]})) || docker image rm -f "${BENCH_BUILT[@]}" >/dev/null 2>&1 || true
    stop_engine
    cat "$BENCH_RESULT"
    rm -f "$BENCH_RESULT"
}

bench_build() { # RELEASE...
    local release
    bench_image gateway:local "$LAB_REPO_ROOT"
    for release in "$@"; do
        bench_image "gateway-demo:$release" "$LAB_REPO_ROOT/compose/demo" --build-arg "RELEASE=$release"
    done
}

bench_image() { # TAG FOLDER ARG...
    local tag=$1 folder=$2
    shift 2
    lab_say "building $tag"
    lab_has_image "$tag" || BENCH_BUILT+=("$tag")
    # The host's network: package mirrors that the machine reaches through it alone.
    docker build -q --network=host -t "$tag" "$@" "$folder" >/dev/null
}

# In the background, so that a signal for us is passed on and we wait until it has cleaned up.
bench_run() { # MODULE ARG...
    local child status=0
    (cd "$LAB_REPO_ROOT" && exec .venv/bin/python -m "$@") &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null' INT TERM
    while :; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    trap - INT TERM
    return "$status"
}
