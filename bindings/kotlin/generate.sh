#!/usr/bin/env bash
# Generates the internal Kotlin code from the built library, and puts the library where it goes into the jar:
#
#     ./generate.sh [LIBRARY]
#
# LIBRARY is target/debug/libim_ffi.so unless it is given; `cargo build -p im-ffi -p uniffi-bindgen` builds it and the generator.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=../bindgen/preamble.sh
. ../bindgen/preamble.sh

# The folder of a platform, as JNA looks it up in the jar.
case $(uname -s)/$(uname -m) in
    Linux/x86_64) platform=linux-x86-64 ;;
    Linux/aarch64) platform=linux-aarch64 ;;
    Darwin/x86_64) platform=darwin-x86-64 ;;
    Darwin/arm64) platform=darwin-aarch64 ;;
    *)
        echo "bindings/kotlin: there is no folder for $(uname -s)/$(uname -m)" >&2
        exit 1
        ;;
esac

rm -rf generated
mkdir -p "generated/kotlin" "generated/resources/$platform"
generate kotlin generated/kotlin --config uniffi.toml
# No caller in Kotlin may see it. Top-level declarations begin their lines, but for functions behind comments and annotations.
find generated/kotlin -name '*.kt' -exec sed -i -E \
    -e 's/^public //' \
    -e 's/^( +\*\/| +@Throws\([^)]*\)) ((suspend )?fun `)/\1 internal \2/' \
    -e 's/^((abstract|open|data|sealed|enum|annotation|inline|suspend|const) )*(class|interface|object|fun|val|var|typealias) /internal &/' {} +
copy_library "generated/resources/$platform/$(basename "$library")"
