#!/usr/bin/env bash
# The pictures of docs/images, from the running product: the incident of `make demo-oom`, and the pipeline that it went through.
#
# Needs what `make demo-oom` and `make web` have built, and Chromium.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/services/lib.sh"
eval "$("$here/services/prometheus.sh" env)"
eval "$("$here/web.sh" env)"
"$here/web.sh" browser

target="${CARGO_TARGET_DIR:-$AEGIS_TEST_CACHE/target}"
log=$(mktemp)
"$target/release/bench" demo-oom --keep >"$log" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; rm -f "$log"' EXIT
page() { grep -oE 'http://127\.0\.0\.1:[0-9]+/incidents/[0-9a-f-]+' "$log" | head -n 1; }
told() { [ -n "$(page)" ]; }
wait_until 180 "the demo's incident" told || { cat "$log" >&2; exit 1; }
node "$here/../dashboards/web/e2e/pictures.mjs" "$(page)" "$here/../docs/images"
