#!/usr/bin/env bash
# Builds and tests the Kotlin client and its Android module, and runs the scenarios of all languages. Needs Java 17 or newer, Maven, and
# what `cargo build --workspace --bins --lib` makes: TARGET says where that is, by default in target/debug.
set -euo pipefail
cd "$(dirname "$0")"

for program in javac jar mvn; do
    command -v "$program" > /dev/null && continue
    echo "bindings/kotlin: $program is missing. On Debian and Ubuntu: apt-get install default-jdk-headless maven" >&2
    exit 1
done
java=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
if [ "${java:-0}" -lt 17 ]; then
    echo "bindings/kotlin: Java ${java:-of an unknown version} is too old; 17 or newer is needed" >&2
    exit 1
fi
target=$(realpath "${TARGET:-../../target/debug}")
export IM_CLI_CHAT=$target/cli-chat IM_SERVER=$target/im-server UNIFFI_BINDGEN=$target/uniffi-bindgen
for file in cli-chat im-server scenarios uniffi-bindgen libim_ffi.so; do
    [ -e "$target/$file" ] && continue
    echo "bindings/kotlin: $target/$file is missing: run \`cargo build --workspace --bins --lib\`, or set TARGET" >&2
    exit 1
done

./generate.sh "$target/libim_ffi.so"
mvn --file all.xml --batch-mode --no-transfer-progress --quiet verify "$@"
aar=$(jar --list --file android/target/im-client-android-0.1.0.aar)
for entry in AndroidManifest.xml R.txt classes.jar libs/im-client.jar proguard.txt; do
    grep -qx "$entry" <<< "$aar" && continue
    echo "bindings/kotlin: $entry is missing in the AAR, which has: $aar" >&2
    exit 1
done
# The same steps in every language.
mvn --batch-mode --quiet dependency:build-classpath -Dmdep.includeScope=test -Dmdep.outputFile=target/classpath
classpath=$PWD/target/im-client-0.1.0.jar:$PWD/target/test-classes:$(cat target/classpath)
java="java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp $classpath im.sdk.ScenarioDriver"
"$target/scenarios" run --language Kotlin --driver "$java"
