#!/usr/bin/env bash
# Redis for the tests: a server of its own on loopback, with a password.
#
#   redis.sh install        Debian's Redis, only where no server is installed; its service is not started
#   redis.sh start FOLDER   starts a server in FOLDER; returns once it answers; prints an env line
#   redis.sh stop FOLDER    stops it
#   redis.sh crash FOLDER   kill -9
#   redis.sh revive FOLDER  starts it again after that, with what it had written, on its port; returns once it answers
#   redis.sh forget FOLDER  throws away what a killed server had written: it comes back without its memory
#   redis.sh freeze FOLDER  it stands still, with its connections open
#   redis.sh thaw FOLDER    it goes on
#
# Every write is on disk before it is answered (appendfsync always), so what a killed server forgets is what a test told it to forget.
# It does not do: TLS, cluster, replicas.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

password=aegis-redis-test

install() {
    have redis-server || apt_install redis-server
    have redis-server || die "no redis-server after installing the package redis-server"
}

answers() { [ "$(REDISCLI_AUTH="$password" redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null)" = PONG ]; }

serve() {
    local folder=$1 port
    port=$(cat "$folder/port")
    redis-server "$folder/redis.conf" >>"$folder/redis.log" 2>&1 &
    printf '%s\n' "$!" >"$folder/redis.pid"
    wait_until 30 "Redis to answer on port $port" answers "$port" || { tail_log "$folder/redis.log"; return 1; }
}

start() {
    local folder=$1 port
    have redis-server || die "Redis is missing: run '$0 install' first"
    mkdir -p "$folder/data"
    folder=$(cd "$folder" && pwd)
    [ ! -e "$folder/redis.conf" ] || die "$folder already has a Redis; stop it first"
    port=$(free_ports 1)
    printf '%s\n' "$port" >"$folder/port"
    # The title of the process stays its command line, by which it is known again.
    cat >"$folder/redis.conf" <<CONFIG
bind 127.0.0.1
port $port
requirepass $password
dir $folder/data
set-proc-title no
daemonize no
save ""
appendonly yes
appendfsync always
maxmemory 64mb
CONFIG
    serve "$folder" || die "Redis did not start"
    printf "export AEGIS_TEST_REDIS='redis://:%s@127.0.0.1:%s/0'\n" "$password" "$port"
}

pid_of() {
    local pid
    pid=$(head -n 1 "$1/redis.pid" 2>/dev/null || true)
    [ -n "$pid" ] && pid_is_ours "$pid" "$1" || die "no Redis runs in $1"
    printf '%s\n' "$pid"
}

crash() {
    local folder pid
    folder=$(cd "$1" && pwd)
    pid=$(pid_of "$folder")
    kill -KILL "$pid"
    wait_until 10 "Redis (process $pid) to die" pid_is_gone "$pid" "$folder"
}

forget() {
    local folder
    folder=$(cd "$1" && pwd)
    ! pid_is_ours "$(head -n 1 "$folder/redis.pid")" "$folder" || die "Redis still runs in $folder"
    rm -rf "$folder/data"
    mkdir "$folder/data"
}

signal() {
    local folder
    folder=$(cd "$2" && pwd)
    kill "-$1" "$(pid_of "$folder")"
}

case "${1:-}:$#" in
install:1) install ;;
start:2) start "$2" ;;
stop:2) [ ! -d "$2" ] || stop_pid Redis "$2/redis.pid" "$(cd "$2" && pwd)" ;;
crash:2) crash "$2" ;;
revive:2) serve "$(cd "$2" && pwd)" || die "Redis did not start again" ;;
forget:2) forget "$2" ;;
freeze:2) signal STOP "$2" ;;
thaw:2) signal CONT "$2" ;;
*) die "usage: $0 install | start FOLDER | stop FOLDER | crash FOLDER | revive FOLDER | forget FOLDER | freeze FOLDER | thaw FOLDER" ;;
esac
