#!/usr/bin/env bash
# Builds and tests the Swift client, with warnings as errors, and runs the scenarios of all languages with it:
#
#     ./test.sh [--update]
#
# --update writes api/IMClient.txt and the table of scenarios anew, instead of comparing them.
#
# It needs Python 3 and what `cargo build --workspace --bins --lib` makes: TARGET says where that is, by default in target/debug. Where
# Swift 6.0 or newer is missing, with-swift.sh gets one, and says what that needs. The scenarios need Redis and NATS.
set -euo pipefail
cd "$(dirname "$0")"

update=
case ${1:-} in
    '') ;;
    --update) update=--update ;;
    *)
        echo "usage: bindings/swift/test.sh [--update]" >&2
        exit 2
        ;;
esac

TARGET=$(realpath -m "${TARGET:-../../target/debug}")
case $(uname -s) in
    Darwin) library=libim_ffi.dylib ;;
    *) library=libim_ffi.so ;;
esac
for file in cli-chat im-server scenarios uniffi-bindgen "$library"; do
    [ -e "$TARGET/$file" ] && continue
    echo "bindings/swift: $TARGET/$file is missing: run \`cargo build --workspace --bins --lib\`, or set TARGET" >&2
    exit 1
done
export TARGET IM_CLI_CHAT=$TARGET/cli-chat IM_SERVER=$TARGET/im-server UNIFFI_BINDGEN=$TARGET/uniffi-bindgen

./generate.sh "$TARGET/$library"
flags=(-Xswiftc -warnings-as-errors -Xlinker "-L$PWD/lib" -Xlinker -rpath -Xlinker "$PWD/lib")
./with-swift.sh swift format lint --strict --recursive Package.swift Sources/IMClient Tests Examples Benchmark
./with-swift.sh swift build --quiet --build-tests "${flags[@]}"
./with-swift.sh swift test --disable-xctest --skip-build "${flags[@]}"

# The public API is the one that is listed.
./with-swift.sh swift package "${flags[@]}" dump-symbol-graph --minimum-access-level public > /dev/null
python3 api.py $update .build/*/symbolgraph/IMClient.symbols.json api/IMClient.txt

# The same steps in every language.
"$TARGET/scenarios" run --language Swift --driver "$PWD/with-swift.sh $PWD/.build/debug/ScenarioDriver" $update
