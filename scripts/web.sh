#!/usr/bin/env bash
# The dashboard's files, from dashboards/web into dashboards/web/dist, where the program takes them in when it is compiled.
#
#   web.sh build      npm's packages and the files, each only where they are missing or older than their sources; without Node it says so, and
#                     the program is built without them
#   web.sh require    the same; Node 20 is installed where it is missing
#   web.sh check      what tests of the page's own code there are, types and lints
#   web.sh browser    installs Chromium where it is missing
#   web.sh browse     the tests in Chromium, against the program in CARGO_TARGET_DIR
#   web.sh env        prints where npm's packages lie
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/services/lib.sh"
web="$here/../dashboards/web"

# The page is built with Node 20.19 or newer. Where the system's is older, one of npm's is used.
node_of_npm="$AEGIS_TEST_CACHE/node/node_modules/node-linux-$(case "$(uname -m)" in x86_64) echo x64 ;; *) echo arm64 ;; esac)/bin"
[ ! -x "$node_of_npm/node" ] || PATH="$node_of_npm:$PATH"

new_enough() {
    have node && have npm && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
}

get_node() {
    new_enough && return 0
    node_is_there
    new_enough && return 0
    say "downloading Node 22 from npm to $AEGIS_TEST_CACHE/node ($(node --version) is too old for the dashboard)"
    mkdir -p "$AEGIS_TEST_CACHE/node"
    npm install --prefix "$AEGIS_TEST_CACHE/node" --no-audit --no-fund --ignore-scripts \
        "node-linux-$(case "$(uname -m)" in x86_64) echo x64 ;; *) echo arm64 ;; esac)@22" >&2
    PATH="$node_of_npm:$PATH"
    new_enough || die "Node 20.19 or newer is needed for the dashboard; 'node --version' says: $(node --version 2>&1 || true)"
}

# What the packages, and what the files are made from.
packages_of() { cat "$web/package-lock.json" | cksum | cut -d ' ' -f 1; }
sources_of() {
    (cd "$web" && find src public index.html vite.config.ts tsconfig*.json package-lock.json -type f -print0 | sort -z | xargs -0 cksum | cksum | cut -d ' ' -f 1)
}

packages() {
    local wanted
    wanted=$(packages_of)
    [ "$(cat "$web/node_modules/.made-from" 2>/dev/null || true)" != "$wanted" ] || return 0
    say "downloading the dashboard's packages from npm (about 250 MB)"
    (cd "$web" && npm ci --no-audit --no-fund --ignore-scripts >&2)
    printf '%s\n' "$wanted" >"$web/node_modules/.made-from"
}

build() {
    local wanted
    packages
    wanted=$(sources_of)
    [ "$(cat "$web/node_modules/.built-from" 2>/dev/null || true)" != "$wanted" ] || [ ! -f "$web/dist/index.html" ] || return 0
    say "building the dashboard"
    (cd "$web" && npm run --silent build >&2)
    printf '%s\n' "$wanted" >"$web/node_modules/.built-from"
}

case "${1:-}" in
build)
    if new_enough; then
        build
    else
        say "no Node 20.19 or newer here: aegis is built without its dashboard (the page then says how to build it)"
    fi
    ;;
require)
    get_node
    build
    ;;
check)
    get_node
    packages
    cd "$web"
    npm run --silent typecheck && npm run --silent lint && npm test --silent
    ;;
browser)
    have chromium || apt_install chromium
    ;;
browse)
    get_node
    packages
    have chromium || apt_install chromium
    cd "$web"
    AEGIS_BIN="${AEGIS_BIN:-${CARGO_TARGET_DIR:-$AEGIS_TEST_CACHE/target}/release/aegis}" npm run --silent e2e
    ;;
env)
    printf 'export AEGIS_TEST_WEB_MODULES=%q\n' "$(cd "$web" && pwd)/node_modules"
    [ ! -x "$node_of_npm/node" ] || printf 'export PATH=%q:$PATH\n' "$node_of_npm"
    ;;
*) die "usage: $0 build | require | check | browser | browse | env" ;;
esac
