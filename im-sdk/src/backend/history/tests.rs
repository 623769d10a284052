mod costs;
mod truth;

use std::sync::Arc;

use super::*;
use crate::{
    backend::{
        Im, Message, SendError, channel,
        message_store::{MemoryMessageStore, MessageStore as _, StoredEntry},
        user, users,
    },
    cluster::{ArchiveRecord, Cluster, LogBounds, LogPosition, MemoryBus, MemoryLog, MemoryRoutes},
    content::Change,
};

/// A backend whose logs keep four entries, and a message store.
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
        let mut config = Im::builder();
        if with_store {
            config = config.message_store(Arc::new(store.clone()));
        }
        Self { im: config.start(cluster).await.unwrap(), store }
    }

    /// Sends a message to bob, and writes it to the store as well.
    async fn send(&self, from: &str) {
        let receipt = self.im.send(Message::to(user("bob")).from(from).text("hi")).await.unwrap();
        let (owner, seq) = receipt.logged[0].clone();
        self.put(owner.as_str(), seq, from, receipt.message_id).await;
    }

    async fn put(&self, owner: &str, seq: u64, from: &str, id: MessageId) {
        let content = Some(Content::text("hi").into());
        let message = pb::Message {
            id: id.as_u64(),
            from: from.into(),
            to: owner.into(),
            content,
            ..Default::default()
        };
        let place = LogPosition::new(LogId::Inbox(owner.parse().unwrap()), seq);
        let record = ArchiveRecord::new(message.encode_to_vec().into(), vec![place]);
        self.store.write(&StoredEntry::of(&record).unwrap()).await.unwrap();
    }

    async fn read(&self, conversation: &Conversation, range: HistoryRange, limit: usize) -> (Vec<u64>, bool) {
        let page = self.im.history("bob", conversation, range, limit).await.unwrap();
        assert!(page.messages.iter().all(|entry| entry.content == Content::text("hi")));
        (page.messages.iter().map(|entry| entry.seq).collect(), page.next.is_some())
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
    // alice's messages are at 1, 4, 7 and 10; carol's are between them.
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
    // Entries that a log had at these seqs before it was rolled back.
    for seq in [2, 4] {
        past.put("bob", seq, "ghost", MessageId::first_at(1_740_000_000_000 + seq)).await;
    }
    let page = past.im.history("bob", &Conversation::Inbox, Newest, 10).await.unwrap();
    let seen: Vec<_> =
        page.messages.iter().map(|entry| (entry.seq, entry.from.as_ref().unwrap().to_string())).collect();
    let from = |seq: u64, from: &str| (seq, from.to_owned());
    let alice = |seq| from(seq, "alice");
    assert_eq!(
        seen,
        [alice(1), from(2, "ghost"), alice(2), alice(3), alice(4), alice(5), alice(6)],
        "the log begins at 3: what was lost before that is shown"
    );
    let forward = past.im.history("bob", &Conversation::Inbox, After(0), 10).await.unwrap();
    assert_eq!(forward.messages, page.messages, "the same from the other side");
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

async fn embedded() -> Im {
    Im::with_cluster(Cluster::embedded()).await.unwrap()
}

fn name(user: &str) -> UserId {
    user.parse().unwrap()
}

async fn said(im: &Im, text: &str) -> MessageId {
    im.send(Message::to(user("bob")).from("alice").text(text)).await.unwrap().message_id
}

#[tokio::test]
async fn a_page_in_the_middle_is_right_although_the_changes_stand_behind_it() {
    let im = embedded().await;
    let first = said(&im, "first").await;
    for number in 0..600 {
        said(&im, &format!("filler {number}")).await;
    }
    let both = || users(["alice", "bob"]);
    im.send(Message::to(user("alice")).from("bob").content(Change::react(first, "x"))).await.unwrap();
    im.change(both(), Change::pin(first)).await.unwrap();
    im.change(both(), Change::edit(first, "edited")).await.unwrap();
    let (bob, alice) = (name("bob"), name("alice"));
    // Both before and after the entries behind the page have been scanned.
    for _ in 0..2 {
        let page = im.history(&bob, &alice, After(0), 1).await.unwrap();
        let timeline = page.timeline(bob.clone());
        let shown = timeline.get(first).unwrap();
        assert_eq!(shown.content().and_then(Content::as_text), Some("edited"));
        assert!(shown.is_pinned() && shown.reactions()[0].users == [Some(&bob)]);
        let newest = im.history(&bob, &alice, Newest, 3).await.unwrap();
        let texts: Vec<_> = newest.messages.iter().filter_map(|entry| entry.content.as_text()).collect();
        assert_eq!((texts, newest.changes.len()), (vec!["filler 597", "filler 598", "filler 599"], 0));
    }
    im.send(Message::to(user("alice")).from("bob").content(Change::unreact(first, "x"))).await.unwrap();
    let page = im.history(&bob, &alice, After(0), 1).await.unwrap();
    assert!(page.timeline(bob.clone()).get(first).unwrap().reactions().is_empty());
    let raw = im.raw_history(&bob, &alice, Newest, 2).await.unwrap();
    assert!(raw.messages.iter().all(|entry| entry.content.as_change().is_some()), "as they are in the log");
}

#[tokio::test]
async fn many_changes_in_a_row_leave_no_page_empty_that_need_not_be() {
    let im = embedded().await;
    let first = said(&im, "first").await;
    for number in 0..300 {
        let emoji = format!("e{}", number % 7);
        im.send(Message::to(user("alice")).from("bob").content(Change::react(first, emoji))).await.unwrap();
    }
    let page = im.history(&name("bob"), name("alice"), Newest, 10).await.unwrap();
    assert_eq!(
        (page.messages.len(), page.changes.len(), page.next),
        (1, 7, None),
        "of each emoji the last one"
    );
}

#[tokio::test]
async fn what_a_user_deletes_is_gone_for_that_user_alone() {
    let im = embedded().await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let own = said(&im, "to bob").await;
    let in_team =
        im.send(Message::to(channel("team")).from("alice").text("to all")).await.unwrap().message_id;
    let team: ChannelId = "team".parse().unwrap();
    let mut of_team = Change::delete_for_me(in_team);
    of_team.channel = Some(team.clone());
    for change in [Change::delete_for_me(own), of_team] {
        im.send(Message::to(user("bob")).from("bob").content(change)).await.unwrap();
    }
    for (user, left) in [("bob", 0), ("alice", 1)] {
        let other = if user == "bob" { "alice" } else { "bob" };
        for conversation in [Conversation::User(name(other)), Conversation::Channel(team.clone())] {
            let page = im.history(&name(user), &conversation, Newest, 10).await.unwrap();
            assert_eq!(page.messages.len(), left, "{user}, {conversation:?}");
        }
    }
}

#[tokio::test]
async fn a_change_goes_to_where_its_message_is() {
    let im = embedded().await;
    let id = said(&im, "hi").await;
    let nobodys = MessageId::from_u64(12_345).unwrap();
    for (target, id) in [
        (users(["alice", "carol"]), id),
        (users(["carol", "alice"]), id),
        (user("carol"), id),
        (channel("team"), id),
        (users(["alice", "bob"]), nobodys),
    ] {
        let refused = im.change(target, Change::recall(id)).await;
        assert!(matches!(refused, Err(SendError::NoSuchMessage { message_id, .. }) if message_id == id));
    }
    assert!(im.cluster().log().ends(&[LogId::Inbox(name("carol"))]).await.unwrap()[0].last == 0);
    assert!(matches!(im.recall(id).await, Err(SendError::NoSuchMessage { .. })), "without a message store");
    assert!(matches!(im.message(id).await, Err(HistoryError::NotStored(_))));
    let found = im.message_in(&name("bob"), name("alice"), id).await.unwrap();
    assert_eq!((found.content.as_text(), found.seq), (Some("hi"), 1));
    assert!(im.message_in(&name("bob"), name("carol"), id).await.is_err(), "of another conversation");
    im.change(users(["alice", "bob"]), Change::recall(id)).await.unwrap();
}
