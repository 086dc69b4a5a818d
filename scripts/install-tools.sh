#!/usr/bin/env bash
# What compiling needs: a C and C++ compiler, make, perl (librdkafka's OpenSSL is built from source), pkg-config,
# and a Rust of at least the version that Cargo.toml names. Installs only what is missing, and says so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/services/lib.sh"

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
PATH="$PATH:$HOME/.cargo/bin"

# True when VERSION (1.95.0) is at least the wanted one.
at_least() { [ "$(printf '%s\n%s\n' "$wanted" "$1" | sort -V | head -n 1)" = "$wanted" ]; }

rust_is_enough() {
    have cargo && have rustc && at_least "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)"
}

install_rust() {
    if have rustup; then
        say "installing Rust with rustup (the one here is missing or older than $wanted)"
        rustup toolchain install stable --profile minimal -c rustfmt -c clippy >&2
        rustup default stable >&2
        return
    fi
    apt_update_if_empty cargo
    local candidate
    candidate=$(apt-cache policy rustc | sed -n 's/^  Candidate: \([0-9.]*\).*/\1/p')
    if [ -n "$candidate" ] && at_least "$candidate"; then
        apt_install cargo rustc rustfmt rust-clippy
        return
    fi
    have curl || apt_install curl ca-certificates
    say "installing Rust with rustup into $HOME/.cargo and $HOME/.rustup (apt has ${candidate:-none}, $wanted is needed)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy --no-modify-path >&2
}

packages=()
{ have cc && have c++; } || packages+=(build-essential)
have make || packages+=(make)
have perl || packages+=(perl)
have pkg-config || packages+=(pkg-config)
[ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"

rust_is_enough || install_rust
rust_is_enough || die "Rust $wanted or newer is needed; rustc says: $(rustc --version 2>&1 || true)"
