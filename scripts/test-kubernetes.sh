#!/usr/bin/env bash
# The opt-in tier on a real Kubernetes API server: builds it (once for each version), starts a cluster, runs the tests that are written
# for it, and stops it. `make test` runs the same tests on the stand-in of bench/world and says of these that they were not run.
#
# AEGIS_TEST_KUBERNETES names a cluster that runs already (scripts/services/kubernetes.sh start FOLDER): it is used and left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/services/lib.sh
. scripts/services/lib.sh
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$AEGIS_TEST_CACHE/target}"

have curl || apt_install curl
scripts/services/prometheus.sh install
eval "$(scripts/services/prometheus.sh env)"
if [ -z "${AEGIS_TEST_KUBERNETES:-}" ]; then
    scripts/services/kubernetes.sh install
    folder=$(mktemp -d "${TMPDIR:-/tmp}/aegis-kubernetes.XXXXXX")
    trap 'scripts/services/kubernetes.sh stop "$folder" && rm -rf "$folder"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    variables=$(scripts/services/kubernetes.sh start "$folder")
    eval "$variables"
fi
# One after the other: they share the cluster, and one of them kills its API server.
export AEGIS_TEST_REQUIRE=1
cargo test --release --workspace --test acting --test kubernetes --test demo_oom "$@" -- real_api_server --nocapture --test-threads=1
