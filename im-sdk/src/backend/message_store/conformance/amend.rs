//! The effect of recalls and edits on entries, including those that are written later.

use prost::Message as _;

use super::{entry, id, inbox, newest, unique};
use crate::{
    backend::message_store::{Amendment, MessageStore, SearchQuery, StoredEntry, Words},
    cluster::LogId,
    content::{Change, ChangeKind, Content},
    id::MessageId,
    proto::pb,
};

pub(super) async fn check(store: &dyn MessageStore) {
    a_recalled_message_says_nothing(store).await;
    an_edited_message_says_what_it_says_now(store).await;
    whatever_comes_first_the_same_is_left(store).await;
    quotes_follow(store).await;
}

/// A message with a unique word.
struct Said {
    log: LogId,
    elsewhere: LogId,
    id: MessageId,
    word: String,
}

fn encoded(id: MessageId, content: impl Into<Content>) -> bytes::Bytes {
    let content = Some(content.into().into());
    pb::Message { id: id.as_u64(), from: "alice".into(), to: "bob".into(), content, ..Default::default() }
        .encode_to_vec()
        .into()
}

fn stored(log: &LogId, seq: u64, id: MessageId, content: impl Into<Content>) -> StoredEntry {
    StoredEntry { message_id: id, message: encoded(id, content), ..entry(log, seq) }
}

impl Said {
    fn new() -> Self {
        Self { log: inbox(&unique()), elsewhere: inbox(&unique()), id: id(), word: unique() }
    }

    fn entries(&self) -> [StoredEntry; 2] {
        [&self.log, &self.elsewhere].map(|log| stored(log, 1, self.id, Content::text(&*self.word)))
    }

    /// The change's id, what it does, and its entry.
    fn change(&self, after: u64, change: Change) -> (Amendment, StoredEntry) {
        let id = MessageId::from_u64(self.id.as_u64() + after).expect("an id");
        let entry = stored(&self.log, 1 + after, id, change);
        (Amendment::of(&entry.message).expect("an amendment"), entry)
    }

    async fn found(&self, store: &dyn MessageStore, word: &str) -> usize {
        let logs = vec![self.log.clone(), self.elsewhere.clone()];
        let query = SearchQuery::new(logs, Words::parse(word).expect("a word"), 10);
        store.search(&query).await.expect("search").entries.len()
    }

    async fn content(&self, store: &dyn MessageStore) -> Content {
        let first = newest(store, &self.log, 10).await.0.remove(0);
        let other = newest(store, &self.elsewhere, 10).await.0.remove(0);
        assert_eq!(first.message, other.message, "the same in each log");
        pb::Message::decode(first.message).expect("a message").content.into()
    }
}

async fn a_recalled_message_says_nothing(store: &dyn MessageStore) {
    let said = Said::new();
    store.write(&said.entries()).await.expect("write");
    assert_eq!(said.found(store, &said.word).await, 2);
    let (recall, _) = said.change(9, Change::recall(said.id));
    store.amend(std::slice::from_ref(&recall)).await.expect("amend");
    store.amend(&[recall]).await.expect("again");
    assert_eq!(said.found(store, &said.word).await, 0);
    let content = said.content(store).await;
    assert!(content.amended.as_ref().is_some_and(|amended| amended.recalled));
    assert!(content.is_empty(), "{content:?}");
    // An archive delivers it again.
    store.write(&said.entries()).await.expect("write again");
    assert_eq!((said.found(store, &said.word).await, said.content(store).await), (0, content));
}

async fn an_edited_message_says_what_it_says_now(store: &dyn MessageStore) {
    let (said, better) = (Said::new(), unique());
    store.write(&said.entries()).await.expect("write");
    let (edit, _) = said.change(9, Change::edit(said.id, Content::text(&*better)));
    store.amend(&[edit]).await.expect("amend");
    assert_eq!((said.found(store, &said.word).await, said.found(store, &better).await), (0, 2));
    assert_eq!(said.content(store).await.as_text(), Some(&*better));
}

/// Two edits and a recall, and the entries of all, in any order.
async fn whatever_comes_first_the_same_is_left(store: &dyn MessageStore) {
    for with_recall in [false, true] {
        for round in 0..6 {
            let (said, first, second) = (Said::new(), unique(), unique());
            let first_edit = said.change(3, Change::edit(said.id, Content::text(&*first)));
            let second_edit = said.change(5, Change::edit(said.id, Content::text(&*second)));
            let recall = said.change(7, Change::recall(said.id));
            let mut steps: Vec<(Option<Amendment>, Vec<StoredEntry>)> = vec![
                (None, said.entries().into()),
                (Some(first_edit.0), Vec::new()),
                (Some(second_edit.0), vec![second_edit.1]),
                (None, vec![first_edit.1]),
            ];
            if with_recall {
                steps.push((Some(recall.0), vec![recall.1]));
            }
            let count = steps.len();
            steps.rotate_left(round % count);
            if round % 2 == 1 {
                steps.reverse();
            }
            for (amendment, entries) in steps {
                store.write(&entries).await.expect("write");
                store.amend(amendment.as_slice()).await.expect("amend");
            }
            let content = said.content(store).await;
            let left = (said.found(store, &said.word).await, said.found(store, &first).await);
            assert_eq!(left, (0, 0), "round {round}");
            let (entries, _) = newest(store, &said.log, 10).await;
            let has = |word: &str| {
                entries
                    .iter()
                    .filter(|entry| entry.message.windows(word.len()).any(|part| part == word.as_bytes()))
                    .count()
            };
            assert_eq!((has(&said.word), has(&first)), (0, 0), "round {round}");
            if with_recall {
                assert!(content.is_empty() && has(&second) == 0, "round {round}");
            } else {
                assert_eq!(content.as_text(), Some(&*second), "round {round}");
            }
            let change = pb::Message::decode(entries[1].message.clone()).expect("a message").content;
            let change = Content::from(change);
            let change = change.as_change().expect("the first edit is a change all the same");
            assert_eq!((change.message_id, &change.kind), (said.id, &ChangeKind::Unknown));
        }
    }
}

async fn quotes_follow(store: &dyn MessageStore) {
    for amended_first in [false, true] {
        let said = Said::new();
        let (recall, _) = said.change(9, Change::recall(said.id));
        let quoting = id();
        let quote = crate::content::Quote::new(said.id, None, &Content::text(&*said.word));
        let entries = [stored(&said.log, 20, quoting, Content::text("no!").quote(quote))];
        let requote = recall.quoted_in(quoting, "alice");
        if amended_first {
            store.amend(&[requote]).await.expect("amend");
            store.write(&entries).await.expect("write");
        } else {
            store.write(&entries).await.expect("write");
            store.amend(&[requote]).await.expect("amend");
        }
        let kept = newest(store, &said.log, 10).await.0.remove(0);
        let content = Content::from(pb::Message::decode(kept.message).expect("a message").content);
        assert_eq!(content.as_text(), Some("no!"));
        let quote = content.quote.expect("a quote");
        assert!(quote.recalled && quote.excerpt.is_empty(), "{quote:?}");
    }
}
