//! Conformance of [`LogStore`].

mod acks;
mod bounds;
mod idempotency;
mod pages;
mod shares;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    cluster::{Appended, LogBounds, LogEnds, LogError, LogId, LogStore, NewEntry, ReadLimit},
    id::{MessageId, NodeId},
};

/// Checks an implementation. `open` opens it with the given bounds: a new store each time, or one
/// that all checks share.
///
/// # Panics
/// When a rule is broken.
pub async fn check_log<L: LogStore>(open: impl AsyncFn(LogBounds) -> L) {
    let log = Arc::new(open(LogBounds::default()).await);
    numbers_are_contiguous(&log).await;
    many_logs_at_once(&log).await;
    payloads_stay_as_they_are(&*log).await;
    pages::check(&*log).await;
    idempotency::check(&log).await;
    bounds::check(&open).await;
    shares::check(&open).await;
    acks::check(&open).await;
}

async fn numbers_are_contiguous<L: LogStore>(log: &Arc<L>) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 50;
    let inbox = fresh();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (log, inbox) = (log.clone(), inbox.clone());
        writers.spawn(async move {
            let mut appended = Vec::new();
            for _ in 0..EACH {
                appended.push(append(&*log, &inbox).await);
            }
            appended
        });
    }
    let writers = writers.join_all().await;
    assert!(
        writers.iter().all(|own| own.is_sorted_by_key(|appended| appended.seq)),
        "in the order of appends"
    );
    let mut all = writers.concat();
    all.sort_by_key(|appended| appended.seq);
    assert!(all.iter().map(|appended| appended.seq).eq(1..=WRITERS * EACH), "without a gap, from 1 on");
    let page = log.read(&inbox, 0, ReadLimit::new(usize::MAX)).await.expect("read");
    let read = page.entries.iter().map(|entry| (entry.seq, entry.message_id));
    assert!(
        read.eq(all.iter().map(|appended| (appended.seq, appended.message_id))),
        "what was appended is read"
    );
}

async fn many_logs_at_once<L: LogStore>(log: &Arc<L>) {
    const ROUNDS: u64 = 5;
    let logs: Vec<LogId> = (0..100).map(|number| if number % 2 == 0 { fresh() } else { channel() }).collect();
    for round in 1..=ROUNDS {
        let ids: Vec<MessageId> = logs.iter().map(|_| id()).collect();
        let entries = logs.iter().zip(&ids).map(|(log, id)| (log.clone(), NewEntry::new(*id, Bytes::new())));
        let results = log.append_many(entries.collect()).await;
        assert_eq!(results.len(), logs.len());
        for (result, id) in results.into_iter().zip(ids) {
            let expected = Appended { seq: round, message_id: id, repeated: false };
            assert_eq!(result.expect("append"), expected, "results are in the order of the entries");
        }
    }
    assert!(log.append_many(Vec::new()).await.is_empty());
    let ends = log.ends(&logs).await.expect("ends");
    assert_eq!(ends, vec![LogEnds { first: 1, last: ROUNDS }; logs.len()], "no log has another's entries");
}

async fn payloads_stay_as_they_are(log: &dyn LogStore) {
    let inbox = fresh();
    let every_byte: Vec<u8> = (0..=255).collect();
    let sizes = [0, 1, 127, 4_096, 64 * 1024];
    let random = sizes.map(|size| (0..size).map(|_| rand::random()).collect::<Vec<u8>>());
    let payloads: Vec<Vec<u8>> =
        [every_byte, b"\r\n$-1\r\n".to_vec(), vec![0; 100]].into_iter().chain(random).collect();
    for payload in &payloads {
        log.append(&inbox, NewEntry::new(id(), payload.clone().into())).await.expect("append");
    }
    let page = log.read(&inbox, 0, ReadLimit::new(100)).await.expect("read");
    assert!(
        page.entries.iter().map(|entry| &entry.payload[..]).eq(payloads.iter().map(|payload| &payload[..]))
    );
}

async fn append(log: &dyn LogStore, to: &LogId) -> Appended {
    let id = id();
    let appended = log.append(to, NewEntry::new(id, Bytes::from_static(b"hi"))).await.expect("append");
    assert_eq!((appended.message_id, appended.repeated), (id, false));
    appended
}

async fn ends(log: &dyn LogStore, of: &LogId) -> (u64, u64) {
    let ends = log.ends(std::slice::from_ref(of)).await.expect("ends").remove(0);
    (ends.first, ends.last)
}

/// Returns the seqs of up to `limit` entries behind `after`, and the log's range.
async fn seqs(log: &dyn LogStore, of: &LogId, after: u64, limit: usize) -> (Vec<u64>, u64, u64) {
    let page = log.read(of, after, ReadLimit::new(limit)).await.expect("read");
    (page.entries.iter().map(|entry| entry.seq).collect(), page.first, page.last)
}

/// Returns the seqs of up to `limit` entries before `before`, and the log's range.
async fn seqs_back(
    log: &dyn LogStore,
    of: &LogId,
    before: Option<u64>,
    limit: usize,
) -> (Vec<u64>, u64, u64) {
    let page = log.read_back(of, before, ReadLimit::new(limit)).await.expect("read back");
    (page.entries.iter().map(|entry| entry.seq).collect(), page.first, page.last)
}

/// Returns an inbox that no other check uses.
fn fresh() -> LogId {
    LogId::Inbox(unique().parse().expect("a user id"))
}

/// Returns a channel that no other check uses, nor a user of that name.
fn channel() -> LogId {
    LogId::Channel(unique().parse().expect("a channel id"))
}

fn unique() -> String {
    format!("{:x}", rand::random::<u128>())
}

/// Returns a new message id of the current time.
fn id() -> MessageId {
    id_at(now_ms())
}

/// Returns a new message id of a given time.
fn id_at(unix_ms: u64) -> MessageId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let per_node = u64::from(MessageId::PER_MS);
    let node = NodeId::new((number / per_node % u64::from(NodeId::COUNT)) as u16).expect("a node number");
    MessageId::from_parts(unix_ms, node, (number % per_node) as u16)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that was set").as_millis() as u64
}

fn refused(result: Result<Appended, LogError>) -> LogError {
    result.expect_err("an append that should be refused")
}
