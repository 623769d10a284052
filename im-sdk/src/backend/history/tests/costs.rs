//! The cost of pages: the bytes read for the messages returned.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    Kind,
    backend::{
        Im,
        test_support::metered_log::{Meter, MeteredLog},
    },
    content::Change,
    proto::limits::MAX_FRAME_BYTES,
};

const LARGE: usize = 60_000;

/// The bytes of a message beside its text.
const OVERHEAD: usize = 64;

/// Returns an id with a recent time, so that no entry is too old.
fn id(number: u64) -> u64 {
    (MessageId::first_at(2_000_000_000_000).as_u64()) + number * 5_000_000
}

/// Builds an inbox of large messages, alice's among carol's.
async fn large_inbox(count: u64) -> (Arc<MeteredLog>, Im) {
    let (log, cluster) = MeteredLog::unbounded();
    for seq in 1..=count {
        let from = if seq % 50 == 7 { "alice" } else { "carol" };
        assert_eq!(log.say("bob", from, id(seq), LARGE).await.seq, seq);
    }
    (log, Im::with_cluster(cluster).await.unwrap())
}

async fn page(im: &Im, with: &Conversation, query: impl Into<HistoryQuery>, limit: ReadLimit) -> RawPage {
    let bob = "bob".parse().unwrap();
    im.inner.history.read_conversation(&bob, with, &query.into(), limit, Shows::Entries).await.unwrap()
}

#[tokio::test]
async fn a_page_reads_what_it_brings() {
    let (log, im) = large_inbox(400).await;
    let one = page(&im, &Conversation::Inbox, Newest, ReadLimit::new(1)).await;
    assert_eq!((one.entries[0].seq, one.next), (400, Some(Before(400))));
    assert!(log.take().bytes <= LARGE + OVERHEAD, "one message was asked for, and one was read");

    for range in [Newest, Before(200), After(200)] {
        let limit = ReadLimit::new(200).with_bytes(MAX_FRAME_BYTES);
        let framed = page(&im, &Conversation::Inbox, range, limit).await;
        assert_eq!((framed.entries.len(), framed.next.is_some()), (1, true), "{range:?}");
        assert!(log.take().bytes <= MAX_FRAME_BYTES, "{range:?}");
    }

    let thousand = im.history("bob", &Conversation::Inbox, Newest, 1000).await.unwrap();
    assert_eq!((thousand.messages.len(), thousand.next), (MAX_HISTORY_BYTES / LARGE, Some(Before(384))));
    let read = log.take();
    assert!(read.bytes <= MAX_HISTORY_BYTES && read.largest <= ReadLimit::USUAL_BYTES, "{read:?}");
}

#[tokio::test]
async fn what_is_not_there_is_not_looked_for_without_end() {
    let (log, im) = large_inbox(400).await;
    let limit = ReadLimit::new(50).with_bytes(MAX_FRAME_BYTES);
    let few =
        |read: Meter| read.bytes <= MAX_HISTORY_SCAN_BYTES + LARGE && read.largest <= ReadLimit::USUAL_BYTES;
    let dave = Conversation::User("dave".parse().unwrap());
    for query in [
        (dave.clone(), HistoryQuery::newest()),
        (dave, HistoryQuery::from(After(0))),
        (Conversation::Inbox, HistoryQuery::newest().kinds([Kind::Image])),
        (Conversation::Inbox, HistoryQuery::newest().since_ms(1).until_ms(2)),
    ] {
        let nothing = page(&im, &query.0, query.1.clone(), limit).await;
        assert!(nothing.entries.is_empty() && nothing.next.is_some(), "{query:?}: it may be further back");
        let read = log.take();
        assert!(few(read), "{query:?}: {read:?}");
    }
    for missing in [id(3) + 1, id(200) + 1, id(400) - 1, id(900), 1] {
        let missing = MessageId::from_u64(missing).unwrap();
        let bob = "bob".parse().unwrap();
        let before = HistoryQuery::before_message(missing);
        let error = im
            .inner
            .history
            .read_conversation(&bob, &Conversation::Inbox, &before, limit, Shows::Entries)
            .await
            .unwrap_err();
        assert!(matches!(error, HistoryError::NoSuchMessage(_)), "{error}");
        let read = log.take();
        assert!(read.bytes <= 768 * 1024 && read.largest <= 64 * 1024, "{missing}: {read:?}");
    }
    let there = HistoryQuery::before_message(MessageId::from_u64(id(200)).unwrap());
    let found = page(&im, &Conversation::Inbox, there, ReadLimit::new(1)).await;
    assert_eq!(found.entries[0].seq, 199);
    assert!(log.take().bytes <= LARGE + OVERHEAD, "a message that is there is found by its id alone");
}

