#!/usr/bin/env bash
# Makes IMBridge.xcframework for iOS, its simulator and macOS, which Package.swift takes in place of the library in lib.
#
# NOT RUN YET: it needs macOS with Xcode 16 or newer, and
#
#     rustup target add aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin x86_64-apple-darwin
set -euo pipefail
cd "$(dirname "$0")"

[ "$(uname -s)" = Darwin ] || {
    echo "bindings/swift: an XCFramework can be made on macOS alone" >&2
    exit 1
}
export IPHONEOS_DEPLOYMENT_TARGET=16.0 MACOSX_DEPLOYMENT_TARGET=13.0
targets=(aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin x86_64-apple-darwin)
for target in "${targets[@]}"; do
    (cd ../.. && cargo rustc --locked --release -p im-ffi --lib --crate-type staticlib --target "$target")
done
(cd ../.. && cargo build --locked --release -p im-ffi -p uniffi-bindgen)
UNIFFI_BINDGEN=../../target/release/uniffi-bindgen ./generate.sh ../../target/release/libim_ffi.dylib

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
mkdir "$new/headers"
cp Sources/im_ffiFFI/include/im_ffiFFI.h "$new/headers"
printf 'module im_ffiFFI {\n    header "im_ffiFFI.h"\n    export *\n}\n' > "$new/headers/module.modulemap"
lipo -create -output "$new/libim_ffi.a" ../../target/{aarch64,x86_64}-apple-darwin/release/libim_ffi.a
rm -rf IMBridge.xcframework
xcodebuild -create-xcframework -output IMBridge.xcframework \
    -library ../../target/aarch64-apple-ios/release/libim_ffi.a -headers "$new/headers" \
    -library ../../target/aarch64-apple-ios-sim/release/libim_ffi.a -headers "$new/headers" \
    -library "$new/libim_ffi.a" -headers "$new/headers"
