#!/usr/bin/env bash
# Installs missing programs and runs every test. See ./tests/run.sh --help.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
usage: ./tests/run.sh [--full] [-p CRATE]... [--test NAME]... [--lib | --bins | --doc] [FILTER] [-- ARGUMENTS]

Installs what is missing and runs every test. Missing programs are installed with apt where that is possible; elsewhere it
says what to install and fails. Nothing is skipped.

  --full   also the long profile: the chaos scenarios under their full load, in a release build, which takes about forty
           minutes on two cores (tests/CHAOS.md), and the Swift client, which needs Swift 6.0, or root and some 4 GB of disk
           for a Debian that has it (bindings/swift/with-swift.sh)
  --help   this text

All else is what `cargo test` takes, and chooses among the tests of the workspace. The two halves of im-sdk by themselves,
the clients in other languages and the long profile run whole whatever is chosen. One test alone is quicker: see CONTRIBUTING.md.
END
}

wrong() {
    printf 'run.sh: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}

profile=short
scope=(--workspace)
targets=()
chosen=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --full) profile=full ;;
        -p | --package | --test | --bin | --example)
            [ $# -gt 1 ] || wrong "$1 needs a name"
            # With --workspace, cargo ignores the named crates.
            case $1 in
                -p | --package) scope=() ;;
                --test) targets+=("$1" "$2") ;;
            esac
            chosen+=("$1" "$2")
            shift
            ;;
        --lib | --bins | --tests | --doc) chosen+=("$1") ;;
        --)
            chosen+=("$@")
            break
            ;;
        -*) wrong "there is no option $1" ;;
        *) chosen+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || targets=(--tests)

# Prints the name of a step, and records the duration of the previous one.
step= started=0 times=()
say() {
    [ -z "$step" ] || times+=("$((SECONDS - started)) s $step")
    step=$* started=$SECONDS
    printf '\n== %s\n' "$*"
}
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Folders that are searched after PATH. The tests search the same ones: tests/src/programs.rs.
beside_path=(/usr/local/sbin /usr/sbin '/usr/lib/postgresql/*/bin')

# Each line: a package, the oldest supported version of its first program, and its programs, which must be in one folder.
needed=(
    "redis-server 7.0 redis-server"
    "nats-server 2.9 nats-server"
    "python3 - python3"
    "postgresql - postgres initdb"
    "faketime - faketime"
    "nodejs 20 node"
    "npm - npm"
    "chromium - chromium"
    "firefox-esr - firefox-esr"
    "default-jdk-headless - javac java"
    "maven - mvn"
    "haproxy - haproxy"
)

# Prints the first folder that contains all of these programs.
folder_of() {
    local folders folder program
    IFS=: read -ra folders <<<"$PATH"
    for folder in "${beside_path[@]}"; do
        # The newest version first.
        while read -r folder; do folders+=("$folder"); done < <(compgen -G "$folder" | sort -rV)
    done
    for folder in "${folders[@]}"; do
        for program in "$@"; do
            [ -f "$folder/$program" ] && [ -x "$folder/$program" ] || continue 2
        done
        printf '%s\n' "$folder"
        return
    done
    return 1
}

# Looks for missing programs: sets `missing`, and `packages` to the Debian and Ubuntu packages that contain them.
look() {
    missing=()
    packages=()
    local line package programs
    for line in "${needed[@]}"; do
        read -r package _ programs <<<"$line"
        # shellcheck disable=SC2086 # They are several words.
        if ! folder_of $programs >/dev/null; then
            missing+=("$programs")
            packages+=("$package")
        fi
    done
    # A C compiler needs the C library's files to link, which are a separate package.
    if ! cc -x c -o /dev/null - 2>/dev/null <<<'#include <stdio.h>
int main(void) { return puts("") < 0; }'; then
        missing+=("cc")
        packages+=(gcc libc6-dev)
    fi
    # Debian's Python lacks the module for virtual environments, in which the Python package is tested.
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("python3 -m venv")
        packages+=(python3-venv)
    fi
    # Without Swift, the tests of its client install it in a Debian of their own.
    if [ "$profile" = full ] && ! has_swift && ! folder_of debootstrap >/dev/null; then
        missing+=(debootstrap)
        packages+=(debootstrap)
    fi
}

