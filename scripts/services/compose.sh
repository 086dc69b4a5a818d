#!/usr/bin/env bash
# What reads docker-compose.yml and the collector's configuration, for the tests that check them: the loader of Docker Compose (its schema
# and its consistency checks) and an OpenTelemetry collector with the components that dashboards/compose/collector.yml names. No Docker
# is needed.
#
#   compose.sh install   builds both from their Go modules into the cache folder, once for each version (compose/go.mod)
#   compose.sh env       prints env lines with their paths
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

sources="$here/compose"
# The files are part of the name: another version is another folder.
programs="$AEGIS_TEST_CACHE/compose/$(cat "$sources/go.mod" "$sources/go.sum" "$sources/collector/main.go" | cksum | cut -d ' ' -f 1)"
# Not less: the modules ask for it.
go_least=1.26.0

install() {
    local go fresh
    [ ! -f "$programs/.complete" ] || return 0
    go=$(go_program "$go_least")
    say "building the loader of Docker Compose and an OpenTelemetry collector from Go modules to $programs (about 75 seconds of one core)"
    mkdir -p "$(dirname "$programs")"
    fresh=$(mktemp -d "$programs.XXXXXX")
    # Without cgo no compiler for C is needed; go.sum pins every module.
    if ! (cd "$sources" && CGO_ENABLED=0 GOFLAGS=-mod=readonly "$go" build -trimpath -ldflags '-s -w' -o "$fresh/" tool ./collector \
        >"$fresh/build.log" 2>&1); then
        tail_log "$fresh/build.log"
        rm -rf "$fresh"
        die "the programs that check docker-compose.yml could not be built"
    fi
    # The module's package is called `cmd`.
    mv "$fresh/cmd" "$fresh/compose-spec"
    touch "$fresh/.complete"
    # Two that build at once: the first rename wins, the other copy is thrown away.
    mv -T "$fresh" "$programs" 2>/dev/null || rm -rf "$fresh"
    [ -f "$programs/.complete" ] || die "$programs is in the way: remove it and try again"
}

print_env() {
    [ -f "$programs/.complete" ] || die "the programs that check docker-compose.yml are missing: run '$0 install' first"
    printf 'export AEGIS_TEST_COMPOSE_BIN=%q\n' "$programs/compose-spec"
    printf 'export AEGIS_TEST_COLLECTOR_BIN=%q\n' "$programs/collector"
}

case "${1:-}:$#" in
install:1) install ;;
env:1) print_env ;;
*) die "usage: $0 install | env" ;;
esac
