use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::*;
use crate::{
    HistoryRange,
    backend::{
        Durability, Im, Message, SendError,
        message_store::{MemoryMessageStore, MessageStoreError, StorePage, StoreQuery},
        user, users,
    },
    cluster::{ArchiveConfig, Cluster, LogId, MemoryArchiveQueue, MemoryBus, MemoryLog, MemoryRoutes},
};

fn message(text: &str) -> Message {
    Message::to(user("bob")).from("alice").text(text).durability(Durability::Archived)
}

fn inbox(name: &str) -> LogId {
    LogId::Inbox(name.parse().unwrap())
}

async fn stored(store: &MemoryMessageStore, owner: &str) -> Vec<(u64, u64)> {
    let page = store.read(&inbox(owner), &StoreQuery::new(HistoryRange::Newest, 1_000)).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.seq, entry.message_id.as_u64())).collect()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// A backend whose archive soon delivers unacknowledged records again.
async fn im(max_bytes: u64) -> Im {
    let config =
        ArchiveConfig { max_bytes, redeliver_after: Duration::from_millis(50), ..Default::default() };
    let parts = (Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let cluster = Cluster::new(parts.0, parts.1, parts.2);
    Im::with_cluster(cluster.with_archive(Arc::new(MemoryArchiveQueue::new(config)))).await.unwrap()
}

/// A store that fails while `broken` is set, and hangs after a write while `hangs_after_writing` is set.
#[derive(Debug, Default)]
struct Shaky {
    inner: MemoryMessageStore,
    broken: AtomicBool,
    hangs_after_writing: AtomicBool,
    tries: AtomicU64,
}

#[async_trait]
impl MessageStore for Shaky {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) {
            return Err(MessageStoreError::unavailable("write", "broken"));
        }
        self.inner.write(entries).await?;
        if self.hangs_after_writing.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        self.inner.read(log, query).await
    }
}

#[tokio::test]
async fn one_entry_for_each_log() {
    let im = im(u64::MAX).await;
    let receipt = im.send(message("hi")).await.unwrap();
    assert_eq!(receipt.durability, Durability::Archived);
    let several =
        Message::to(users(["bob", "carol"])).from("alice").text("all").durability(Durability::Archived);
    let second = im.send(several).await.unwrap();
    im.send(message("not this").durability(Durability::Logged)).await.unwrap();
    let store = MemoryMessageStore::new();
    let archiver = im.start_archiver(Arc::new(store.clone())).unwrap();
    until("five entries", async || archiver.written() == 5).await;
    let (first, second) = (receipt.message_id.as_u64(), second.message_id.as_u64());
    assert_eq!(stored(&store, "alice").await, [(1, first), (2, second)]);
    assert_eq!(stored(&store, "bob").await, [(1, first), (2, second)]);
    assert_eq!(stored(&store, "carol").await, [(1, second)]);
    until("an empty archive", async || archiver.lag().await.unwrap().total() == 0).await;
    archiver.shutdown().await;
}

#[tokio::test]
async fn a_message_to_thousands_is_archived_for_all_of_them() {
    const USERS: u64 = 5_000;
    let im = im(u64::MAX).await;
    let everybody = Message::to(users((0..USERS).map(|number| format!("user{number}"))));
    im.send(everybody.text("all").durability(Durability::Archived)).await.unwrap();
    let store = MemoryMessageStore::new();
    let archiver = im.start_archiver(Arc::new(store.clone())).unwrap();
    until("an empty archive", async || archiver.lag().await.unwrap().total() == 0).await;
    assert_eq!(archiver.written(), USERS);
    assert_eq!(stored(&store, "user4999").await.len(), 1);
}

#[tokio::test]
async fn a_retry_archives_what_the_first_try_only_logged() {
    // Room for one record, so that the second message is only in its logs.
    let im = im(90).await;
    im.send(message("fills it")).await.unwrap();
    let keyed = || message("hi").idempotency_key("key");
    let error = im.send(keyed()).await.unwrap_err();
    let SendError::NotArchived { message_id, cause: ArchiveError::Full } = error else { panic!("{error}") };
    let store = MemoryMessageStore::new();
    let archiver = im.start_archiver(Arc::new(store.clone())).unwrap();
    until("room", async || archiver.lag().await.unwrap().total() == 0).await;
    for _ in 0..2 {
        let receipt = im.send(keyed()).await.unwrap();
        assert_eq!((receipt.message_id, receipt.repeated), (message_id, true));
    }
    until("the retried message", async || stored(&store, "bob").await.len() == 2).await;
    until("nothing left", async || archiver.lag().await.unwrap().total() == 0).await;
    assert_eq!(stored(&store, "bob").await[1], (2, message_id.as_u64()), "once in log and archive");
}

