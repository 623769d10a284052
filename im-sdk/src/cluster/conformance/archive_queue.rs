//! Conformance of [`ArchiveQueue`].

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::JoinSet, time::Instant};

use super::eventually;
use crate::cluster::{
    ArchiveConfig, ArchiveDelivery, ArchiveError, ArchiveQueue, ArchiveRecord, LogId, LogPosition,
};

/// A wait that a working implementation ends early.
const LONG: Duration = Duration::from_secs(20);

/// A lease that a check can wait for.
const SOON: Duration = Duration::from_millis(500);

/// Checks an implementation. `open` opens a new and empty queue with the given settings.
///
/// # Panics
/// When a rule is broken.
pub async fn check_archive_queue<A: ArchiveQueue>(open: impl AsyncFn(ArchiveConfig) -> A) {
    let usual = ArchiveConfig { max_bytes: 16 * 1024 * 1024, ..ArchiveConfig::default() };
    let archive = Arc::new(open(usual).await);
    records_stay_as_they_are(&*archive).await;
    the_same_record_is_there_once(&*archive).await;
    fetching_waits(&archive).await;
    many_at_once(&archive).await;
    let quick = ArchiveConfig { redeliver_after: SOON, ..usual };
    what_is_not_acknowledged_comes_again(&open(quick).await).await;
    let small = ArchiveConfig { max_bytes: 20_000, ..usual };
    what_does_not_fit_is_refused(&open(small).await).await;
}

async fn records_stay_as_they_are(archive: &dyn ArchiveQueue) {
    assert!(fetch(archive, 10).await.is_empty(), "a new archive is empty");
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [Bytes::new(), every_byte.into(), vec![7; 64 * 1024].into()];
    let places = vec![inbox("a:b/c", 1), inbox("bob", u64::MAX), channel("bob", 2)];
    let records = payloads.map(|payload| ArchiveRecord::new(payload, places.clone()));
    for record in &records {
        archive.append(record.clone()).await.expect("append");
    }
    let lag = archive.lag().await.expect("lag");
    assert_eq!((lag.waiting, lag.unacknowledged), (3, 0), "what nobody has taken out waits");
    let first = fetch(archive, 2).await;
    let rest = fetch(archive, 10).await;
    assert_eq!((first.len(), rest.len()), (2, 1), "no more than asked for, and nothing twice");
    let taken = [first, rest].concat();
    assert!(taken.iter().map(|delivery| &delivery.record).eq(&records), "unchanged, the oldest first");
    let lag = archive.lag().await.expect("lag");
    assert_eq!((lag.waiting, lag.unacknowledged), (0, 3), "what was taken out is not acknowledged yet");
    acknowledge(archive, taken).await;
    is_empty(archive).await;
}

async fn the_same_record_is_there_once(archive: &dyn ArchiveQueue) {
    let record = record(1, 1);
    for _ in 0..3 {
        archive.append(record.clone()).await.expect("the same again is no error");
    }
    let elsewhere = ArchiveRecord::new(record.message.clone(), vec![inbox("somebody-else", 1)]);
    archive.append(elsewhere.clone()).await.expect("append");
    let taken = fetch(archive, 10).await;
    assert!(taken.iter().map(|delivery| &delivery.record).eq([&record, &elsewhere]));
    acknowledge(archive, taken).await;
    is_empty(archive).await;
}

async fn fetching_waits<A: ArchiveQueue>(archive: &Arc<A>) {
    let begun = Instant::now();
    assert!(archive.fetch(10, SOON).await.expect("fetch").is_empty());
    assert!(begun.elapsed() >= SOON.mul_f64(0.8), "it waits for as long as it may");
    let waiting = tokio::spawn({
        let archive = archive.clone();
        async move { archive.fetch(10, LONG).await.expect("fetch") }
    });
    let late = record(2, 1);
    archive.append(late.clone()).await.expect("append");
    let begun = Instant::now();
    let taken = waiting.await.expect("the waiting task");
    assert!(begun.elapsed() < LONG / 2, "what comes ends the wait");
    assert!(taken.iter().map(|delivery| &delivery.record).eq([&late]));
    acknowledge(&**archive, taken).await;
    assert!(archive.fetch(0, LONG).await.expect("fetch").is_empty(), "nothing is no reason to wait");
    is_empty(&**archive).await;
}

