//! Slots that migrate in a Redis Cluster, and connections to it that break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_sdk::cluster::{ClusterConfig, LogId, LogStore, RedisLog};
use im_tests::{RedisCluster, RedisServer, wait_until};
use redis::aio::MultiplexedConnection;

use super::{NONE, PATIENCE, all_entries, bob, check, entry, keep_appending, last, numbered, order, text};

/// Appends continue, each with one effect, while the slot of their log moves to another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_and_repeats_nothing() {
    let mut redis = RedisCluster::start().await;
    let mut config = ClusterConfig::new(redis.addresses(), NONE);
    config.request_timeout = Duration::from_secs(10);
    let log = Arc::new(RedisLog::connect(&config).await.unwrap());
    log.append(&bob(), entry(0)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [
        keep_appending(&log, &bob(), 1, &stop, |_| None),
        keep_appending(&log, &bob(), 1_000_000, &stop, |number| Some(numbered(number))),
    ];
    let go_on = async || {
        let target = last(&*log, &bob()).await.unwrap() + 50;
        wait_until("appends go on", PATIENCE, async || last(&*log, &bob()).await.unwrap() > target).await;
    };
    for _ in 0..3 {
        go_on().await;
        let mut moving = Moving::start(redis.nodes(), "im:{u:bob}:inbox").await;
        moving.hand_over().await;
        go_on().await;
        moving.finish().await;
    }
    go_on().await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (mut own, failed) = writer.await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        acknowledged.append(&mut own);
    }
    let entries = all_entries(&*log, &bob()).await;
    check(&entries, &acknowledged);
    assert_eq!(entries.len(), acknowledged.len() + 1, "and nothing else is there");
}

/// A slot that migrates from one node to the next, as with `redis-cli --cluster reshard`.
struct Moving {
    nodes: Vec<MultiplexedConnection>,
    slot: String,
    from: usize,
    to: usize,
    to_id: String,
    to_address: String,
}

impl Moving {
    /// Starts the migration: requests for keys that the source does not have are redirected.
    async fn start(servers: &[RedisServer], key: &str) -> Self {
        let mut nodes = Vec::new();
        for server in servers {
            nodes.push(server.connection().await);
        }
        let slot = order(&mut nodes[0], &["CLUSTER", "KEYSLOT", key]).await;
        let slot = redis::from_redis_value::<u16>(slot).unwrap().to_string();
        let mut from = 0;
        for (index, node) in nodes.iter_mut().enumerate() {
            let exists = redis::cmd("EXISTS").arg(key).query_async::<bool>(node).await;
            if exists.unwrap_or(false) {
                from = index;
            }
        }
        let to = (from + 1) % nodes.len();
        let from_id = text(&mut nodes[from], &["CLUSTER", "MYID"]).await;
        let to_id = text(&mut nodes[to], &["CLUSTER", "MYID"]).await;
        order(&mut nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        order(&mut nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        Self { nodes, slot, from, to, to_id, to_address: servers[to].address() }
    }

    /// Moves the keys, one by one.
    async fn hand_over(&mut self) {
        let (host, port) = self.to_address.trim_start_matches("redis://").split_once(':').unwrap();
        let from = &mut self.nodes[self.from];
        loop {
            let keys = order(from, &["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]).await;
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            let Some(key) = keys.first() else { break };
            order(from, &["MIGRATE", host, port, key, "0", "5000"]).await;
            // Long enough for some appends to find only part of their keys here.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Announces the new owner to all nodes.
    async fn finish(mut self) {
        for node in [self.to, self.from].into_iter().chain(0..self.nodes.len()) {
            order(&mut self.nodes[node], &["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.to_id]).await;
        }
    }
}

/// An append fails when its connection breaks, rather than being repeated without the caller's knowledge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_repeat_nothing() {
    let mut redis = RedisCluster::start().await;
    let log = Arc::new(RedisLog::connect(&ClusterConfig::new(redis.addresses(), NONE)).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let logs: Vec<LogId> =
        (0..30).map(|user| LogId::Inbox(format!("user-{user}").parse().unwrap())).collect();
    let writers: Vec<_> = logs.iter().map(|id| keep_appending(&log, id, 1, &stop, |_| None)).collect();
    for _ in 0..10 {
        for node in redis.nodes() {
            lose_answers(node).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut in_doubt = 0;
    for (writer, id) in writers.into_iter().zip(&logs) {
        let (acknowledged, failed) = writer.await.unwrap();
        in_doubt += failed.len();
        wait_until("the log can be read", PATIENCE, async || last(&*log, id).await.is_some()).await;
        let entries = all_entries(&*log, id).await;
        check(&entries, &acknowledged);
        assert!(entries.len() <= acknowledged.len() + failed.len());
    }
    assert!(in_doubt > 0, "nothing was under way when connections broke");
}

/// Breaks a node's connections after it has carried out requests and before it has answered them: while it is busy,
/// requests queue, and the one that breaks the connections comes last.
async fn lose_answers(node: &RedisServer) {
    let (mut busy, mut admin) = (node.connection().await, node.connection().await);
    let busy = tokio::spawn(async move { order(&mut busy, &["EVAL", "for _ = 1, 1e7 do end", "0"]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    order(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    // Its own answer may be lost too.
    let _ = busy.await;
}
