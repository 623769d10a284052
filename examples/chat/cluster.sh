#!/usr/bin/env bash
# The chat application on a deployment of its own: two backends and two im-servers behind HAProxy, with Redis, NATS and
# PostgreSQL. Everything runs on this machine, in a new directory, until Ctrl+C. See --help.
set -euo pipefail

usage() {
    cat <<'END'
usage: examples/chat/cluster.sh [--port PORT] [--programs DIRECTORY] [-- ARGUMENTS]

Starts two backends and two im-servers behind HAProxy, with Redis, NATS and PostgreSQL, and prints the address of the page.

  --port PORT            the first of the 16 ports that are used, 18000 by default: the page is there, devices connect to the next
  --programs DIRECTORY   where chat and im-server are, target/release by default; they are built if they are not there
  ARGUMENTS              for both backends, `--demo` by default

Needs Debian's packages redis-server, nats-server, postgresql and haproxy. Ctrl+C ends everything and deletes the data.
END
}

fail() {
    printf 'cluster.sh: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "$0")/../.." && pwd)
port=18000
programs=
arguments=(--demo)
while [ $# -gt 0 ]; do
    case $1 in
        --port) port=${2:?--port needs a number} && shift 2 ;;
        --programs) programs=${2:?--programs needs a directory} && shift 2 ;;
        --) shift && arguments=("$@") && break ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "there is no option $1" ;;
    esac
done
if [ -z "$programs" ]; then
    programs=$root/target/release
    (cd "$root" && cargo build --release -p chat -p im-server)
fi

postgres=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
PATH=$PATH:/usr/sbin:$postgres
for program in redis-server nats-server initdb haproxy; do
    command -v "$program" >/dev/null ||
        fail "$program is missing: apt-get install redis-server nats-server postgresql haproxy"
done

page=$port devices=$((port + 1))
redis=$((port + 2)) nats=$((port + 3)) sql=$((port + 4))
backends=($((port + 5)) $((port + 6)))
servers=($((port + 7)) $((port + 8)))

data=$(mktemp -d "${TMPDIR:-/tmp}/chat-cluster.XXXXXX")
chmod 755 "$data"
pids=()
finish() {
    trap - EXIT INT TERM
    # The newest first: devices leave before what serves them. A backend sends its last messages.
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        kill -TERM "${pids[index]}" 2>/dev/null || true
        wait "${pids[index]}" 2>/dev/null || true
    done
    rm -rf "$data"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a program in the background; its output is in a file with its name.
start() {
    local name=$1
    shift
    "$@" >"$data/$name.log" 2>&1 &
    pids+=($!)
    printf '%s\n' "$!" >"$data/$name.pid"
}

# Waits until a command succeeds, or says what the program printed.
await() {
    local name=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$(cat "$data/$name.pid")" 2>/dev/null; then
            cat "$data/$name.log" >&2
            fail "$name did not start"
        fi
        sleep 0.1
    done
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start redis redis-server --port "$redis" --bind 127.0.0.1 --dir "$data" --save '' --appendonly yes --maxmemory-policy noeviction
start nats nats-server -a 127.0.0.1 -p "$nats" -js -sd "$data/nats"
await redis redis-cli -p "$redis" ping
await nats listens "$nats"

# PostgreSQL refuses to run as root.
as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$data")
    install -d -o nobody -g nogroup "$data/sql"
fi
${as_user[@]+"${as_user[@]}"} initdb -D "$data/sql" -U chat --auth trust >"$data/initdb.log"
start sql ${as_user[@]+"${as_user[@]}"} postgres -D "$data/sql" -h 127.0.0.1 -p "$sql" -k ''
await sql psql -h 127.0.0.1 -p "$sql" -U chat -d postgres -c 'SELECT 1'
psql -q -h 127.0.0.1 -p "$sql" -U chat -d postgres -c 'CREATE DATABASE chat'

# Tokens are signed by the backends and verified by the servers.
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$data/secret")

for number in 1 2; do
    cat >"$data/im-server$number.toml" <<END
[server]
name = "im$number"
login_policy = "unlimited"
[cluster]
redis = ["redis://127.0.0.1:$redis"]
nats = ["nats://127.0.0.1:$nats"]
[websocket]
listen = "127.0.0.1:${servers[number - 1]}"
[auth]
issuer = "chat"
audience = "im"
hs256_key_id = "k1"
hs256_secret = "$(cat "$data/secret")"
END
    start "im-server$number" "$programs/im-server" --config "$data/im-server$number.toml"
done
for number in 1 2; do await "im-server$number" listens "${servers[number - 1]}"; done

# Files are in one directory, which both backends see: between machines it would be a bucket.
for number in 1 2; do
    start "backend$number" "$programs/chat" --listen "127.0.0.1:${backends[number - 1]}" --data "$data/backend$number" \
        --redis "redis://127.0.0.1:$redis" --nats "nats://127.0.0.1:$nats" \
        --database "postgres://chat@127.0.0.1:$sql/chat" --files "$data/files" --secret-file "$data/secret" \
        --endpoint "ws://127.0.0.1:$devices" "${arguments[@]}"
    await "backend$number" listens "${backends[number - 1]}"
done

# A backend that is gone is left out at once; so is a server, whose devices come back through the other one.
cat >"$data/haproxy.cfg" <<END
global
    maxconn 4000
defaults
    timeout connect 2s
    timeout client 5m
    timeout server 5m
    option redispatch
    retries 3
frontend page
    mode http
    bind 127.0.0.1:$page
    default_backend backends
backend backends
    mode http
    balance roundrobin
    option httpchk GET /api/refusals
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
    server backend1 127.0.0.1:${backends[0]}
    server backend2 127.0.0.1:${backends[1]}
frontend devices
    mode tcp
    bind 127.0.0.1:$devices
    default_backend servers
backend servers
    mode tcp
    balance leastconn
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
    server im1 127.0.0.1:${servers[0]}
    server im2 127.0.0.1:${servers[1]}
END
start haproxy haproxy -db -f "$data/haproxy.cfg"
await haproxy listens "$page"

printf 'open http://127.0.0.1:%s\n' "$page"
printf 'logs and process ids are in %s; Ctrl+C ends everything\n' "$data"
# Redis, NATS, PostgreSQL and HAProxy must not end by themselves; a backend or a server may.
while :; do
    for name in redis nats sql haproxy; do
        kill -0 "$(cat "$data/$name.pid")" 2>/dev/null || { cat "$data/$name.log" >&2 && fail "$name has ended"; }
    done
    sleep 1 &
    wait $!
done
