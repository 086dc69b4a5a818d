#!/usr/bin/env bash
# Prometheus with promtool, Alertmanager with amtool, and the pushgateway: only the programs. The end-to-end tests and the demo start them
# themselves, with settings and ports of their own, because they have to stop and restart them.
#
#   prometheus.sh install   programs already on the PATH are used; the others are unpacked from Debian's packages
#                           into the cache folder, without installing the packages: no service, no user, no root
#   prometheus.sh env       prints env lines with their paths
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

unpacked="$AEGIS_TEST_CACHE/prometheus"
# Package and program have the same name in Debian and Ubuntu; promtool comes with Prometheus, amtool with Alertmanager.
packages=(prometheus prometheus-alertmanager prometheus-pushgateway)
programs=("${packages[@]}" promtool amtool)

path_of() { command -v "$1" || { [ -x "$unpacked/usr/bin/$1" ] && echo "$unpacked/usr/bin/$1"; }; }

install() {
    local missing=() program scratch
    for program in "${packages[@]}"; do
        path_of "$program" >/dev/null || missing+=("$program")
    done
    # A Prometheus from elsewhere may have come without it.
    path_of promtool >/dev/null || [[ " ${missing[*]} " == *" prometheus "* ]] || missing+=(prometheus)
    path_of amtool >/dev/null || [[ " ${missing[*]} " == *" prometheus-alertmanager "* ]] || missing+=(prometheus-alertmanager)
    [ ${#missing[@]} -gt 0 ] || { install_template; return 0; }
    apt_update_if_empty "${missing[@]}"
    have dpkg-deb || die "dpkg-deb is missing"
    say "downloading and unpacking Debian packages (not installed) to $unpacked: ${missing[*]}"
    scratch=$(mktemp -d)
    # apt downloads as the user _apt, which must be able to write here.
    chmod 755 "$scratch"
    [ "$(id -u)" -ne 0 ] || chown _apt "$scratch" 2>/dev/null || true
    if ! (cd "$scratch" && apt-get download -q "${missing[@]}" >&2); then
        say "apt-get update and one more try"
        as_root apt-get update -q >&2
        (cd "$scratch" && apt-get download -q "${missing[@]}" >&2) ||
            { rm -rf "$scratch"; die "apt-get could not download: ${missing[*]}"; }
    fi
    mkdir -p "$unpacked"
    local package
    for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$unpacked"; done
    rm -rf "$scratch"
    install_template
    for program in "${missing[@]}" promtool amtool; do
        "$(path_of "$program")" --version >/dev/null 2>&1 || die "$unpacked/usr/bin/$program does not run"
    done
}

# Alertmanager reads its default templates from the place that the package would have put them at, and nowhere else.
install_template() {
    local place=/usr/share/prometheus/alertmanager
    [ ! -e "$place/default.tmpl" ] && [ -e "$unpacked$place/default.tmpl" ] || return 0
    say "copying Alertmanager's default templates to $place"
    as_root mkdir -p "$place"
    as_root cp "$unpacked$place/default.tmpl" "$place/"
    [ ! -e "$unpacked$place/email.tmpl" ] || as_root cp "$unpacked$place/email.tmpl" "$place/"
}

print_env() {
    local program
    for program in "${programs[@]}"; do
        path_of "$program" >/dev/null || die "$program is missing: run '$0 install' first"
    done
    printf "export AEGIS_TEST_PROMETHEUS_BIN='%s'\n" "$(path_of prometheus)"
    printf "export AEGIS_TEST_PROMTOOL_BIN='%s'\n" "$(path_of promtool)"
    printf "export AEGIS_TEST_ALERTMANAGER_BIN='%s'\n" "$(path_of prometheus-alertmanager)"
    printf "export AEGIS_TEST_AMTOOL_BIN='%s'\n" "$(path_of amtool)"
    printf "export AEGIS_TEST_PUSHGATEWAY_BIN='%s'\n" "$(path_of prometheus-pushgateway)"
}

case "${1:-}:$#" in
install:1) install ;;
env:1) print_env ;;
*) die "usage: $0 install | env" ;;
esac
