//! Rules for retries.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{append, channel, ends, fresh, id, refused};
use crate::cluster::{Appended, DedupKey, LogError, LogId, LogStore, NewEntry, conformance::eventually};

/// Longer than any check.
const LONG: Duration = Duration::from_secs(600);

/// A lifetime whose end a check waits for.
const SHORT: Duration = Duration::from_millis(300);

pub(super) async fn check<L: LogStore>(log: &Arc<L>) {
    repeating_gets_the_first_result(&**log).await;
    something_else_is_a_conflict(&**log).await;
    lower_numbers_are_stale(&**log).await;
    names_are_apart(&**log).await;
    keys_are_forgotten(&**log).await;
    only_one_of_many_retries_appends(log).await;
    producers_retry_at_once(log).await;
    each_entry_of_many_is_judged_alone(&**log).await;
    what_is_kept_nowhere_is_remembered_too(&**log).await;
}

async fn repeating_gets_the_first_result(log: &dyn LogStore) {
    for once in [number("phone", 7, 1), key("order", LONG, 1), number("", 0, 1), number("max", u64::MAX, 1)] {
        let inbox = fresh();
        append(log, &inbox).await;
        let first = append_once(log, &inbox, once.clone()).await.expect("append");
        assert_eq!((first.seq, first.repeated), (2, false));
        append(log, &inbox).await;
        for _ in 0..3 {
            let again = append_once(log, &inbox, once.clone()).await.expect("append again");
            assert_eq!(again, Appended { repeated: true, ..first }, "{once:?}");
        }
        assert_eq!(ends(log, &inbox).await, (1, 3), "nothing was appended again");
    }
}

async fn something_else_is_a_conflict(log: &dyn LogStore) {
    for (first, other) in
        [(number("phone", 7, 1), number("phone", 7, 2)), (key("order", LONG, 1), key("order", LONG, 2))]
    {
        let inbox = fresh();
        append_once(log, &inbox, first.clone()).await.expect("append");
        let error = refused(append_once(log, &inbox, other).await);
        assert!(matches!(error, LogError::Conflict), "{error}");
        assert!(append_once(log, &inbox, first).await.expect("append again").repeated, "the first one stays");
        assert_eq!(ends(log, &inbox).await, (1, 1));
    }
}

async fn lower_numbers_are_stale(log: &dyn LogStore) {
    // A number beyond 2^53 exceeds a floating point number; 9 and 10 differ in length.
    for (lower, higher) in [(9, 10), (u64::MAX - 1, u64::MAX), (1 << 53, (1 << 53) + 1), (0, 1)] {
        let inbox = fresh();
        append_once(log, &inbox, number("phone", lower, 1)).await.expect("append");
        let last = append_once(log, &inbox, number("phone", higher, 1)).await.expect("append");
        assert_eq!((last.seq, last.repeated), (2, false), "{higher} after {lower}");
        for digest in [1, 2] {
            let error = refused(append_once(log, &inbox, number("phone", lower, digest)).await);
            assert!(matches!(error, LogError::Stale { last } if last == higher), "{error}");
        }
        let again = append_once(log, &inbox, number("phone", higher, 1)).await.expect("append again");
        assert_eq!(again, Appended { repeated: true, ..last });
        assert_eq!(ends(log, &inbox).await, (1, 2));
    }
}

async fn names_are_apart(log: &dyn LogStore) {
    let names = ["phone", "tablet", "a b", "{x}", "}", "é\n", "phone:1"];
    let all = names.iter().flat_map(|name| [number(name, 1, 1), key(name, LONG, 2)]);
    let inbox = fresh();
    for (once, seq) in all.clone().zip(1..) {
        assert_eq!(append_once(log, &inbox, once).await.expect("append").seq, seq);
    }
    let other = fresh();
    for (once, seq) in all.zip(1..) {
        let appended = append_once(log, &other, once).await.expect("append");
        assert_eq!((appended.seq, appended.repeated), (seq, false), "each log remembers its own");
    }
}

async fn keys_are_forgotten(log: &dyn LogStore) {
    let (inbox, once, lasting) = (fresh(), key("order", SHORT, 1), key("lasting", LONG, 1));
    append_once(log, &inbox, lasting.clone()).await.expect("append");
    append_once(log, &inbox, once.clone()).await.expect("append");
    // Repeats all the time: a repetition does not prolong the record.
    let again = eventually("the key is forgotten", async || {
        let again = append_once(log, &inbox, once.clone()).await.expect("append again");
        (!again.repeated).then_some(again)
    })
    .await;
    assert_eq!(again.seq, 3);
    assert!(append_once(log, &inbox, lasting).await.expect("append again").repeated, "the other one is not");
}

