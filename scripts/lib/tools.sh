# shellcheck shell=bash
# ensure_tools: what some of the tests look at the gateway with: slowhttptest, testssl.sh of a suite whose
# version grades (3.2; it is a shell script, so it runs on any); and a registry for the Swarm's nodes.

# shellcheck source-path=SCRIPTDIR source=debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

LAB_TOOLS_SUITE=trixie

ensure_tools() {
    if ! command -v apt-get >/dev/null || ((EUID != 0)); then
        local tool
        for tool in slowhttptest testssl docker-registry npm; do
            command -v "$tool" >/dev/null || lab_say "$tool is missing: the tests that use it will fail"
        done
        return 0
    fi
    # testssl.sh gives up without a way to look a name up, also where it has none to look up.
    lab_apt_install slowhttptest=slowhttptest openssl=openssl hexdump=bsdextrautils ps=procps host=bind9-host npm=npm
    lab_unpack_tool testssl.sh
    lab_unpack_tool docker-registry
    local tools=$LAB_DIR/tools
    export PATH=$tools/testssl.sh/usr/bin:$tools/docker-registry/usr/bin:$PATH
    export TESTSSL_INSTALL_DIR=$tools/testssl.sh/etc/testssl
}

lab_unpack_tool() { # PACKAGE
    local tool=$LAB_DIR/tools/$1
    [[ ! -d $tool ]] || return 0
    lab_say "unpacking $1 ($LAB_TOOLS_SUITE)"
    lab_apt_update
    rm -rf "$tool.new"
    mkdir -p "$LAB_DIR/tools"
    lab_unpack "$LAB_TOOLS_SUITE" "$tool.new" "$1"
    mv "$tool.new" "$tool"
}
