#!/usr/bin/env bash
# Checks types, runs all tests and measures the size of the TypeScript client. Needs Node 20 or newer, Chromium and Firefox (CHROMIUM
# and FIREFOX say where they are, by default in PATH), and the programs that `cargo build --workspace --bins` makes: IM_CLI_CHAT,
# IM_SERVER, IM_WEB_CHAT and IM_SCENARIOS say where cli-chat, im-server, web-chat and scenarios are, by default in target/debug. The
# scenarios need Redis and NATS.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
    echo 'bindings/web: Node and npm are missing. On Debian and Ubuntu: apt-get install nodejs npm; elsewhere: https://nodejs.org' >&2
    exit 1
fi
if [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" != true ]; then
    echo "bindings/web: Node $(node --version) is too old; version 20 or newer is needed: https://nodejs.org" >&2
    exit 1
fi
for browser in "${CHROMIUM:-chromium}" "${FIREFOX:-firefox-esr}"; do
    command -v "$browser" >/dev/null && continue
    echo "bindings/web: $browser is missing. On Debian: apt-get install chromium firefox-esr; elsewhere set CHROMIUM and FIREFOX to" \
        "the paths of the programs" >&2
    exit 1
done
export IM_CLI_CHAT=${IM_CLI_CHAT:-../../target/debug/cli-chat} IM_SERVER=${IM_SERVER:-../../target/debug/im-server}
export IM_WEB_CHAT=${IM_WEB_CHAT:-../../target/debug/web-chat} IM_SCENARIOS=${IM_SCENARIOS:-../../target/debug/scenarios}
for program in "$IM_CLI_CHAT" "$IM_SERVER" "$IM_WEB_CHAT" "$IM_SCENARIOS"; do
    [ -x "$program" ] && continue
    echo "bindings/web: $program is missing: run \`cargo build --workspace --bins\`, or set IM_CLI_CHAT, IM_SERVER, IM_WEB_CHAT and IM_SCENARIOS" >&2
    exit 1
done

# Exact versions, from package-lock.json; nothing of it is shipped.
[ -d node_modules ] && [ node_modules -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund
npm run --silent check
npm run --silent build
npm run --silent api
npm run --silent test
npm run --silent scenarios
npm run --silent size
