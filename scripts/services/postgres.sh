#!/usr/bin/env bash
# PostgreSQL for the tests: a cluster of its own on loopback.
#
#   postgres.sh install        Debian's PostgreSQL, only where no server is installed; its service is not started
#   postgres.sh start FOLDER   makes and starts a cluster in FOLDER; returns once it answers; prints an env line
#   postgres.sh stop FOLDER    stops it
#   postgres.sh crash FOLDER   kill -9 of the server; its sessions end with it
#   postgres.sh revive FOLDER  starts it again after that, on its data and its port; returns once it answers
#   postgres.sh freeze FOLDER  it and its sessions stand still, with their connections open
#   postgres.sh thaw FOLDER    they go on
#
# PostgreSQL refuses to run as root, so root runs it as the user `postgres`.
# It does not do: durability beyond a kill of its processes (fsync is off: the data is thrown away with the folder), TLS, Unix sockets.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

user=aegis password=aegis-test database=aegis

# The folder with the newest server's programs; Debian keeps them off the PATH.
find_bin() {
    local found
    found=$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1 || true)
    [ -n "$found" ] || found=$(command -v postgres || true)
    [ -n "$found" ] || return 1
    dirname "$(readlink -f "$found")"
}

install() {
    find_bin >/dev/null || apt_install postgresql
    find_bin >/dev/null || die "no PostgreSQL server after installing the package postgresql"
}

as_server() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        # The caller's folder may be closed to the other user.
        (cd / && runuser -u "$server_user" -- "$@")
    fi
}

server_user_for_root() {
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

start() {
    local folder=$1 port
    bin=$(find_bin) || die "PostgreSQL is missing: run '$0 install' first"
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    [ ! -e "$folder/data" ] || die "$folder already has a PostgreSQL; stop it first"
    port=$(free_ports 1)
    server_user=$(server_user_for_root)
    printf '%s\n' "$password" >"$folder/password"
    if [ "$(id -u)" -eq 0 ]; then
        chown -R "$server_user" "$folder"
        as_server test -w "$folder" || die "the user $server_user cannot reach $folder; choose another TMPDIR"
    fi

    as_server "$bin/initdb" -D "$folder/data" -U "$user" --pwfile="$folder/password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 ||
        { tail_log "$folder/initdb.log"; die "initdb could not make a cluster in $folder/data"; }
    cat >>"$folder/data/postgresql.conf" <<CONFIG
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
fsync = off
full_page_writes = off
timezone = 'UTC'
CONFIG
    serve "$folder" || { tail_log "$folder/postgres.log"; die "PostgreSQL did not start"; }
    PGPASSWORD=$password "$bin/createdb" -h 127.0.0.1 -p "$port" -U "$user" "$database" >&2 ||
        { stop "$folder"; die "could not create the database $database"; }
    printf 'export AEGIS_TEST_POSTGRES=postgres://%s:%s@127.0.0.1:%s/%s\n' "$user" "$password" "$port" "$database"
}

# -w returns once the server answers, or says why it does not.
serve() {
    as_server "$bin/pg_ctl" -D "$1/data" -l "$1/postgres.log" -w -t 60 start >"$1/pg_ctl.log" 2>&1 </dev/null
}

crash() {
    local folder pid
    folder=$(cd "$1" && pwd)
    pid=$(head -n 1 "$folder/data/postmaster.pid")
    pid_is_ours "$pid" "$folder" || die "no PostgreSQL runs in $folder"
    kill -KILL "$pid"
    wait_until 10 "PostgreSQL (process $pid) to die" pid_is_gone "$pid" "$folder"
}

revive() {
    local folder
    folder=$(cd "$1" && pwd)
    bin=$(find_bin)
    server_user=$(server_user_for_root)
    # Refused for as long as a session of the dead server is still there.
    wait_until 30 "PostgreSQL to start again" serve "$folder"
}

# The first line of postmaster.pid is the process; its command line names the data folder. TERM would wait for
# clients; INT is PostgreSQL's fast shutdown.
stop() {
    local file=$1/data/postmaster.pid pid
    [ -s "$file" ] || return 0
    pid=$(head -n 1 "$file")
    pid_is_ours "$pid" "$1" || return 0
    kill -INT "$pid"
    wait_until 20 "PostgreSQL (process $pid) to end" pid_is_gone "$pid" "$1" || { kill -QUIT "$pid"; return 1; }
}

# signal NAME FOLDER: to the server that runs there and to its sessions, which are its children.
signal() {
    local folder pid
    folder=$(cd "$2" && pwd)
    pid=$(head -n 1 "$folder/data/postmaster.pid")
    pid_is_ours "$pid" "$folder" || die "no PostgreSQL runs in $folder"
    # The server first: it could start a session while the others are being stopped.
    kill "-$1" "$pid"
    # A session may end meanwhile.
    for child in $(cat "/proc/$pid/task/$pid/children"); do kill "-$1" "$child" 2>/dev/null || true; done
}

case "${1:-}:$#" in
install:1) install ;;
start:2) start "$2" ;;
stop:2) stop "$2" ;;
crash:2) crash "$2" ;;
revive:2) revive "$2" ;;
freeze:2) signal STOP "$2" ;;
thaw:2) signal CONT "$2" ;;
*) die "usage: $0 install | start FOLDER | stop FOLDER | crash FOLDER | revive FOLDER | freeze FOLDER | thaw FOLDER" ;;
esac
