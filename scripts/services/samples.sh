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
# The file is part of the name: another version is another folder.
python="$AEGIS_TEST_CACHE/samples-python/$(cksum <"$requirements" | cut -d ' ' -f 1)"

# Installs into a folder of its own, whole or not at all, once. A virtual environment cannot be moved, so it is made where it stays.
python_install() {
    [ ! -f "$python/.complete" ] || return 0
    if ! have python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then apt_install python3 python3-venv; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed; it is $(python3 --version)"
    say "downloading OpenTelemetry's exporter from PyPI to $python"
    rm -rf "$python"
    mkdir -p "$(dirname "$python")"
    python3 -m venv "$python" >&2 && "$python/bin/pip" install --quiet --requirement "$requirements" >&2 ||
        die "pip could not download OpenTelemetry's exporter"
    touch "$python/.complete"
}

case "${1:-}" in
install)
    node_is_there
    npm_install "$here/samples/package.json" "$modules" "GitHub's example payloads and the senders' libraries"
    python_install
    ;;
env)
    printf 'export AEGIS_TEST_GITHUB_EXAMPLES=%q\n' "$modules/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    printf 'export AEGIS_TEST_NODE_MODULES=%q\n' "$modules/node_modules"
    printf 'export AEGIS_TEST_OTEL_PYTHON=%q\n' "$python/bin/python"
    ;;
*) die "usage: $0 install | env" ;;
esac
