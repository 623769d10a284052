//! The rules for every [`MessageStore`]. An implementer calls [`check_message_store`] from a test. It panics with a
//! description of the broken rule.
#![allow(clippy::expect_used, clippy::panic, reason = "a failed check is a panic")]

mod amend;
mod search;
mod trim;

use bytes::Bytes;

use super::{HistoryRange, MessageStore, StoreQuery, StoredEntry};
use crate::{
    Filter, Kind,
    cluster::LogId,
    id::{MessageId, NodeId, UserId},
};

/// Checks an implementation, while others may use the store.
///
/// # Panics
/// When a rule is broken.
pub async fn check_message_store(store: &dyn MessageStore) {
    what_is_written_is_read(store).await;
    writing_twice_has_one_effect(store).await;
    messages_are_found_by_their_ids(store).await;
    pages(store).await;
    conversations(store).await;
    entries_with_one_seq_stay_together(store).await;
    large_batches(store).await;
    times_and_kinds(store).await;
    search::check(store).await;
    amend::check(store).await;
    trim::check(store).await;
}

async fn what_is_written_is_read(store: &dyn MessageStore) {
    let name = unique();
    let (inbox, channel) = (inbox(&name), LogId::Channel(name.parse().expect("a channel")));
    let every_byte: Vec<u8> = (0..=255).collect();
    let first = StoredEntry {
        peer: Some(user("o'hara\"; DROP TABLE im_messages; --".replace(' ', "_").as_str())),
        from: Some(user("$1")),
        kind: "kind \u{1f600} '%_".to_owned(),
        message: every_byte.into(),
        ..entry(&inbox, 1)
    };
    let second = StoredEntry { message: Bytes::new(), ..entry(&channel, 1) };
    store.write(&[first.clone(), second.clone()]).await.expect("write");
    store.write(&[]).await.expect("nothing to write");
    assert_eq!(newest(store, &inbox, 10).await, ([first].into(), false), "as it was written");
    assert_eq!(newest(store, &channel, 10).await, ([second].into(), false), "a channel is no inbox");
    assert_eq!(newest(store, &self::inbox(&unique()), 10).await, (Vec::new(), false), "an empty log");
}

async fn messages_are_found_by_their_ids(store: &dyn MessageStore) {
    let (one, other) = (inbox(&unique()), inbox(&unique()));
    let in_one = entry(&one, 1);
    let in_other = StoredEntry { log: other.clone(), seq: 7, ..in_one.clone() };
    store.write(&[in_one.clone(), in_other, entry(&one, 2)]).await.expect("write");
    let mut found = store.find_message(in_one.message_id, 10).await.expect("find");
    found.sort_by_key(|entry| entry.seq);
    assert!(found.iter().all(|entry| entry.message_id == in_one.message_id), "{found:?}");
    let places: Vec<(&LogId, u64)> = found.iter().map(|entry| (&entry.log, entry.seq)).collect();
    assert_eq!(places, [(&one, 1), (&other, 7)]);
    assert_eq!(store.find_message(in_one.message_id, 1).await.expect("find").len(), 1);
    let nobodys = MessageId::first_at(1);
    assert!(store.find_message(nobodys, 10).await.expect("find").is_empty());
}

async fn writing_twice_has_one_effect(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let entry = entry(&inbox, 1);
    let again = StoredEntry { kind: "changed".to_owned(), seq: 9, ..entry.clone() };
    store.write(&[entry.clone(), entry.clone(), again.clone()]).await.expect("twice in a batch");
    store.write(&[again, self::entry(&inbox, 2)]).await.expect("again");
    let (entries, _) = newest(store, &inbox, 10).await;
    assert_eq!(entries.len(), 2, "log and message id are there once");
    assert_eq!(entries[0], entry, "the first one stays");
    // The same message in another log is another entry.
    let elsewhere = StoredEntry { log: self::inbox(&unique()), ..entry };
    store.write(std::slice::from_ref(&elsewhere)).await.expect("write");
    assert_eq!(newest(store, &elsewhere.log.clone(), 10).await.0, [elsewhere]);
}

