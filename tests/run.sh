#!/usr/bin/env bash
# Installs what is missing and runs every test: ./tests/run.sh [--full] [arguments for `cargo test`]
#
# --full runs the long profile as well: the chaos scenarios under their full load, in a release build, which takes about twenty
# minutes on two cores (tests/CHAOS.md). Missing programs are installed with apt where that is possible; elsewhere the
# script says what to install and fails. Nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=short
if [ "${1:-}" = --full ]; then
    profile=full
    shift
fi

say() { printf '\n== %s\n' "$*"; }
has() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# Program and the packages that have it (Debian, Ubuntu).
needed=("redis-server redis-server" "nats-server nats-server" "python3 python3" "postgres postgresql")

missing=()
packages=()
for pair in "${needed[@]}"; do
    read -r program package <<<"$pair"
    if ! has "$program"; then
        missing+=("$program")
        packages+=("$package")
    fi
done

# A C compiler links nothing without the C library's files, which are a package of their own.
if ! cc -x c -o /dev/null - 2>/dev/null <<<'#include <stdio.h>
int main(void) { return puts("") < 0; }'; then
    missing+=("cc")
    packages+=(gcc libc6-dev)
fi

if [ "${#missing[@]}" -gt 0 ]; then
    if has apt-get && [ "$(id -u)" = 0 ]; then
        say "installing ${packages[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # Only the programs: the packages would also start services, which the tests neither need nor want.
        printf '#!/bin/sh\nexit 101\n' >/tmp/im-policy-rc.d
        chmod +x /tmp/im-policy-rc.d
        had_policy=1
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            had_policy=0
            cp /tmp/im-policy-rc.d /usr/sbin/policy-rc.d
        fi
        status=0
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || status=$?
        [ "$had_policy" = 1 ] || rm -f /usr/sbin/policy-rc.d
        rm -f /tmp/im-policy-rc.d
        [ "$status" = 0 ] || { echo "apt-get could not install: ${packages[*]}" >&2; exit 1; }
    else
        echo "missing: ${missing[*]}" >&2
        echo "install them first, on Debian or Ubuntu: sudo apt-get install ${packages[*]}" >&2
        exit 1
    fi
fi
has cargo || { echo "missing: cargo; install Rust from https://rustup.rs, version 1.95 or newer" >&2; exit 1; }

# The end-to-end tests start these programs themselves.
say "building"
cargo build --locked --workspace --bins --lib
cargo build --locked -p im-ffi --features bindgen --bin uniffi-bindgen

say "testing ($profile profile)"
TEST_PROFILE=$profile cargo test --locked --workspace --no-fail-fast "$@"

# In a release build: a debug build cannot hold the rate beside everything that it starts.
if [ "$profile" = full ]; then
    say "building for the full load"
    cargo build --locked --release -p im-server -p im-tests --bins
    say "chaos under the full load"
    TEST_PROFILE=full cargo test --locked --release -p im-tests --test chaos "$@"
fi

# Each half must also stand alone: a device has no cluster, a back end no client.
say "testing the halves of im-sdk apart"
for half in client backend; do
    cargo test --locked -p im-sdk --no-default-features --features "$half" "$@"
done

say "all tests passed"
