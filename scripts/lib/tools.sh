# shellcheck shell=bash
# ensure_tools: what some of the tests look at the gateway with: slowhttptest, and testssl.sh of a suite
# whose version grades (3.2; it is a shell script, so it runs on any).

# shellcheck source-path=SCRIPTDIR source=debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

LAB_TESTSSL_SUITE=trixie

ensure_tools() {
    if ! command -v apt-get >/dev/null || ((EUID != 0)); then
        local tool
        for tool in slowhttptest testssl; do
            command -v "$tool" >/dev/null || lab_say "$tool is missing: the tests that use it will fail"
        done
        return 0
    fi
    # testssl.sh gives up without a way to look a name up, also where it has none to look up.
    lab_apt_install slowhttptest=slowhttptest openssl=openssl hexdump=bsdextrautils ps=procps host=bind9-host
    local testssl=$LAB_DIR/testssl
    if [[ ! -d $testssl ]]; then
        lab_say "unpacking testssl.sh ($LAB_TESTSSL_SUITE)"
        lab_apt_update
        rm -rf "$testssl.new"
        lab_unpack "$LAB_TESTSSL_SUITE" "$testssl.new" testssl.sh
        mv "$testssl.new" "$testssl"
    fi
    export PATH=$testssl/usr/bin:$PATH TESTSSL_INSTALL_DIR=$testssl/etc/testssl
}
