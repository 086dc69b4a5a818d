#!/usr/bin/env bash
# Recorded payloads that senders' own makers publish, and the libraries that they send and sign with, from npm.
#
#   samples.sh install        Node 18 or newer with npm, and the packages, each only where missing
#   samples.sh env            prints where they lie
#
# Used by tests only; nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

modules=$(npm_folder "$here/samples/package.json" samples)

case "${1:-}" in
install)
    node_is_there
    npm_install "$here/samples/package.json" "$modules" "GitHub's example payloads and the senders' libraries"
    ;;
env)
    printf 'export AEGIS_TEST_GITHUB_EXAMPLES=%q\n' "$modules/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    printf 'export AEGIS_TEST_NODE_MODULES=%q\n' "$modules/node_modules"
    ;;
*) die "usage: $0 install | env" ;;
esac
