//! Memory of an idle WebSocket connection on the server: a bound, not a benchmark.

use futures_util::{StreamExt, stream};
use im_tests::{Setup, Stack, Via, raw::Raw, stack::StackServer};

const CONNECTIONS: u64 = 10_000;

/// Connections before the measurement. The first ones also pay for thread stacks, allocator arenas, tables, and the temporary
/// memory of concurrent handshakes, of which a busy machine has more.
const WARM_UP: u64 = 2_000;

/// Number of connections that are opened at once.
const AT_ONCE: usize = 64;

const MAX_BYTES: u64 = 2 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_websocket_connection_takes_at_most_2_kib() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let stack = Stack::start(Setup::Clustered, 1).await;
    let StackServer::Process(server) = &stack.servers[0] else { unreachable!() };
    let _first = connect(&stack, 0..WARM_UP).await;
    let before = anonymous_bytes(server.process_id());
    let _all = connect(&stack, WARM_UP..WARM_UP + CONNECTIONS).await;
    let after = anonymous_bytes(server.process_id());
    let each = (after - before) / CONNECTIONS;
    println!("{CONNECTIONS} idle WebSocket connections: {each} bytes each");
    assert!(each <= MAX_BYTES, "an idle connection takes {each} bytes, at most {MAX_BYTES} are allowed");
}

async fn connect(stack: &Stack, numbers: std::ops::Range<u64>) -> Vec<Raw> {
    let log_in = |number: u64| async move {
        let mut raw = Raw::connect(stack, 0, Via::WebSocket).await;
        raw.log_in(&format!("user-{number}")).await;
        raw
    };
    stream::iter(numbers).map(log_in).buffer_unordered(AT_ONCE).collect().await
}

/// Returns the anonymous memory of a process (Linux, proc(5)).
fn anonymous_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
