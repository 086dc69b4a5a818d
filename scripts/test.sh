#!/usr/bin/env bash
# Every test, in tiers: services, build, unit, integration, examples, web, browser. A failing tier does not hide the others; only a build
# that fails ends the run, as there is nothing to run then. The servers are stopped whatever happens. The last line
# is "N passed, N failed" and nothing else.
#
# With AEGIS_TEST_REQUIRE=1, set here, a test whose server is not there fails; without it, it may skip itself.
# A tier that fails without a failed test (it did not compile, a server did not start, a test binary died) counts
# as one failure, so the last line never reads well when something is wrong.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=scripts/services/lib.sh
. scripts/services/lib.sh

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$AEGIS_TEST_CACHE/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
passed=0 failed=0 summary=()

scratch=$(mktemp -d)
# Servers of its own: a set that somebody keeps up for work by hand is left alone, and so are its data.
export AEGIS_TEST_SERVICES_DIR="$scratch/services"
clean_up() {
    [ ! -f "$AEGIS_TEST_SERVICES_DIR/root" ] || scripts/test-services.sh down || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# tier NAME COMMAND...: runs it, counts what cargo, Vitest and Playwright say at their ends, prints name, seconds and count.
tier() {
    local name=$1 started=$SECONDS rc=0 ok bad
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$scratch/$name.log" || rc=1
    [ "$rc" -eq 0 ] || faults "$name" "$scratch/$name.log"
    # Cargo ends each test binary with: test result: ok. 3 passed; 0 failed; 0 ignored; ...
    ok=$(awk '/^test result: /{ for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i - 1) } END { print n + 0 }' "$scratch/$name.log")
    bad=$(awk '/^test result: /{ for (i = 2; i <= NF; i++) if ($i ~ /^failed/) n += $(i - 1) } END { print n + 0 }' "$scratch/$name.log")
    # Vitest: "Tests  3 passed (3)"; Playwright: "  3 passed (1.2m)", and "  1 failed" before it.
    if [ "$ok" -eq 0 ] && [ "$bad" -eq 0 ]; then
        ok=$(counted passed "$scratch/$name.log")
        bad=$(counted failed "$scratch/$name.log")
    fi
    if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    summary+=("$(printf '%-12s %5d s  %d passed, %d failed' "$name" $((SECONDS - started)) "$ok" "$bad")")
    return "$rc"
}

# faults NAME LOG: the failed tests of a tier with what they said, so that they stand at the end of a long output as well.
faults() {
    local found
    found=$(sed 's/\x1b\[[0-9;]*m//g' "$2" | awk '
        /^test .* FAILED$/ || /^ *(✘|×) / || /^ *FAIL / || /^error(\[|:)/ { print; next }
        /panicked at / { print; said = 3; next }
        said > 0 { print; said-- }
        /^ *(Error|AssertionError|TimeoutError): / { print }' | cut -c1-400 | head -n 60)
    [ -z "$found" ] || printf '%s:\n%s\n' "$1" "$found" >>"$scratch/faults"
}

# counted WORD LOG: the numbers before WORD on lines that begin with a count, without colours.
counted() {
    sed 's/\x1b\[[0-9;]*m//g; s/^ *Tests *//; s/|/ /g' "$2" |
        awk -v word="$1" '$1 ~ /^[0-9]+$/ { for (i = 2; i <= NF; i++) if ($i == word && $(i - 1) ~ /^[0-9]+$/) n += $(i - 1) } END { print n + 0 }'
}

# All tiers see the servers, so that no test skips itself for want of one. `--test '*'` is the files of the tests/
# folders alone: --tests would run the unit tests a second time.
tier services scripts/test-services.sh up
# A server that did not start leaves its variables unset, and every test that needs it fails by name.
# shellcheck disable=SC1091
[ ! -f "$AEGIS_TEST_SERVICES_DIR/env" ] || . "$AEGIS_TEST_SERVICES_DIR/env"
export AEGIS_TEST_REQUIRE=1
if tier build cargo test --release --workspace --no-run; then
    tier unit cargo test --release --workspace --lib --bins --no-fail-fast
    tier integration cargo test --release --workspace --test '*' --no-fail-fast
    # Among them what must not compile: an approval that somebody forged.
    tier examples cargo test --release --workspace --doc --no-fail-fast
    tier web scripts/web.sh check
    tier browser scripts/web.sh browse
else
    summary+=("unit, integration, examples, web, browser: not run, the workspace does not compile")
fi

if [ -f "$scratch/faults" ]; then
    printf '\n== what failed\n'
    cat "$scratch/faults"
fi
printf '\n'
printf '%s\n' "${summary[@]}"
# Nothing ran: that is not a success.
[ $((passed + failed)) -gt 0 ] || failed=1
# Stopped before the last line, so that the line is the last.
trap - EXIT
clean_up
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
