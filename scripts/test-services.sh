#!/usr/bin/env bash
# The servers the tests talk to: Apache Kafka, PostgreSQL, TimescaleDB and Redis, started on free ports of loopback; and the
# paths of Prometheus, Alertmanager and the pushgateway, which the tests start themselves, of what checks docker-compose.yml, of MCP clients, and of ONNX Runtime with a model.
#
#   test-services.sh up      installs what is missing, starts, waits until both serve; a second `up` does nothing
#   test-services.sh env     prints the variables to export:  eval "$(scripts/test-services.sh env)"
#   test-services.sh down    stops them by process id and deletes their data
#
# AEGIS_TEST_SERVICES_DIR is where the state lives (default: ~/.cache/aegis/services); two sets with two such folders
# run side by side. The servers' data is in a fresh temporary folder for each `up`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/services/lib.sh"

state="${AEGIS_TEST_SERVICES_DIR:-$AEGIS_TEST_CACHE/services}"

down() {
    local root
    [ -f "$state/root" ] || { say "no test services are up"; return 0; }
    root=$(cat "$state/root")
    "$here/services/kafka.sh" stop "$root/kafka"
    "$here/services/postgres.sh" stop "$root/postgres"
    "$here/services/timescale.sh" stop "$root/timescale"
    "$here/services/redis.sh" stop "$root/redis"
    # Only a folder that `up` made is deleted, whatever the state file says.
    case "$root" in */aegis-services.*) rm -rf "$root" ;; esac
    rm -f "$state/root" "$state/env"
    say "test services stopped"
}

# True when everything `up` started still listens.
alive() {
    [ -s "$state/env" ] || return 1
    (
        # shellcheck disable=SC1091
        . "$state/env"
        local postgres=${AEGIS_TEST_POSTGRES#*@} timescale=${AEGIS_TEST_TIMESCALE#*@} redis=${AEGIS_TEST_REDIS#*@}
        postgres=${postgres%/*} timescale=${timescale%/*} redis=${redis%/*}
        port_open "${AEGIS_TEST_KAFKA##*:}" && port_open "${postgres##*:}" && port_open "${timescale##*:}" &&
            port_open "${redis##*:}"
    )
}

up() {
    local root
    if alive; then
        say "test services are already up: $state/env"
        return 0
    fi
    [ ! -f "$state/root" ] || down

    "$here/services/kafka.sh" install
    "$here/services/postgres.sh" install
    "$here/services/timescale.sh" install
    "$here/services/redis.sh" install
    "$here/services/prometheus.sh" install
    "$here/services/samples.sh" install
    "$here/services/compose.sh" install
    "$here/services/mcp.sh" install
    "$here/services/terraform.sh" install
    "$here/services/models.sh" install
    "$here/web.sh" require
    "$here/web.sh" browser

    root=$(mktemp -d "${TMPDIR:-/tmp}/aegis-services.XXXXXX")
    # PostgreSQL runs as another user when this runs as root, and has to get through.
    chmod 711 "$root"
    printf '%s\n' "$root" >"$state/root"
    # Joined with &&: inside a condition `set -e` does not stop at the first failure.
    if ! {
        "$here/services/kafka.sh" start "$root/kafka" 9>&- &&
            "$here/services/postgres.sh" start "$root/postgres" 9>&- &&
            "$here/services/timescale.sh" start "$root/timescale" 9>&- &&
            "$here/services/redis.sh" start "$root/redis" 9>&- &&
            "$here/services/prometheus.sh" env &&
            "$here/services/samples.sh" env &&
            "$here/services/compose.sh" env &&
            "$here/services/mcp.sh" env &&
            "$here/services/terraform.sh" env &&
            "$here/services/models.sh" env &&
            "$here/web.sh" env
    } >"$state/env.new"; then
        rm -f "$state/env.new"
        down
        die "the test services did not start"
    fi
    mv "$state/env.new" "$state/env"
    say "test services are up: $state/env"
}

# One `up` or `down` at a time. What `up` starts closes descriptor 9, or a server would keep the lock for its life.
locked() {
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock 9
    "$@"
}

case "${1:-}" in
up) locked up ;;
down) locked down ;;
env) alive || die "no test services are up: run '$0 up' first"; cat "$state/env" ;;
*) die "usage: $0 up | env | down" ;;
esac
