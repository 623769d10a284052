//! Guarantees of the logs when Redis, its replicas, its cluster or the back-end process fails.

mod crashes;
mod read_cost;
mod redis_cluster;
mod replicas;
mod retention;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use im_sdk::{
    cluster::{
        Appended, ClusterConfig, DedupKey, Entry, LogError, LogId, LogStore, NewEntry, ReadLimit, RedisLog,
    },
    id::{MessageId, NodeId},
};
use im_tests::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
const NONE: [&str; 0] = [];

const PATIENCE: Duration = Duration::from_secs(20);

fn config(redis: &RedisServer) -> ClusterConfig {
    let mut config = ClusterConfig::new([redis.address()], NONE);
    config.request_timeout = Duration::from_millis(500);
    config
}

fn bob() -> LogId {
    LogId::Inbox("bob".parse().unwrap())
}

/// Returns an entry whose id and payload contain a number.
fn entry(number: u64) -> NewEntry {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let node = NodeId::new((number / 1024) as u16).unwrap();
    NewEntry::new(MessageId::from_parts(now, node, (number % 1024) as u16), Bytes::from(number.to_string()))
}

fn numbered(number: u64) -> DedupKey {
    DedupKey::Producer { name: "phone".into(), number, digest: [1; 16] }
}

/// Returns the last seq, if the log can be read.
async fn last(log: &dyn LogStore, id: &LogId) -> Option<u64> {
    Some(log.ends(std::slice::from_ref(id)).await.ok()?[0].last)
}

async fn all_entries(log: &dyn LogStore, id: &LogId) -> Vec<Entry> {
    let limit = ReadLimit::new(usize::MAX).with_bytes(usize::MAX);
    let page = log.read(id, 0, limit).await.unwrap();
    assert!(page.entries.iter().map(|entry| entry.seq).eq(1..=page.last), "seqs have no gap");
    page.entries
}

/// Asserts that every acknowledged entry is at its seq, and none is duplicated.
fn check(entries: &[Entry], acknowledged: &[Appended]) {
    for appended in acknowledged {
        let found = &entries[usize::try_from(appended.seq).unwrap() - 1];
        assert_eq!(found.message_id, appended.message_id, "at {}", appended.seq);
    }
    let mut ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
    ids.sort();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "no entry is there twice");
}

/// Appends until stopped. Returns the acknowledged entries, and the errors of the other attempts.
fn keep_appending(
    log: &Arc<RedisLog>,
    id: &LogId,
    start: u64,
    stop: &Arc<AtomicBool>,
    once: fn(u64) -> Option<DedupKey>,
) -> JoinHandle<(Vec<Appended>, Vec<LogError>)> {
    let (log, id, stop) = (log.clone(), id.clone(), stop.clone());
    tokio::spawn(async move {
        let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
        for number in start.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match log.append(&id, NewEntry { dedup_key: once(number), ..entry(number) }).await {
                Ok(appended) => acknowledged.push(appended),
                Err(error) => failed.push(error),
            }
        }
        (acknowledged, failed)
    })
}

async fn order(connection: &mut MultiplexedConnection, words: &[&str]) -> redis::Value {
    let answer = redis::cmd(words[0]).arg(&words[1..]).query_async(connection).await;
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

async fn text(connection: &mut MultiplexedConnection, words: &[&str]) -> String {
    redis::from_redis_value(order(connection, words).await).unwrap()
}