async fn many_at_once<A: ArchiveQueue>(archive: &Arc<A>) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 50;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let archive = archive.clone();
        tasks.spawn(async move {
            for number in 0..EACH {
                archive.append(record(100 + writer, number)).await.expect("append");
            }
            Vec::new()
        });
    }
    let all = WRITERS * EACH;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    for _ in 0..3 {
        let (archive, seen) = (archive.clone(), seen.clone());
        tasks.spawn(async move {
            let mut own = Vec::new();
            while (seen.lock().expect("the lock").len() as u64) < all {
                let taken = archive.fetch(20, Duration::from_millis(50)).await.expect("fetch");
                let seqs = taken.iter().map(|delivery| delivery.record.places[0].seq);
                seen.lock().expect("the lock").extend(seqs.clone());
                own.extend(seqs);
                acknowledge(&*archive, taken).await;
            }
            own
        });
    }
    let fetched: Vec<u64> = tasks.join_all().await.concat();
    let fetched = fetched.len() as u64;
    assert_eq!(seen.lock().expect("the lock").len() as u64, all, "none is lost");
    // On a busy machine, an acknowledgement may come after the record's lease, and the record is
    // delivered again.
    assert!(fetched < 2 * all, "a record goes to one of those who fetch: {fetched} for {all}");
    is_empty(&**archive).await;
}

async fn what_is_not_acknowledged_comes_again(archive: &dyn ArchiveQueue) {
    for number in 1..=3 {
        archive.append(record(3, number)).await.expect("append");
    }
    let mut taken = fetch(archive, 10).await;
    assert_eq!(taken.len(), 3);
    let lost = taken.pop().expect("a delivery");
    acknowledge(archive, taken).await;
    let again = archive.fetch(10, LONG).await.expect("fetch");
    assert!(
        again.iter().map(|delivery| &delivery.record).eq([&lost.record]),
        "that one alone, when its time is over"
    );
    // A slow archiver may still acknowledge.
    acknowledge(archive, vec![lost]).await;
    acknowledge(archive, again).await;
    is_empty(archive).await;
}

async fn what_does_not_fit_is_refused(archive: &dyn ArchiveQueue) {
    let large =
        |number| ArchiveRecord::new(vec![number; 6_000].into(), vec![inbox("bob", u64::from(number))]);
    let mut stored = 0;
    let refused = loop {
        match archive.append(large(stored)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ArchiveError::Full), "{refused}");
    assert!((2..=3).contains(&stored), "{stored} records of 6 kB fit into 20 kB");
    let taken = fetch(archive, 10).await;
    assert_eq!(taken.len(), usize::from(stored), "what was there stays");
    acknowledge(archive, taken).await;
    eventually("there is room again", async || archive.append(large(stored)).await.ok()).await;
}

/// Fetches the available records.
async fn fetch(archive: &dyn ArchiveQueue, limit: usize) -> Vec<ArchiveDelivery> {
    archive.fetch(limit, Duration::ZERO).await.expect("fetch")
}

async fn acknowledge(archive: &dyn ArchiveQueue, taken: Vec<ArchiveDelivery>) {
    let tokens = taken.into_iter().map(|delivery| delivery.token).collect();
    archive.acknowledge(tokens).await.expect("acknowledge");
}

async fn is_empty(archive: &dyn ArchiveQueue) {
    let look = async || (archive.lag().await.expect("lag").total() == 0).then_some(());
    eventually("what was acknowledged is gone", look).await;
}

/// Creates a record identified by these two numbers.
fn record(of: u64, number: u64) -> ArchiveRecord {
    ArchiveRecord::new(Bytes::from_static(b"hi"), vec![inbox("bob", of * 1_000_000 + number)])
}

fn inbox(user: &str, seq: u64) -> LogPosition {
    LogPosition::new(LogId::Inbox(user.parse().expect("a user")), seq)
}

fn channel(channel: &str, seq: u64) -> LogPosition {
    LogPosition::new(LogId::Channel(channel.parse().expect("a channel")), seq)
}