async fn pages(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    // Out of order, and with gaps: not every message is archived.
    let seqs = [5, 1, 2, 9, 3, 7, 8, 6, 10];
    store.write(&seqs.map(|seq| entry(&inbox, seq))).await.expect("write");
    use HistoryRange::{After, Before, Newest};
    for (range, limit, expected, more) in [
        (Newest, 3, vec![8, 9, 10], true),
        (Newest, 9, vec![1, 2, 3, 5, 6, 7, 8, 9, 10], false),
        (Newest, 100, vec![1, 2, 3, 5, 6, 7, 8, 9, 10], false),
        (Before(8), 3, vec![5, 6, 7], true),
        (Before(4), 3, vec![1, 2, 3], false),
        (Before(1), 3, vec![], false),
        (Before(0), 3, vec![], false),
        (Before(u64::MAX), 2, vec![9, 10], true),
        (After(0), 3, vec![1, 2, 3], true),
        (After(3), 3, vec![5, 6, 7], true),
        (After(7), 3, vec![8, 9, 10], false),
        (After(10), 3, vec![], false),
        (After(u64::MAX), 3, vec![], false),
    ] {
        let query = StoreQuery::new(range, limit);
        assert_eq!(read(store, &inbox, &query).await, (expected, more), "{query:?}");
    }
}

async fn conversations(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let with = |peer: Option<&str>, seq| StoredEntry { peer: peer.map(user), ..entry(&inbox, seq) };
    let peers = [Some("bob"), Some("carol"), None, Some("bob"), Some("carol"), Some("bob")];
    let entries: Vec<_> = (1..).zip(peers).map(|(seq, peer)| with(peer, seq)).collect();
    store.write(&entries).await.expect("write");
    let query = |peer, range, limit| StoreQuery::new(range, limit).with_peer(Some(user(peer)));
    for (query, expected, more) in [
        (query("bob", HistoryRange::Newest, 2), vec![4, 6], true),
        (query("bob", HistoryRange::Newest, 3), vec![1, 4, 6], false),
        (query("bob", HistoryRange::Before(6), 1), vec![4], true),
        (query("bob", HistoryRange::After(1), 5), vec![4, 6], false),
        (query("carol", HistoryRange::After(0), 1), vec![2], true),
        (query("dave", HistoryRange::Newest, 5), vec![], false),
        (StoreQuery::new(HistoryRange::Newest, 4), vec![3, 4, 5, 6], true),
    ] {
        assert_eq!(read(store, &inbox, &query).await, (expected, more), "{query:?}");
    }
}

async fn entries_with_one_seq_stay_together(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    // The entries of a log from before and after a rollback.
    let seqs = [1, 2, 2, 3, 3, 3, 4];
    store.write(&seqs.map(|seq| entry(&inbox, seq))).await.expect("write");
    for (range, limit, expected, more) in [
        (HistoryRange::Newest, 3, vec![4], true),
        (HistoryRange::Newest, 4, vec![3, 3, 3, 4], true),
        (HistoryRange::Before(4), 2, vec![3, 3, 3], true),
        (HistoryRange::Before(3), 2, vec![2, 2], true),
        (HistoryRange::After(0), 2, vec![1], true),
        (HistoryRange::After(1), 1, vec![2, 2], true),
        (HistoryRange::After(1), 4, vec![2, 2], true),
        (HistoryRange::After(2), 4, vec![3, 3, 3, 4], false),
    ] {
        let query = StoreQuery::new(range, limit);
        assert_eq!(read(store, &inbox, &query).await, (expected, more), "{query:?}");
    }
    let (entries, _) = newest(store, &inbox, 10).await;
    assert!(entries.is_sorted_by_key(|entry| (entry.seq, entry.message_id)), "in the order of seq and id");
}

