#!/usr/bin/env bash
# TimescaleDB for the tests, without Docker: PostgreSQL with the extension in WASM (an npm package), behind a bridge of
# ours that speaks TCP (timescale/bridge.mjs, which says what it cannot do).
#
#   timescale.sh install        Node 18 or newer with npm, and the package, each only where missing
#   timescale.sh start FOLDER   starts a server; returns once it answers; prints an env line
#   timescale.sh stop FOLDER    stops it
#
# The package is used by tests only: it holds TimescaleDB's TSL part and is neither vendored nor shipped.
# It does not do: data that outlives the process (it is in memory), passwords, TLS.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

modules=$(npm_folder "$here/timescale/package.json" timescale)

install() {
    node_is_there
    npm_install "$here/timescale/package.json" "$modules" "TimescaleDB in WASM (about 25 MB)"
}

# Serving, or already dead.
settled() { grep -q '^ready' "$1/timescale.log" || pid_is_gone "$(cat "$1/timescale.pid")" "$1"; }

start() {
    local folder=$1 port
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    [ ! -s "$folder/timescale.pid" ] || die "$folder already has a TimescaleDB; stop it first"
    [ -f "$modules/.complete" ] || die "TimescaleDB in WASM is missing: run '$0 install' first"
    port=$(free_ports 1)
    : >"$folder/timescale.log"
    # A process group of its own: Ctrl-C in the terminal ends the tests, whose trap then stops the server in order.
    setsid node "$here/timescale/bridge.mjs" "$modules" "$port" "$folder" </dev/null >"$folder/timescale.log" 2>&1 &
    printf '%s\n' "$!" >"$folder/timescale.pid"
    # 2 seconds on an idle machine, half a minute on a loaded one.
    if ! wait_until 180 "TimescaleDB to serve" settled "$folder" || ! pid_is_ours "$(cat "$folder/timescale.pid")" "$folder"; then
        tail_log "$folder/timescale.log"
        stop_pid timescale "$folder/timescale.pid" "$folder" || true
        die "TimescaleDB did not start"
    fi
    printf 'export AEGIS_TEST_TIMESCALE=postgres://postgres@127.0.0.1:%s/postgres\n' "$port"
}

case "${1:-}:$#" in
install:1) install ;;
start:2) start "$2" ;;
stop:2) stop_pid timescale "$2/timescale.pid" "$2" ;;
*) die "usage: $0 install | start FOLDER | stop FOLDER" ;;
esac
