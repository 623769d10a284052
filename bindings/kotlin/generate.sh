#!/usr/bin/env bash
# Generates the internal Kotlin code from the built library, and puts the library where it goes into the jar:
#
#     ./generate.sh [LIBRARY]
#
# LIBRARY is target/debug/libim_ffi.so unless it is given; `cargo build -p im-ffi -p uniffi-bindgen` builds it and the generator.
set -euo pipefail
cd "$(dirname "$0")"

library=${1:-../../target/debug/libim_ffi.so}
generator=${UNIFFI_BINDGEN:-../../target/debug/uniffi-bindgen}
for file in "$library" "$generator"; do
    [ -e "$file" ] && continue
    echo "bindings/kotlin: $file is missing: run \`cargo build -p im-ffi -p uniffi-bindgen\`" >&2
    exit 1
done
library=$(realpath "$library")

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
"$generator" generate "$library" --config uniffi.toml --language kotlin --no-format --out-dir generated/kotlin
# No caller in Kotlin may see it. Top-level declarations begin their lines, but for functions behind comments and annotations.
find generated/kotlin -name '*.kt' -exec sed -i -E \
    -e 's/^public //' \
    -e 's/^( +\*\/| +@Throws\([^)]*\)) ((suspend )?fun `)/\1 internal \2/' \
    -e 's/^((abstract|open|data|sealed|enum|annotation|inline|suspend|const) )*(class|interface|object|fun|val|var|typealias) /internal &/' {} +
# Symbols for debuggers are many times the library.
installed=generated/resources/$platform/$(basename "$library")
strip -S -o "$installed" "$library" 2>/dev/null || install -m 644 "$library" "$installed"