async fn only_one_of_many_retries_appends<L: LogStore>(log: &Arc<L>) {
    for round in 0..10 {
        let inbox = fresh();
        let once = if round % 2 == 0 { number("phone", 1, 1) } else { key("order", LONG, 1) };
        let mut retries = JoinSet::new();
        for _ in 0..20 {
            let (log, inbox, once) = (log.clone(), inbox.clone(), once.clone());
            retries.spawn(async move { append_once(&*log, &inbox, once).await.expect("append") });
        }
        let results = retries.join_all().await;
        assert_eq!(results.iter().filter(|appended| !appended.repeated).count(), 1, "one appends");
        let first = results[0];
        assert!(results.iter().all(|other| (other.seq, other.message_id) == (1, first.message_id)));
        assert_eq!(ends(&**log, &inbox).await, (1, 1));
    }
}

/// Several devices, each of which sends its numbers in order and every one of them three times at
/// once.
async fn producers_retry_at_once<L: LogStore>(log: &Arc<L>) {
    const DEVICES: u64 = 8;
    const NUMBERS: u64 = 10;
    let inbox = fresh();
    let mut devices = JoinSet::new();
    for device in 0..DEVICES {
        let (log, inbox) = (log.clone(), inbox.clone());
        devices.spawn(async move {
            for next in 1..=NUMBERS {
                let once = number(&format!("device-{device}"), next, 1);
                let attempt = || append_once(&*log, &inbox, once.clone());
                let results: [_; 3] = tokio::join!(attempt(), attempt(), attempt()).into();
                let new =
                    results.map(|result| result.expect("append")).iter().filter(|one| !one.repeated).count();
                assert_eq!(new, 1, "number {next} of device {device}");
            }
        });
    }
    devices.join_all().await;
    assert_eq!(ends(&**log, &inbox).await, (1, DEVICES * NUMBERS));
}

async fn each_entry_of_many_is_judged_alone(log: &dyn LogStore) {
    let inboxes = [fresh(), fresh(), fresh(), fresh()];
    append_once(log, &inboxes[1], number("phone", 7, 1)).await.expect("append");
    append_once(log, &inboxes[2], number("phone", 7, 2)).await.expect("append");
    append_once(log, &inboxes[3], number("phone", 8, 1)).await.expect("append");
    let entries = inboxes.iter().map(|inbox| (inbox.clone(), entry().with_dedup_key(number("phone", 7, 1))));
    let mut results = log.append_many(entries.collect()).await.into_iter();
    let mut next = || results.next().expect("a result for each entry");
    assert!(matches!(next(), Ok(Appended { seq: 1, repeated: false, .. })));
    assert!(matches!(next(), Ok(Appended { seq: 1, repeated: true, .. })));
    assert!(matches!(next(), Err(LogError::Conflict)));
    assert!(matches!(next(), Err(LogError::Stale { last: 8 })));
}

/// Messages that are not logged are deduplicated, too. A store that remembers none of them passes as
/// well.
async fn what_is_kept_nowhere_is_remembered_too(log: &dyn LogStore) {
    let room = channel();
    for (first, again, other) in [
        (number("phone", 7, 1), number("phone", 7, 1), number("phone", 7, 2)),
        (key("order", LONG, 1), key("order", LONG, 1), key("order", LONG, 2)),
    ] {
        // Logged entries have numbers of their own.
        append_once(log, &room, first.clone()).await.expect("append");
        let [one, two] = [id(), id()];
        assert_eq!(log.deduplicate(&room, one, &first).await.expect("remember"), one);
        let found = log.deduplicate(&room, two, &again).await.expect("remember again");
        if found == two {
            return;
        }
        assert_eq!(found, one);
        assert!(matches!(log.deduplicate(&room, two, &other).await, Err(LogError::Conflict)));
        assert_eq!(
            log.deduplicate(&channel(), two, &again).await.expect("remember"),
            two,
            "each log its own"
        );
    }
    let [three, four] = [id(), id()];
    assert_eq!(log.deduplicate(&room, three, &number("phone", 8, 1)).await.expect("remember"), three);
    let stale = log.deduplicate(&room, four, &number("phone", 7, 1)).await;
    assert!(matches!(stale, Err(LogError::Stale { last: 8 })), "{stale:?}");
    assert_eq!(ends(log, &room).await, (1, 2), "and nothing was appended");
    // Short records expire.
    let short = key("short", SHORT, 1);
    log.deduplicate(&room, three, &short).await.expect("remember");
    eventually("the key is forgotten", async || {
        (log.deduplicate(&room, four, &short).await.expect("remember again") == four).then_some(())
    })
    .await;
}

async fn append_once(log: &dyn LogStore, to: &LogId, once: DedupKey) -> Result<Appended, LogError> {
    log.append(to, entry().with_dedup_key(once)).await
}

fn entry() -> NewEntry {
    NewEntry::new(id(), Bytes::from_static(b"hi"))
}

fn number(name: &str, number: u64, digest: u8) -> DedupKey {
    // A digest may contain any bytes.
    DedupKey::Producer {
        name: name.into(),
        number,
        digest: [digest, 0, b' ', b'\n', 255, b'0', 7, 8, 9, 0, 0, 0, 0, 0, 0, 0],
    }
}

fn key(key: &str, ttl: Duration, digest: u8) -> DedupKey {
    DedupKey::Key { key: key.into(), ttl, digest: [digest; 16] }
}