/// Texts from empty to the largest, any limits, both directions, with and without a filter: the pages together return
/// each entry once.
#[tokio::test]
async fn pages_lose_nothing_whatever_sizes_are() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (log, cluster) = MeteredLog::unbounded();
        let count = rng.random_range(1..400_u64);
        let largest = [10, 2_000, LARGE][rng.random_range(0..3)];
        let mut of_alice = Vec::new();
        for seq in 1..=count {
            let from = if rng.random_range(0..4) == 0 { "alice" } else { "carol" };
            log.say("bob", from, id(seq), rng.random_range(0..=largest)).await;
            of_alice.extend((from == "alice").then_some(seq));
        }
        let im = Im::with_cluster(cluster).await.unwrap();
        for _ in 0..4 {
            let limit = ReadLimit::new(rng.random_range(1..300)).with_bytes(rng.random_range(0..500_000));
            let all: Vec<u64> = (1..=count).collect();
            let alice = Conversation::User("alice".parse().unwrap());
            for (with, expected) in [(&Conversation::Inbox, &all), (&alice, &of_alice)] {
                for start in [Newest, After(0)] {
                    let (mut seqs, mut next) = (Vec::new(), Some(start));
                    while let Some(range) = next {
                        let page = page(&im, with, range, limit).await;
                        let bytes: usize = page.entries.iter().map(|entry| entry.message.len()).sum();
                        assert!(page.entries.len() <= limit.entries.max(1));
                        assert!(bytes <= limit.bytes || page.entries.len() == 1, "{bytes} of {limit:?}");
                        let at = if start == Newest { 0 } else { seqs.len() };
                        seqs.splice(at..at, page.entries.iter().map(|entry| entry.seq));
                        next = page.next;
                    }
                    assert_eq!(&seqs, expected, "seed {seed}, {start:?}, {limit:?}");
                }
            }
        }
    }
}

/// Pages also lose nothing across the seq at which the log ends and the message store continues.
#[tokio::test]
async fn pages_by_bytes_go_on_in_the_store() {
    let past = Past::new(true).await;
    for number in 0..40 {
        past.send(if number % 3 == 0 { "alice" } else { "carol" }).await;
    }
    let alice = Conversation::User("alice".parse().unwrap());
    let of_alice: Vec<u64> = (0..40).filter(|number| number % 3 == 0).map(|number| number + 1).collect();
    for (with, expected) in [(Conversation::Inbox, (1..=40).collect()), (alice, of_alice)] {
        for bytes in [0, 50, 100, 1_000_000] {
            for start in [Newest, After(0)] {
                let (mut seqs, mut next) = (Vec::new(), Some(start));
                while let Some(range) = next {
                    let limit = ReadLimit::new(30).with_bytes(bytes);
                    let page = page(&past.im, &with, range, limit).await;
                    let at = if start == Newest { 0 } else { seqs.len() };
                    seqs.splice(at..at, page.entries.iter().map(|entry| entry.seq));
                    next = page.next;
                }
                assert_eq!(seqs, expected, "{with:?} {start:?} {bytes}");
            }
        }
    }
}

#[tokio::test]
async fn an_export_holds_one_page() {
    let (log, im) = large_inbox(100).await;
    log.say_as("bob", "carol", id(101), Change::pin(MessageId::from_u64(id(100)).unwrap()).into()).await;
    let mut lines = std::pin::pin!(im.export(&"bob".parse().unwrap(), &Conversation::Inbox));
    let mut count = 0;
    while let Some(line) = futures_util::StreamExt::next(&mut lines).await {
        count += usize::from(line.is_ok());
    }
    let read = log.take();
    assert_eq!(count, 100, "the pin is no message");
    assert!(read.largest <= ReadLimit::USUAL_BYTES && read.bytes <= 102 * (LARGE + OVERHEAD), "{read:?}");
}