async fn times_and_kinds(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let start = 1_800_000_000_000;
    let stored = |seq: u64, kind: Kind| StoredEntry {
        message_id: MessageId::first_at(start + seq),
        kind: kind.to_string(),
        ..entry(&inbox, seq)
    };
    let paid = || Kind::custom("order.paid");
    let kinds = [Kind::Text, Kind::Image, paid(), Kind::Text, Kind::Other(12), paid(), Kind::Image];
    let entries: Vec<_> = (1..).zip(kinds).map(|(seq, kind)| stored(seq, kind)).collect();
    store.write(&entries).await.expect("write");
    use HistoryRange::{After, Before, Newest};
    let all = |range, limit| StoreQuery::new(range, limit);
    let of = |kinds: &[Kind]| Filter::new().kinds(kinds.to_vec());
    let kinds = |range, limit, kinds: &[Kind]| all(range, limit).with_filter(of(kinds));
    let within = |since: u64, until: u64| Filter::new().since_ms(start + since).until_ms(start + until);
    let times = |range, limit, since, until| all(range, limit).with_filter(within(since, until));
    for (query, expected, more) in [
        (kinds(Newest, 9, &[Kind::Image]), vec![2, 7], false),
        (kinds(Newest, 1, &[Kind::Image]), vec![7], true),
        (kinds(Before(7), 9, &[Kind::Image, paid()]), vec![2, 3, 6], false),
        (kinds(After(3), 1, &[Kind::Other(12), paid()]), vec![5], true),
        (kinds(Newest, 9, &[Kind::custom("image")]), vec![], false),
        (times(Newest, 9, 2, 4), vec![2, 3], false),
        (times(After(2), 9, 2, 4), vec![3], false),
        (times(Newest, 1, 2, 9), vec![7], true),
        (times(Newest, 9, 9, 2), vec![], false),
        (all(Newest, 9).with_filter(within(2, 7).kinds([Kind::Image])), vec![2], false),
        (all(Newest, 9).with_filter(Filter::new().since_ms(start + 6)), vec![6, 7], false),
        (all(Newest, 9).with_filter(Filter::new().until_ms(start + 2)), vec![1], false),
    ] {
        assert_eq!(read(store, &inbox, &query).await, (expected, more), "{query:?}");
    }
}

async fn large_batches(store: &dyn MessageStore) {
    const COUNT: u64 = 2_000;
    let inbox = inbox(&unique());
    let entries: Vec<_> = (1..=COUNT).map(|seq| entry(&inbox, seq)).collect();
    store.write(&entries).await.expect("write");
    store.write(&entries).await.expect("write again");
    let query = StoreQuery::new(HistoryRange::After(0), 10_000);
    assert_eq!(read(store, &inbox, &query).await, ((1..=COUNT).collect(), false));
}

async fn newest(store: &dyn MessageStore, log: &LogId, limit: usize) -> (Vec<StoredEntry>, bool) {
    let page = store.read(log, &StoreQuery::new(HistoryRange::Newest, limit)).await.expect("read");
    (page.entries, page.more)
}

async fn read(store: &dyn MessageStore, log: &LogId, query: &StoreQuery) -> (Vec<u64>, bool) {
    let page = store.read(log, query).await.expect("read");
    (page.entries.iter().map(|entry| entry.seq).collect(), page.more)
}

/// An entry with an id of its own.
fn entry(log: &LogId, seq: u64) -> StoredEntry {
    StoredEntry {
        log: log.clone(),
        seq,
        message_id: id(),
        peer: None,
        from: None,
        kind: "text".to_owned(),
        message: Bytes::from_static(b"hi"),
    }
}

fn id() -> MessageId {
    let node = NodeId::new(rand::random_range(0..NodeId::COUNT)).expect("a node number");
    let sequence = rand::random_range(0..MessageId::PER_MS);
    MessageId::from_parts(1_800_000_000_000 + u64::from(rand::random::<u32>()), node, sequence)
}

fn inbox(name: &str) -> LogId {
    LogId::Inbox(user(name))
}

fn user(name: &str) -> UserId {
    name.parse().expect("a user")
}

fn unique() -> String {
    format!("{:x}", rand::random::<u128>())
}
