use bytes::Bytes;

use super::*;
use crate::{
    backend::{
        Im,
        message_store::{MemoryMessageStore, StoreQuery, StoredEntry},
        send::message_ids::unix_ms,
    },
    cluster::{Cluster, MemoryRoutes, SetClocks},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn log(name: &str) -> LogId {
    match name.split_once('#') {
        Some((_, channel)) => LogId::Channel(channel.parse().unwrap()),
        None => LogId::Inbox(name.parse().unwrap()),
    }
}

/// An entry of an age of this many days and an hour.
fn entry(name: &str, days: u64) -> StoredEntry {
    let message_id = first_kept(unix_ms(), DAY * u32::try_from(days).unwrap() + DAY / 24);
    StoredEntry {
        log: log(name),
        seq: 1000 - days,
        message_id,
        peer: None,
        from: None,
        kind: String::new(),
        message: Bytes::new(),
    }
}

async fn kept(store: &MemoryMessageStore, name: &str) -> Vec<u64> {
    let query = StoreQuery::new(crate::HistoryRange::After(0), 10_000);
    let page = store.read(&log(name), &query).await.unwrap();
    page.entries.iter().map(|entry| 1000 - entry.seq).collect()
}

async fn im(store: &MemoryMessageStore) -> Im {
    let config = Im::builder().message_store(Arc::new(store.clone()));
    config.start(Cluster::embedded()).await.unwrap()
}

#[test]
fn the_nearest_rule_counts() {
    let rules = Retention::new()
        .inboxes(DAY)
        .channels(2 * DAY)
        .channels_with_prefix("room:", 3 * DAY)
        .channels_with_prefix("room:vip:", 4 * DAY)
        .by(|log| (log.to_string() == "c:room:vip:7").then_some(5 * DAY));
    for (name, days) in [("bob", 1), ("#team", 2), ("#room:1", 3), ("#room:vip:1", 4), ("#room:vip:7", 5)] {
        assert_eq!(rules.age(&log(name)), Some(days * DAY), "{name}");
    }
    assert_eq!(Retention::new().age(&log("bob")), None);
    assert_eq!(Retention::new().inboxes(DAY).age(&log("#team")), None);
}

#[tokio::test]
async fn what_is_too_old_goes_and_nothing_else() {
    let store = MemoryMessageStore::new();
    let names = ["bob", "#team", "#room:1"];
    let entries: Vec<_> = names.iter().flat_map(|name| (0..5).map(|days| entry(name, days))).collect();
    store.write(&entries).await.unwrap();
    let im = im(&store).await;
    let rules = Retention::new().inboxes(3 * DAY).channels_with_prefix("room:", DAY);
    // Two at once, as from several backends.
    let (first, second) = (im.retention(rules.clone()).unwrap(), im.retention(rules).unwrap());
    let (one, two) = tokio::join!(first.run_once(), second.run_once());
    assert_eq!(one.unwrap() + two.unwrap(), 2 + 4);
    assert_eq!(kept(&store, "bob").await, [2, 1, 0]);
    assert_eq!(kept(&store, "#team").await, [4, 3, 2, 1, 0]);
    assert_eq!(kept(&store, "#room:1").await, [0]);
    assert_eq!(first.run_once().await.unwrap(), 0, "again has no effect");
}

#[tokio::test]
async fn a_back_end_whose_clock_is_a_month_off_deletes_nothing() {
    let store = MemoryMessageStore::new();
    store.write(&[entry("bob", 5)]).await.unwrap();
    let month = i64::try_from((31 * DAY).as_millis()).unwrap();
    for (skew, deleted) in [(month, 0), (-month, 0), (0, 1)] {
        let (routes, local) = (Arc::new(MemoryRoutes::new()), SetClocks::at(unix_ms()));
        local.set_by(skew);
        let cluster = Cluster::embedded().with_routes(routes.clone(), Clock::with_local(routes, local));
        let config = Im::builder().message_store(Arc::new(store.clone()));
        let im = config.start(cluster).await.unwrap();
        let cleaner = im.retention(Retention::new().inboxes(DAY)).unwrap();
        assert_eq!(cleaner.run_once().await.unwrap(), deleted, "{skew}");
    }
}

#[tokio::test]
async fn many_are_deleted_in_batches() {
    let store = MemoryMessageStore::new();
    let start = first_kept(unix_ms(), 2 * DAY).unix_ms();
    let entries: Vec<_> = (0..2 * BATCH as u64 + 7)
        .map(|number| StoredEntry {
            seq: number,
            message_id: MessageId::first_at(start + number),
            ..entry("bob", 2)
        })
        .collect();
    store.write(&entries).await.unwrap();
    // More logs than one read returns.
    let logs: Vec<_> = (0..LOGS + 5).map(|number| entry(&format!("user-{number}"), 2)).collect();
    store.write(&logs).await.unwrap();
    let im = im(&store).await;
    let cleaner = im.retention(Retention::new().inboxes(DAY)).unwrap();
    assert_eq!(cleaner.run_once().await.unwrap(), (entries.len() + logs.len()) as u64);
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop() {
    let store = MemoryMessageStore::new();
    let im = im(&store).await;
    let handle = im.retention(Retention::new().inboxes(DAY)).unwrap().start(Duration::ZERO);
    store.write(&[entry("bob", 2)]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while handle.deleted() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    handle.shutdown().await;
    let without = Im::with_cluster(Cluster::embedded()).await.unwrap();
    assert!(without.retention(Retention::new()).is_err());
}
