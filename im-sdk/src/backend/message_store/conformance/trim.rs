//! Deletion of entries that are too old.

use super::{entry, inbox, newest, unique};
use crate::{
    backend::message_store::{MessageStore, SearchQuery, StoredEntry, Words},
    cluster::LogId,
    content::Content,
    id::MessageId,
    proto::pb,
};
use prost::Message as _;

pub(super) async fn check(store: &dyn MessageStore) {
    let name = unique();
    let (one, two) = (inbox(&name), LogId::Channel(name.parse().expect("a channel")));
    let id = |time: u64| MessageId::first_at(1_800_000_000_000 + time);
    let said = |log: &LogId, time: u64| {
        let content = Some(Content::text(format!("word {name}")).into());
        let message = pb::Message { id: id(time).as_u64(), content, ..Default::default() };
        StoredEntry { message_id: id(time), message: message.encode_to_vec().into(), ..entry(log, time) }
    };
    let entries: Vec<_> = (1..=10).flat_map(|time| [said(&one, time), said(&two, time)]).collect();
    store.write(&entries).await.expect("write");

    let listed = logs(store).await;
    for log in [&one, &two] {
        let oldest: Vec<_> = listed.iter().filter(|(listed, _)| listed == log).map(|(_, id)| *id).collect();
        assert_eq!(oldest, [id(1)], "each log once, with its oldest id");
    }

    let searched = async || {
        let logs = vec![one.clone(), two.clone()];
        let query = SearchQuery::new(logs, Words::parse(&name).expect("words"), 100);
        store.search(&query).await.expect("search").entries.len()
    };
    assert_eq!(searched().await, 20);
    let trim = async |before: u64, limit: usize| store.trim(&one, id(before), limit).await.expect("trim");
    assert_eq!(trim(1, 10).await, 0, "nothing is that old");
    assert_eq!(trim(6, 3).await, 3, "so many at once");
    let seqs = async |log: &LogId| -> Vec<u64> {
        newest(store, log, 100).await.0.iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(seqs(&one).await, [4, 5, 6, 7, 8, 9, 10], "the oldest first");
    // Two at once, as from several backends.
    let (first, second) = tokio::join!(trim(6, 100), trim(6, 100));
    assert!((2..=4).contains(&(first + second)), "{first} and {second}");
    assert_eq!(trim(6, 100).await, 0);
    assert_eq!(seqs(&one).await, [6, 7, 8, 9, 10]);
    assert_eq!(seqs(&two).await.len(), 10, "other logs keep theirs");
    assert_eq!(searched().await, 15, "and what is gone is not found");
    assert_eq!(trim(100, 100).await, 5);
    let listed = logs(store).await;
    assert!(!listed.iter().any(|(log, _)| *log == one) && listed.iter().any(|(log, _)| *log == two));
}

/// Returns all logs, page by page.
async fn logs(store: &dyn MessageStore) -> Vec<(LogId, MessageId)> {
    let mut all: Vec<(LogId, MessageId)> = Vec::new();
    loop {
        let page = store.logs(all.last().map(|(log, _)| log), 7).await.expect("logs");
        assert!(page.len() <= 7);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}
