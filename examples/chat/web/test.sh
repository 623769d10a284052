#!/usr/bin/env bash
# Checks and tests the page of the chat application: types, unit tests, the committed build, its size, and two people who chat in
# Chromium; `npm run browser` runs the other browser tests too. Needs Node 20, Chromium, the TypeScript client as
# bindings/web/test.sh builds it, and the program chat: CHAT says where it is, by default in target/debug.
set -euo pipefail
cd "$(dirname "$0")"

export CHAT=${CHAT:-$PWD/../../../target/debug/chat}
[ -x "$CHAT" ] || { echo "examples/chat/web: $CHAT is missing: run \`cargo build --workspace --bins\`, or set CHAT" >&2 && exit 1; }
[ -f ../../../bindings/web/dist/index.js ] ||
    { echo "examples/chat/web: the TypeScript client is not built: run \`npm --prefix bindings/web ci && npm --prefix bindings/web run build\`" >&2 && exit 1; }

[ -d node_modules ] && [ node_modules -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund
npm run --silent check
npm run --silent test

# What is committed is what the sources make, so that nobody needs Node to run the application.
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
npx vite build --logLevel warn --outDir "$built" --emptyOutDir
if ! diff -rq dist "$built"; then
    echo 'examples/chat/web: dist is not what the sources make; run `npm run build` there and commit dist' >&2
    exit 1
fi
npm run --silent size
ASSETS=$PWD/dist npm run --silent browser -- chat.test
