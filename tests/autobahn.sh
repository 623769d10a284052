#!/usr/bin/env bash
# Runs the Autobahn test suite against the server's WebSocket link and framing: tests/autobahn.sh [WSTEST [CASE...]]
#
# WSTEST is the suite's program, by default `wstest` in PATH. CASE selects cases, such as '6.*'; by default all except those
# about compression (12 and 13), which the server does not offer. Fails on any case that ends neither OK nor NON-STRICT nor
# INFORMATIONAL. The report is in target/autobahn/index.html.
#
# The suite needs Python 2.7, even in its newest release (25.10.1), so run.sh cannot install it everywhere and does not run it.
# To install it with Python 2.7: virtualenv -p python2.7 DIR && DIR/bin/pip install autobahntestsuite
set -euo pipefail

wstest=$(command -v "${1:-wstest}" || true)
[ -n "$wstest" ] || { echo "no ${1:-wstest}: install autobahntestsuite, which needs Python 2.7" >&2; exit 1; }
wstest=$(realpath -s "$wstest")
shift || true
cd "$(dirname "$0")/.."

cargo build --locked -p im-server --example websocket-echo
target=${CARGO_TARGET_DIR:-target}
reports=target/autobahn
rm -rf "$reports"
mkdir -p "$reports"

exec 3< <(exec "$target/debug/examples/websocket-echo")
echo_server=$!
trap 'kill "$echo_server" 2>/dev/null || true' EXIT
read -r address <&3

python3 - "$address" "$reports" "$@" >"$reports/spec.json" <<'PYTHON'
import json, sys
address, reports, *cases = sys.argv[1:]
print(json.dumps({
    "outdir": reports,
    "servers": [{"agent": "im-server", "url": f"ws://{address}"}],
    "cases": cases or ["*"],
    "exclude-cases": [] if cases else ["12.*", "13.*"],
    "exclude-agent-cases": {},
}))
PYTHON
timeout 1800 "$wstest" -m fuzzingclient -s "$reports/spec.json" >"$reports/wstest.log" 2>&1 || {
    tail -n 20 "$reports/wstest.log" >&2
    exit 1
}

python3 - "$reports/index.json" <<'PYTHON'
import collections, json, sys
with open(sys.argv[1]) as index:
    results = json.load(index)["im-server"]
good = {"OK", "NON-STRICT", "INFORMATIONAL"}
verdict = lambda result: (result["behavior"], result["behaviorClose"])
bad = {case: result for case, result in results.items() if not good.issuperset(verdict(result))}
for title, which in (("behaviour", "behavior"), ("close", "behaviorClose")):
    counts = collections.Counter(result[which] for result in results.values())
    print(f"{title}:", ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
for case, result in results.items():
    if case in bad or result["behavior"] != "OK":
        print(f"  {case}: {result['behavior']}, close {result['behaviorClose']}")
print(f"{len(results)} cases, {len(bad)} of them bad")
sys.exit(bool(bad) or not results)
PYTHON
