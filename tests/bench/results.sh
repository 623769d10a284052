#!/usr/bin/env bash
# Reproduces all figures of tests/bench/RESULTS.md: tests/bench/results.sh DIRECTORY
#
# Writes one file of JSON lines per table and one SVG per plot into DIRECTORY, then tables.md from them. Takes about 15 minutes on
# two cores of an otherwise idle machine. A run that exceeds its time limit is killed and noted in failed.txt. Peers that are not
# installed are skipped and noted there too: tests/bench/README.md explains how to install them.
#
# Variables: ROUNDS (3), the rounds of a comparison; SECONDS_EACH (8), the length of a run; LARGE (100000), the most connections.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-8}
large=${LARGE:-100000}
bench=target/release/im-bench
: >"$out/failed.txt"

say() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }

# measure FILE LIMIT ARGUMENTS...: appends the output of a run to FILE.json. A failure is noted, and the script
# continues.
measure() {
    local file=$1 limit=$2
    shift 2
    say "$file: $*"
    if ! timeout "$limit" "$bench" "$@" --json ${NOTE:+--note "$NOTE"} >>"$out/$file.json"; then
        echo "$file: im-bench $*" | tee -a "$out/failed.txt" >&2
    fi
}

say "building"
cargo build --locked --release -p im-server -p im-bench
rm -f "$out"/*.json "$out"/*.svg

# The machine and the versions of the programs.
{
    uname -sr
    grep -m1 'model name' /proc/cpuinfo || true
    echo "cores: $(nproc), memory: $(awk '/MemTotal/ {printf "%.0f GB", $2 / 1e6}' /proc/meminfo), open files: $(ulimit -Hn)"
    echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
    rustc --version
    git describe --always --dirty 2>/dev/null || true
    redis-server --version | cut -d' ' -f1-3
    nats-server --version
} >"$out/machine.txt"

peers="--peer control --peer nats-ws"
for peer in "centrifugo:BENCH_CENTRIFUGO" "uws:BENCH_BUN"; do
    name=${peer%%:*} variable=${peer##*:}
    program=$([ "$name" = uws ] && echo bun || echo "$name")
    if [ -n "${!variable:-}" ] || command -v "$program" >/dev/null; then
        peers="$peers --peer $name"
    else
        echo "peer $name is not installed" | tee -a "$out/failed.txt" >&2
    fi
done

# 1. Deliveries compared with peers: each round runs every target in turn. (5 targets x 2 s warm-up, measuring,
# starting)
# shellcheck disable=SC2086
{
    measure unicast-max 400 compare unicast $peers --rounds "$rounds" --seconds "$seconds" --plot "$out/unicast-max.svg"
    measure unicast-20k 300 compare unicast --peer control --rounds "$rounds" --seconds "$seconds" --rate 20000 \
        --plot "$out/unicast-20k.svg"
    measure channel-max 400 compare channel $peers --rounds "$rounds" --seconds "$seconds" --plot "$out/channel-max.svg"
}

# 2. Deliveries over TLS and QUIC, and through the SDK.
for transport in ws wss quic; do
    measure transports 60 unicast --transport "$transport" --seconds "$seconds"
done
for transport in wss quic; do
    measure transports 60 channel --transport "$transport" --seconds "$seconds" --connections 1000
done
for path in live logged; do
    measure paths 60 unicast --path "$path" --seconds "$seconds"
    measure send 120 send --path "$path" --seconds "$seconds"
done
measure paths 60 unicast --path live --rate 50000 --seconds "$seconds"
measure paths 60 unicast --path logged --rate 25000 --seconds "$seconds"

# 3. Idle connections.
for transport in ws wss quic; do
    measure idle 90 idle --transport "$transport" --connections 5000
done
measure idle 240 idle --connections "$large"
measure many 240 unicast --connections "$large" --rate 40000 --seconds 20

# 4. All devices connect at once.
for transport in ws wss quic; do
    for registration in none redis; do
        measure storm 90 storm --transport "$transport" --registration "$registration" --connections 5000
    done
done

# 5. All devices come back at once.
measure resume 120 resume --connections 5000 --missed 20
measure resume 120 resume --connections 5000 --missed 20 --transport quic

# 6. Cost of a delivery as the numbers of connections and channels grow.
measure growth-connections 300 growth connections --seconds "$seconds" --plot "$out/growth-connections.svg"
measure growth-channels 200 growth channels --seconds "$seconds" --plot "$out/growth-channels.svg"

echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)" >>"$out/machine.txt"
"$bench" tables "$out"/*.json >"$out/tables.md"
say "done: $out/tables.md"
[ ! -s "$out/failed.txt" ] || { echo "not everything was measured:" >&2; cat "$out/failed.txt" >&2; exit 1; }
