#!/usr/bin/env bash
# Recorded payloads that senders' own makers publish, and the libraries that they send and sign with, from npm; OpenTelemetry's gRPC exporter
# of Python, which sends again by itself, from PyPI.
#
#   samples.sh install        Node 18 or newer with npm, Python 3.10 or newer with venv, and the packages, each only where missing
#   samples.sh env            prints where they lie
#
# Used by tests only; nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

modules=$(npm_folder "$here/samples/package.json" samples)
requirements="$here/samples/requirements.txt"
python=$(python_folder "$requirements" samples-python)

case "${1:-}" in
install)
    node_is_there
    npm_install "$here/samples/package.json" "$modules" "GitHub's example payloads and the senders' libraries"
    python_install "$requirements" "$python" "OpenTelemetry's exporter"
    ;;
env)
    printf 'export AEGIS_TEST_GITHUB_EXAMPLES=%q\n' "$modules/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    printf 'export AEGIS_TEST_NODE_MODULES=%q\n' "$modules/node_modules"
    printf 'export AEGIS_TEST_OTEL_PYTHON=%q\n' "$python/bin/python"
    ;;
*) die "usage: $0 install | env" ;;
esac
