#!/usr/bin/env bash
# Runs a command where Swift 6.0 or newer is: ./with-swift.sh COMMAND ARGUMENTS..
#
# If that is this machine, the command runs here. If not, on Linux, it runs in a Debian 13 with Debian's Swift, in the folder IM_SWIFT_ROOT,
# by default ~/.cache/im-sdk/swift-trixie, which is made if it is not there. For that this needs to be root, and needs debootstrap, 4 GB of
# disk and, once, Debian's packages, from the server that DEBIAN_MIRROR names. In there this repository, TARGET and the folder for
# temporary files have the paths that they have outside, and so has the network.
set -euo pipefail
project=$(realpath "$(dirname "$0")/../..")

fail() {
    printf 'bindings/swift: %s\n' "$@" >&2
    exit 1
}

# The major version of the Swift of this machine. Other programs have that name as well.
version=$(swift --version 2> /dev/null | sed -n 's/.*Swift version \([0-9]*\).*/\1/p' | head -n 1) || true
[ "${version:-0}" -lt 6 ] || exec "$@"

install='https://www.swift.org/install'
[ "$(uname -s)" = Linux ] || fail "Swift 6.0 or newer is missing: $install"
[ "$(id -u)" = 0 ] || fail "Swift 6.0 or newer is missing: $install" \
    "As root, this script installs Debian's Swift into a folder of its own."

root=${IM_SWIFT_ROOT:-$HOME/.cache/im-sdk/swift-trixie}
make_root() {
    debootstrap --variant=minbase trixie "$1" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" &&
        DEBIAN_FRONTEND=noninteractive chroot "$1" \
            apt-get install -y --no-install-recommends swiftlang libstdc++-14-dev libc6-dev &&
        chroot "$1" apt-get clean
}
if [ ! -x "$root/usr/libexec/swift/bin/swift" ]; then
    command -v debootstrap > /dev/null || fail "debootstrap is missing. On Debian and Ubuntu: apt-get install debootstrap"
    echo "bindings/swift: making a Debian 13 with Swift in $root, which takes some minutes, once" >&2
    # What was begun and not finished is of no use.
    rm -rf --one-file-system "$root.new"
    mkdir -p "$root.new"
    make_root "$root.new" > "$root.log" 2>&1 ||
        fail "the Debian with Swift could not be made. The end of $root.log:" "$(tail -n 3 "$root.log")"
    mv "$root.new" "$root"
fi

# In a mount namespace of its own: nothing of it is left behind the command. The command takes the place of this process, so that a
# signal reaches it.
export root project target=${TARGET:-$project/target} temporary=${TMPDIR:-/tmp}
# shellcheck disable=SC2016 # The inner shells expand them.
exec unshare --mount --propagation private bash -euc '
    for folder in "$project" "$(realpath -m "$target")" "$temporary"; do
        [ -d "$folder" ] || continue
        mkdir -p "$root$folder"
        mount --rbind "$folder" "$root$folder"
    done
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    export LANG=C.UTF-8
    exec chroot "$root" /usr/bin/env PATH=/usr/libexec/swift/bin:/usr/bin:/bin bash -euc "cd \"\$1\"; shift; exec \"\$@\"" bash "$PWD" "$@"
' bash "$@"
