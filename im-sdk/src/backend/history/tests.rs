mod costs;

use std::sync::Arc;

use super::*;
use crate::{
    backend::{ImConfig, MemoryMessageStore, Message, MessageStore as _, user},
    cluster::{ArchivePlace, ArchiveRecord, Cluster, LogBounds, MemoryBus, MemoryLog, MemoryRoutes},
};

/// A back end whose logs keep four entries, and a store that has what `stored` says.
struct Past {
    im: Im,
    store: MemoryMessageStore,
}

const KEPT: u64 = 4;

impl Past {
    async fn new(with_store: bool) -> Self {
        let bounds = LogBounds { max_entries: KEPT, ..LogBounds::default() };
        let log = Arc::new(MemoryLog::new(bounds));
        let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log);
        let store = MemoryMessageStore::new();
        let mut config = ImConfig::default();
        if with_store {
            config.message_store = Some(Arc::new(store.clone()));
        }
        Self { im: Im::start(cluster, config).await.unwrap(), store }
    }

    /// Sends to bob, and puts it into the store as well.
    async fn send(&self, from: &str) {
        let receipt = self.im.send(Message::to(user("bob")).from(from).text("hi")).await.unwrap();
        let (owner, seq) = receipt.logged[0].clone();
        self.put(owner.as_str(), seq, from, receipt.message_id).await;
    }

    async fn put(&self, owner: &str, seq: u64, from: &str, id: MessageId) {
        let content = Some(Content::text("hi").into());
        let message = pb::Message { id: id.as_u64(), from: from.into(), to: owner.into(), content };
        let place = ArchivePlace::new(LogId::Inbox(owner.parse().unwrap()), seq);
        let record = ArchiveRecord::new(message.encode_to_vec().into(), vec![place]);
        self.store.write(&StoredEntry::of(&record).unwrap()).await.unwrap();
    }

    async fn read(&self, conversation: &Conversation, range: HistoryRange, limit: usize) -> (Vec<u64>, bool) {
        let bob = "bob".parse().unwrap();
        let page = self.im.history(&bob, conversation, range, limit).await.unwrap();
        assert!(page.entries.iter().all(|entry| entry.content == Content::text("hi")));
        (page.entries.iter().map(|entry| entry.seq).collect(), page.next.is_some())
    }

    async fn inbox(&self, range: HistoryRange, limit: usize) -> (Vec<u64>, bool) {
        self.read(&Conversation::Inbox, range, limit).await
    }
}

use HistoryRange::{After, Before, Newest};

#[tokio::test]
async fn a_log_alone() {
    let past = Past::new(false).await;
    assert_eq!(past.inbox(Newest, 10).await, (vec![], false));
    assert_eq!(past.inbox(After(0), 10).await, (vec![], false));
    for _ in 0..10 {
        past.send("alice").await;
    }
    for (range, limit, expected, more) in [
        (Newest, 2, vec![9, 10], true),
        (Newest, 4, vec![7, 8, 9, 10], false),
        (Newest, 0, vec![10], true),
        (Before(9), 1, vec![8], true),
        (Before(9), 10, vec![7, 8], false),
        (Before(7), 10, vec![], false),
        (After(0), 2, vec![7, 8], true),
        (After(8), 2, vec![9, 10], false),
        (After(10), 2, vec![], false),
        (After(u64::MAX), 2, vec![], false),
    ] {
        assert_eq!(past.inbox(range, limit).await, (expected, more), "{range:?} {limit}");
    }
}

#[tokio::test]
async fn what_the_log_has_no_more_comes_from_the_store() {
    let past = Past::new(true).await;
    for _ in 0..10 {
        past.send("alice").await;
    }
    for (range, limit, expected, more) in [
        (Newest, 2, vec![9, 10], true),
        (Newest, 4, vec![7, 8, 9, 10], true),
        (Newest, 6, vec![5, 6, 7, 8, 9, 10], true),
        (Newest, 10, (1..=10).collect(), false),
        (Before(8), 3, vec![5, 6, 7], true),
        (Before(7), 3, vec![4, 5, 6], true),
        (Before(4), 3, vec![1, 2, 3], false),
        (Before(1), 3, vec![], false),
        (After(0), 3, vec![1, 2, 3], true),
        (After(4), 2, vec![5, 6], true),
        (After(4), 3, vec![5, 6, 7], true),
        (After(4), 6, vec![5, 6, 7, 8, 9, 10], false),
        (After(0), 100, (1..=10).collect(), false),
        (After(7), 2, vec![8, 9], true),
    ] {
        assert_eq!(past.inbox(range, limit).await, (expected, more), "{range:?} {limit}");
    }
}

#[tokio::test]
async fn a_conversation_is_found_among_others() {
    let past = Past::new(true).await;
    // alice at 1, 4, 7, 10; carol between.
    for number in 0..10 {
        past.send(if number % 3 == 0 { "alice" } else { "carol" }).await;
    }
    let alice = Conversation::User("alice".parse().unwrap());
    for (range, limit, expected, more) in [
        (Newest, 1, vec![10], true),
        (Newest, 2, vec![7, 10], true),
        (Newest, 3, vec![4, 7, 10], true),
        (Newest, 4, vec![1, 4, 7, 10], false),
        (Before(10), 2, vec![4, 7], true),
        (After(1), 2, vec![4, 7], true),
        (After(1), 3, vec![4, 7, 10], false),
    ] {
        assert_eq!(past.read(&alice, range, limit).await, (expected, more), "{range:?} {limit}");
    }
    let dave = Conversation::User("dave".parse().unwrap());
    assert_eq!(past.read(&dave, Newest, 5).await, (vec![], false));
}

#[tokio::test]
async fn the_log_wins_where_it_has_something() {
    let past = Past::new(true).await;
    for _ in 0..6 {
        past.send("alice").await;
    }
    // What a log had at these places before it was rolled back.
    for seq in [2, 4] {
        past.put("bob", seq, "ghost", MessageId::first_at(1_740_000_000_000 + seq)).await;
    }
    let bob = "bob".parse().unwrap();
    let page = past.im.history(&bob, &Conversation::Inbox, Newest, 10).await.unwrap();
    let seen: Vec<_> =
        page.entries.iter().map(|entry| (entry.seq, entry.from.as_ref().unwrap().to_string())).collect();
    let from = |seq: u64, from: &str| (seq, from.to_owned());
    let alice = |seq| from(seq, "alice");
    assert_eq!(
        seen,
        [alice(1), from(2, "ghost"), alice(2), alice(3), alice(4), alice(5), alice(6)],
        "the log begins at 3: what was lost before that is shown"
    );
    let forward = past.im.history(&bob, &Conversation::Inbox, After(0), 10).await.unwrap();
    assert_eq!(forward.entries, page.entries, "the same from the other side");
}

#[tokio::test]
async fn a_log_that_was_lost_is_in_the_store() {
    let past = Past::new(true).await;
    for seq in 1..=3 {
        past.put("bob", seq, "alice", MessageId::first_at(1_740_000_000_000 + seq)).await;
    }
    assert_eq!(past.inbox(Newest, 2).await, (vec![2, 3], true));
    assert_eq!(past.inbox(Before(3), 5).await, (vec![1, 2], false));
    assert_eq!(past.inbox(After(1), 5).await, (vec![2, 3], false));
}
