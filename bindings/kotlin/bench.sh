#!/usr/bin/env bash
# Measures the Kotlin client, on a machine that does nothing else: ./bench.sh [MESSAGES]. It takes what
# `cargo build --release --workspace --bins --lib` makes: TARGET says where that is, by default in target/release.
set -euo pipefail
cd "$(dirname "$0")"

target=$(realpath "${TARGET:-../../target/release}")
export IM_SERVER=$target/im-server UNIFFI_BINDGEN=$target/uniffi-bindgen
./generate.sh "$target/libim_ffi.so"
mvn --batch-mode --no-transfer-progress --quiet package -DskipTests
mvn --batch-mode --quiet dependency:build-classpath -Dmdep.includeScope=test -Dmdep.outputFile=target/classpath
# The heap is there as a whole from the start: what grows is the memory of the library.
exec java -Xms512m -Xmx512m -XX:+AlwaysPreTouch -cp "$PWD/target/im-client-0.1.0.jar:$PWD/target/test-classes:$(cat target/classpath)" im.sdk.Throughput "$@"
