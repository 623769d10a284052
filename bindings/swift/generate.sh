#!/usr/bin/env bash
# Generates the internal Swift code from the built library, and puts both where Package.swift looks for them:
#
#     ./generate.sh [LIBRARY]
#
# LIBRARY is target/debug/libim_ffi.so unless it is given; `cargo build -p im-ffi -p uniffi-bindgen` builds it and the generator.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=../bindgen/preamble.sh
. ../bindgen/preamble.sh

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
generate swift "$new"

# Swift builds anew what has a new date: a file that has not changed keeps its own.
put() {
    mkdir -p "$(dirname "$2")"
    cmp -s "$1" "$2" || cp "$1" "$2"
}
put "$new/im_ffi.swift" Sources/IMBridge/IMBridge.swift
put "$new/im_ffiFFI.h" Sources/im_ffiFFI/include/im_ffiFFI.h
# A target needs a source.
echo '#include "im_ffiFFI.h"' > "$new/im_ffiFFI.c"
put "$new/im_ffiFFI.c" Sources/im_ffiFFI/im_ffiFFI.c

copy_library "$new/library"
put "$new/library" "lib/$(basename "$library")"
