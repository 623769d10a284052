//! Search: which entries are found, and in which order.

use prost::Message as _;

use super::{entry, inbox, unique, user};
use crate::{
    Filter, Kind,
    backend::message_store::{MessageStore, SearchPage, SearchQuery, StoredEntry, Words},
    cluster::LogId,
    content::Content,
    id::MessageId,
    proto::pb,
};

pub(super) async fn check(store: &dyn MessageStore) {
    words_and_parts_of_words(store).await;
    words_however_they_are_typed(store).await;
    nothing_in_a_query_has_a_meaning_of_its_own(store).await;
    only_what_is_asked_for(store).await;
    pages_have_no_gaps_and_no_repeats(store).await;
    one_message_in_several_logs(store).await;
    what_was_redacted_is_gone(store).await;
}

/// The earliest time in these checks.
const START: u64 = 1_800_000_000_000;

/// Builds an entry with a text.
fn said(log: &LogId, seq: u64, text: &str) -> StoredEntry {
    let message_id = MessageId::first_at(START + seq);
    StoredEntry { message: message(message_id, Content::text(text)), message_id, ..entry(log, seq) }
}

fn message(id: MessageId, content: Content) -> bytes::Bytes {
    let message = pb::Message {
        id: id.as_u64(),
        from: "alice".into(),
        to: "bob".into(),
        content: Some(content.into()),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

fn query(logs: &[&LogId], text: &str) -> SearchQuery {
    let logs = logs.iter().map(|log| (*log).clone()).collect();
    SearchQuery::new(logs, Words::parse(text).expect("words"), 100)
}

async fn search(store: &dyn MessageStore, query: &SearchQuery) -> SearchPage {
    store.search(query).await.expect("search")
}

/// Returns the seqs of all found entries, page by page.
async fn found(store: &dyn MessageStore, query: &SearchQuery) -> Vec<u64> {
    let mut query = query.clone();
    let mut seqs = Vec::new();
    loop {
        let page = search(store, &query).await;
        assert!(page.entries.len() <= query.limit.max(1), "no more than asked for");
        seqs.extend(page.entries.iter().map(|entry| entry.seq));
        if page.next.is_none() {
            return seqs;
        }
        assert_ne!(page.next, query.before, "it goes on");
        query.before = page.next;
    }
}

async fn words_and_parts_of_words(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let texts = [
        "Lunch tomorrow at noon?",
        "今天天气很好，我们去公园吧",
        "明日の会議は東京です",
        "내일 점심 먹을까요",
        "Café au lait, crème brûlée",
        "tomorrow never dies",
        "ok 👍🏽",
        "x",
        "",
    ];
    let entries: Vec<_> = (1..).zip(texts).map(|(seq, text)| said(&inbox, seq, text)).collect();
    store.write(&entries).await.expect("write");
    for (text, expected) in [
        ("lunch", vec![1]),
        ("LUNCH", vec![1]),
        ("tomorrow", vec![6, 1]),
        ("tomorrow lunch", vec![1]),
        ("lunch dies", vec![]),
        ("morro", vec![6, 1]),
        ("lunchtomorrow", vec![]),
        ("天气", vec![2]),
        ("气", vec![2]),
        ("公园 今天", vec![2]),
        ("天公", vec![]),
        ("会議", vec![3]),
        ("の", vec![3]),
        ("점심", vec![4]),
        ("cafe", vec![5]),
        ("CRÈME BRULEE", vec![5]),
        ("👍", vec![7]),
        ("x", vec![8]),
        ("k", vec![7]),
        ("noon?", vec![1]),
        ("?", vec![1]),
        ("mars", vec![]),
    ] {
        assert_eq!(found(store, &query(&[&inbox], text)).await, expected, "{text:?}");
    }
}

async fn words_however_they_are_typed(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let texts = [
        "السَّلَامُ عَلَيْكُمْ",
        "أهلا وسهلا",
        "مـــرحـــبا",
        "שָׁלוֹם עוֹלָם",
        "I don\u{2019}t know",
        "you don't know",
        "2020\u{2013}2026",
        "made with \u{2764}\u{fe0f}",
    ];
    let entries: Vec<_> = (1..).zip(texts).map(|(seq, text)| said(&inbox, seq, text)).collect();
    store.write(&entries).await.expect("write");
    for (text, expected) in [
        ("السلام", vec![1]),
        ("السَّلَامُ", vec![1]),
        ("اهلا", vec![2]),
        ("أَهْلًا", vec![2]),
        ("مرحبا", vec![3]),
        ("שלום", vec![4]),
        ("שָׁלוֹם", vec![4]),
        ("don't", vec![6, 5]),
        ("don\u{2019}t", vec![6, 5]),
        ("2020-2026", vec![7]),
        ("2020\u{2014}2026", vec![7]),
        ("\u{2764}", vec![8]),
        ("\u{2764}\u{fe0f}", vec![8]),
    ] {
        assert_eq!(found(store, &query(&[&inbox], text)).await, expected, "{text:?}");
    }
}

async fn nothing_in_a_query_has_a_meaning_of_its_own(store: &dyn MessageStore) {
    let inbox = inbox(&unique());
    let texts =
        ["100% sure", "1000 sure", "snake_case", "snakeXcase", r"back\slash", "it's \"quoted\"", "a*b -c"];
    let entries: Vec<_> = (1..).zip(texts).map(|(seq, text)| said(&inbox, seq, text)).collect();
    store.write(&entries).await.expect("write");
    for (text, expected) in [
        ("100%", vec![1]),
        ("%", vec![1]),
        ("_", vec![3]),
        ("e_c", vec![3]),
        (r"\", vec![5]),
        (r"k\s", vec![5]),
        ("it's", vec![6]),
        ("\"", vec![6]),
        ("a*b", vec![7]),
        ("*", vec![7]),
        ("sur*", vec![]),
        ("-c", vec![7]),
        ("snake OR sure", vec![]),
        ("snake NOT sure", vec![]),
        ("terms:snake", vec![]),
        ("sure & 100", vec![]),
        ("sure:*", vec![]),
        ("' OR '1'='1", vec![]),
        ("'; DROP TABLE im_messages; --", vec![]),
        ("\") OR (\"su", vec![]),
        ("$1", vec![]),
        ("NEAR(a b)", vec![]),
        ("\u{0}sure", vec![]),
    ] {
        assert_eq!(found(store, &query(&[&inbox], text)).await, expected, "{text:?}");
    }
}

async fn only_what_is_asked_for(store: &dyn MessageStore) {
    let (own, other) = (inbox(&unique()), inbox(&unique()));
    let channel = LogId::Channel(unique().parse().expect("a channel"));
    let from = |entry: StoredEntry, from: &str| StoredEntry { from: Some(user(from)), ..entry };
    let with = |entry: StoredEntry, peer: &str| StoredEntry { peer: Some(user(peer)), ..entry };
    let custom = |entry: StoredEntry| StoredEntry { kind: Kind::custom("note").to_string(), ..entry };
    let data = |entry: StoredEntry| StoredEntry {
        message: message(entry.message_id, Content::custom("x", "secret word")),
        ..entry
    };
    let entries = [
        with(from(said(&own, 1, "a word"), "bob"), "bob"),
        with(from(said(&own, 2, "a word"), "alice"), "bob"),
        with(from(said(&own, 3, "a word"), "carol"), "carol"),
        custom(said(&own, 4, "a word")),
        data(said(&own, 5, "a word")),
        said(&channel, 6, "a word"),
        said(&other, 7, "a word"),
    ];
    store.write(&entries).await.expect("write");
    let all = || query(&[&own, &channel], "word");
    for (query, expected) in [
        (all(), vec![6, 4, 3, 2, 1]),
        (query(&[&own], "word"), vec![4, 3, 2, 1]),
        (query(&[&channel, &channel], "word"), vec![6]),
        (query(&[], "word"), vec![]),
        (query(&[&inbox(&unique())], "word"), vec![]),
        (SearchQuery { peer: Some(user("bob")), ..all() }, vec![2, 1]),
        (SearchQuery { from: Some(user("bob")), ..all() }, vec![1]),
        (SearchQuery { filter: Filter::new().kinds([Kind::custom("note")]), ..all() }, vec![4]),
        (
            SearchQuery {
                filter: Filter::new().kinds([Kind::custom("note"), Kind::Text]),
                limit: 2,
                ..all()
            },
            vec![6, 4, 3, 2, 1],
        ),
        (SearchQuery { filter: Filter::new().since_ms(START + 2).until_ms(START + 4), ..all() }, vec![3, 2]),
        (SearchQuery { before: Some(entries[2].key()), ..all() }, vec![2, 1]),
    ] {
        assert_eq!(found(store, &query).await, expected, "{query:?}");
    }
    let page = search(store, &SearchQuery { limit: 1, ..all() }).await;
    assert_eq!(page.entries, [entries[5].clone()], "as it was written");
}

async fn pages_have_no_gaps_and_no_repeats(store: &dyn MessageStore) {
    const COUNT: u64 = 800;
    let (inbox, channel) = (inbox(&unique()), LogId::Channel(unique().parse().expect("a channel")));
    let log = |seq: u64| if seq.is_multiple_of(3) { &channel } else { &inbox };
    let text = |seq: u64| if seq.is_multiple_of(16) { "needle in %" } else { "hay in %" };
    let entries: Vec<_> = (1..=COUNT).map(|seq| said(log(seq), seq, text(seq))).collect();
    store.write(&entries).await.expect("write");
    let needles: Vec<u64> = (1..=COUNT).rev().filter(|seq| seq.is_multiple_of(16)).collect();
    let all: Vec<u64> = (1..=COUNT).rev().collect();
    for limit in [0, 1, 9, 1000] {
        let both = |text: &str| SearchQuery { limit, ..query(&[&inbox, &channel], text) };
        assert_eq!(found(store, &both("needle")).await, needles, "{limit} at a time");
    }
    let without_letters = SearchQuery { limit: 90, ..query(&[&inbox, &channel], "%") };
    assert_eq!(found(store, &without_letters).await, all, "also what no index helps with");
    let page = search(store, &SearchQuery { limit: 50, ..query(&[&inbox, &channel], "needle") }).await;
    assert_eq!(
        (page.entries.len(), page.next),
        (50, None),
        "a page that is just full is known to be the last"
    );
}

async fn one_message_in_several_logs(store: &dyn MessageStore) {
    let (alice, bob) = (inbox(&unique()), inbox(&unique()));
    let entries: Vec<_> =
        (1..=5).flat_map(|seq| [said(&alice, seq, "word"), said(&bob, seq, "word")]).collect();
    store.write(&entries).await.expect("write");
    for limit in [1, 2, 3] {
        let both = SearchQuery { limit, ..query(&[&alice, &bob], "word") };
        assert_eq!(found(store, &both).await, [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]);
    }
}

async fn what_was_redacted_is_gone(store: &dyn MessageStore) {
    let (alice, bob) = (inbox(&unique()), inbox(&unique()));
    let entries = [said(&alice, 1, "secret"), said(&bob, 1, "secret"), said(&bob, 2, "secret")];
    // An id that no other entry in the store has.
    let message_id = super::id();
    let redacted = entries[..2].iter().map(|entry| StoredEntry {
        message_id,
        message: message(message_id, Content::text("secret")),
        ..entry.clone()
    });
    let entries: Vec<_> = redacted.chain([entries[2].clone()]).collect();
    store.write(&entries).await.expect("write");
    assert_eq!(found(store, &query(&[&alice, &bob], "secret")).await.len(), 3);
    store.redact(&[message_id, super::id()]).await.expect("redact");
    store.redact(&[message_id]).await.expect("again");
    store.write(&entries).await.expect("an archiver writes it again");
    assert_eq!(found(store, &query(&[&alice, &bob], "secret")).await, [2]);
    let (kept, _) = super::newest(store, &bob, 10).await;
    let [first, second] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(second, &entries[2], "others stay as they are");
    let message = pb::Message::decode(first.message.clone()).expect("a message");
    assert_eq!((first.seq, message.from.as_str(), message.content), (1, "alice", None));
}