#[tokio::test]
async fn without_an_archive_nothing_is_sent() {
    let parts = (Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let cluster = Cluster::new(parts.0, parts.1, parts.2);
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let error = im.send(message("hi")).await.unwrap_err();
    assert!(matches!(error, SendError::NoArchive), "{error}");
    assert_eq!(cluster.log().ends(&[inbox("bob")]).await.unwrap()[0].last, 0);
    assert!(im.start_archiver(Arc::new(MemoryMessageStore::new())).is_err());
    let config = Im::builder().default_durability(Durability::Archived);
    assert!(config.start(cluster).await.is_err(), "a default that cannot work");
}

#[tokio::test]
async fn the_default_durability_is_for_messages_that_name_none() {
    let config = Im::builder().default_durability(Durability::Archived);
    let im = config.start(Cluster::embedded()).await.unwrap();
    let durability = async |message| im.send(message).await.unwrap().durability;
    let plain = || Message::to(user("bob")).text("hi");
    assert_eq!(durability(plain()).await, Durability::Archived);
    assert_eq!(durability(plain().durability(Durability::Logged)).await, Durability::Logged);
    assert_eq!(durability(plain().durability(Durability::Transient)).await, Durability::Transient);
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let im = im(u64::MAX).await;
    let store = Arc::new(Shaky::default());
    store.broken.store(true, Ordering::Relaxed);
    let archiver = im.start_archiver(store.clone()).unwrap();
    im.send(message("hi")).await.unwrap();
    until("three tries", async || store.tries.load(Ordering::Relaxed) >= 3).await;
    assert_eq!(archiver.lag().await.unwrap().total(), 1, "not acknowledged before it is written");
    store.broken.store(false, Ordering::Relaxed);
    until("both entries", async || archiver.written() >= 2).await;
    until("an empty archive", async || archiver.lag().await.unwrap().total() == 0).await;
    assert_eq!(stored(&store.inner, "bob").await.len(), 1);
}

#[tokio::test]
async fn what_was_written_and_not_acknowledged_is_there_once() {
    let im = im(u64::MAX).await;
    for number in 0..10 {
        im.send(message(&number.to_string())).await.unwrap();
    }
    let store = Arc::new(Shaky::default());
    store.hangs_after_writing.store(true, Ordering::Relaxed);
    let killed = im.start_archiver(store.clone()).unwrap();
    until("it has written", async || stored(&store.inner, "bob").await.len() == 10).await;
    killed.task.abort();
    store.hangs_after_writing.store(false, Ordering::Relaxed);
    assert_eq!(im.cluster().archive().unwrap().lag().await.unwrap().total(), 10, "none is acknowledged");
    let next = im.start_archiver(store.clone()).unwrap();
    until("an empty archive", async || next.lag().await.unwrap().total() == 0).await;
    assert_eq!(next.written(), 20, "two entries each came again");
    assert_eq!(stored(&store.inner, "bob").await.len(), 10);
}

/// Fails on writes above a number of bytes, as with a deadline, and on one text always.
#[derive(Debug, Default)]
struct Slow {
    inner: MemoryMessageStore,
    bytes: AtomicU64,
    poison: &'static str,
    /// The number of entries that it was given.
    given: AtomicU64,
}

#[async_trait]
impl MessageStore for Slow {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        self.given.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let bytes: usize = entries.iter().map(|entry| entry.message.len()).sum();
        let has = |entry: &StoredEntry| {
            let poison = self.poison.as_bytes();
            !poison.is_empty() && entry.message.windows(poison.len()).any(|window| window == poison)
        };
        if bytes as u64 > self.bytes.load(Ordering::Relaxed) || entries.iter().any(has) {
            return Err(MessageStoreError::unavailable("write", "deadline has elapsed"));
        }
        self.inner.write(entries).await
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        self.inner.read(log, query).await
    }
}

#[tokio::test]
async fn an_archiver_gets_on_however_long_the_texts_are() {
    let im = im(u64::MAX).await;
    let long = "\u{4e2d}".repeat(20_000);
    for _ in 0..300 {
        im.send(message(&long)).await.unwrap();
    }
    let store = Arc::new(Slow { bytes: AtomicU64::new(150_000), ..Slow::default() });
    let archiver = im.start_archiver(store.clone()).unwrap();
    until("an empty archive", async || archiver.lag().await.unwrap().total() == 0).await;
    assert_eq!((archiver.written(), archiver.stall()), (600, None));
    let given = store.given.load(Ordering::Relaxed);
    assert!(given < 4 * 600, "what was written is not written again, and again: {given} entries");
}

#[tokio::test]
async fn a_text_that_cannot_be_written_holds_up_no_other() {
    let im = im(u64::MAX).await;
    for number in 0..20 {
        im.send(message(if number == 3 { "poison" } else { "fine" })).await.unwrap();
    }
    let store = Arc::new(Slow { bytes: AtomicU64::new(u64::MAX), poison: "poison", ..Slow::default() });
    let archiver = im.start_archiver(store.clone()).unwrap();
    until("all others", async || stored(&store.inner, "bob").await.len() == 19).await;
    let mut stall = None;
    until("it is tried again, and again", async || {
        stall = archiver.stall();
        stall.is_some()
    })
    .await;
    assert!(stall.as_ref().is_some_and(|stall| stall.error.contains("deadline")), "{stall:?}");
    until("it alone stays in the archive", async || archiver.lag().await.unwrap().total() == 1).await;
}
