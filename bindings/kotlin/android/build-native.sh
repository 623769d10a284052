#!/usr/bin/env bash
# NOT RUN YET: no machine with the Android NDK was at hand.
#
# Builds the native library for phones into jni/, from where the AAR takes it. Needs the Android NDK 27 or newer in ANDROID_NDK_HOME,
# and cargo-ndk (`cargo install cargo-ndk`).
set -euo pipefail
cd "$(dirname "$0")"

: "${ANDROID_NDK_HOME:?set it to the folder of the Android NDK, version 27 or newer}"
command -v cargo-ndk > /dev/null || {
    echo "bindings/kotlin/android: cargo-ndk is missing: cargo install cargo-ndk" >&2
    exit 1
}
rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
# Phones with pages of 16 KB need segments that are aligned so. Other libraries bring a SQLite of their own: its symbols stay inside.
export RUSTFLAGS="-C link-arg=-Wl,-z,max-page-size=16384 -C link-arg=-Wl,--exclude-libs,ALL"
(cd ../../.. && cargo ndk --platform 24 --target arm64-v8a --target armeabi-v7a --target x86_64 \
    --output-dir bindings/kotlin/android/jni build --release --locked -p im-ffi)
for library in jni/*/libim_ffi.so; do
    size=$(stat -c %s "$library")
    echo "$library: $size bytes"
    # 6 MB is what the project allows itself.
    [ "$size" -le 6291456 ] || { echo "$library is larger than 6 MB" >&2; exit 1; }
done