# Other programs have the name swift, too.
has_swift() { swift --version 2>/dev/null | grep -Eq 'Swift version ([6-9]|[1-9][0-9])'; }

# Only the programs are needed. Their packages would also start services, which this file prevents.
policy=/usr/sbin/policy-rc.d
policy_mark="# of tests/run.sh, while it installs packages"

# The machine may have its own file. A file with the mark was left by a killed run.
is_ours() { grep -qsF "$policy_mark" "$policy"; }

forbid_services() {
    [ ! -e "$policy" ] || is_ours || return 0
    trap allow_services EXIT
    # Bash waits for apt before it handles these signals: apt finishes what it has begun, and starts no service.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
    chmod 755 "$policy"
}

allow_services() {
    ! is_ours || rm "$policy"
    trap - EXIT HUP INT TERM
}

install() {
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A package source that is unreachable may not be a needed one, so this is not an error.
    apt-get update -qq || echo "warning: apt-get update failed; going on with the lists that are there" >&2
    forbid_services
    local status=0
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || status=$?
    allow_services
    [ "$status" = 0 ] || fail "apt-get could not install: ${packages[*]}"
    look
    [ "${#missing[@]}" = 0 ] || fail "installed, and still not found: ${missing[*]}"
}

check_versions() {
    local line package oldest programs version
    for line in "${needed[@]}"; do
        read -r package oldest programs <<<"$line"
        [ "$oldest" != - ] || continue
        # "Redis server v=7.0.15 sha=…", "nats-server: v2.9.10"
        version=$("$(folder_of "$programs")/$programs" --version | sed -n 's/.*v=\{0,1\}\([0-9][0-9.]*\).*/\1/p' | head -n 1)
        if [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" != "$oldest" ]; then
            fail "$programs is ${version:-of no version that it says}, and the tests need $oldest or newer: install a newer one first"
        fi
    done
}

look
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        install
    else
        fail "missing: ${missing[*]}" \
            "install them first, on Debian or Ubuntu: sudo apt-get install ${packages[*]}"
    fi
fi
check_versions
command -v cargo >/dev/null || fail "missing: cargo; install Rust from https://rustup.rs, version 1.95 or newer"

# The end-to-end tests start the programs. With tests among the targets, cargo selects the features of dependencies as
# `cargo test` does; otherwise it would build most crates twice.
say "building"
cargo build --locked --workspace --bins --lib "${targets[@]}"

# Most tests wait for servers rather than compute. More than 16 at once would need much memory for these servers.
threads=$((4 * $(nproc)))
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((threads < 16 ? threads : 16))}
say "testing ($profile profile)"
TEST_PROFILE=$profile cargo test --locked ${scope[@]+"${scope[@]}"} --no-fail-fast ${chosen[@]+"${chosen[@]}"}

# A release build: a debug build cannot reach the rate while all processes run on the machine.
if [ "$profile" = full ]; then
    say "building for the full load"
    cargo build --locked --release -p im-server -p im-tests --bins
    say "chaos under the full load"
    TEST_PROFILE=full cargo test --locked --release -p im-tests --test chaos
fi

# Each half must also build alone: a device has no cluster, and a back end has no client.
say "testing the halves of im-sdk apart"
for half in client backend; do
    cargo test --locked -p im-sdk --no-default-features --features "$half"
done

# The client for browsers and Node, tested in all of them against the programs built above.
say "testing the TypeScript client"
bindings/web/test.sh

# The page of the chat application, in both browsers against its own program.
say "testing the chat application's page"
examples/chat/web/test.sh

say "testing the Kotlin client"
bindings/kotlin/test.sh

# The Swift client. Its compiler is a download of some hundred MB, so the short profile skips it.
if [ "$profile" = full ]; then
    say "testing the Swift client"
    bindings/swift/test.sh
fi

# The Python package, which is rebuilt with the back-end half.
say "testing the Python package"
bindings/python/test.sh

say "times"
printf '%s\n' "${times[@]}"

say "all tests passed"
