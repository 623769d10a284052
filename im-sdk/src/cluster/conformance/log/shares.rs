//! Rules for the effect of one writer on the entries of others.

use std::time::Duration;

use bytes::Bytes;

use super::{channel, ends, fresh, id, id_at, now_ms, refused, unique};
use crate::{
    cluster::{Appended, DedupKey, DeviceAck, LogBounds, LogError, LogId, LogStore, NewEntry},
    id::UserId,
};

/// The number of entries in the logs of these checks. A writer's share of an inbox is an eighth of
/// it.
const MAX_ENTRIES: u64 = 200;

/// The number of entries that a log may keep, or a writer append, beyond the bounds: stores work in
/// blocks.
const SLACK: u64 = 128;

const MAX_BYTES: u64 = 256 * 1024;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

pub(super) async fn check<L: LogStore>(open: &impl AsyncFn(LogBounds) -> L) {
    let log = open(LogBounds { max_entries: MAX_ENTRIES, ..LogBounds::default() }).await;
    a_flood_pushes_out_nothing_unread(&log).await;
    colluders_push_out_nothing_unread(&log).await;
    who_is_alone_pushes_out_its_own(&log).await;
    an_inbox_that_nobody_reads_stays_reachable(&log).await;
    what_was_left_unread_for_long_goes(&log).await;
    a_channel_has_shares_too(&log).await;
    owners_and_back_ends_are_never_refused(&log).await;
    a_refused_number_can_be_tried_again(&log).await;
    room_is_found_before_anything_is_appended(&log).await;
    let small = open(LogBounds { max_bytes: MAX_BYTES, ..LogBounds::default() }).await;
    logs_are_bounded_in_bytes(&small).await;
}

async fn a_flood_pushes_out_nothing_unread(log: &dyn LogStore) {
    let (bob, inbox) = reader(log).await;
    let unread = append(log, &inbox, "carol").await.expect("append");
    let error = flood(log, &inbox, "mallory").await.expect_err("a flood is refused");
    let LogError::Full { retry_after } = error else { panic!("{error}") };
    assert!((Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&retry_after), "{retry_after:?}");
    assert_eq!(log.id_at(&inbox, unread.seq).await.expect("look up"), Some(unread.message_id), "it is there");
    assert!(kept(log, &inbox).await <= MAX_ENTRIES + SLACK);
    for other in ["carol", "dave"] {
        append(log, &inbox, other).await.expect("others still reach the reader");
    }
    let (_, last) = ends(log, &inbox).await;
    acknowledge(log, &bob, last).await;
    append(log, &inbox, "mallory").await.expect("what was read makes room");
    assert!(flood(log, &inbox, "mallory").await.is_ok(), "and nothing else is in the way");
    assert!(kept(log, &inbox).await <= MAX_ENTRIES + SLACK);
}

async fn colluders_push_out_nothing_unread(log: &dyn LogStore) {
    let (_, inbox) = reader(log).await;
    let unread = append(log, &inbox, "carol").await.expect("append");
    for writer in ["m1", "m2", "m3"] {
        flood(log, &inbox, writer).await.expect_err("each of them is refused");
    }
    append(log, &inbox, "carol").await.expect("who has not used up its share is not");
    for writer in 4..40 {
        let _ = flood(log, &inbox, &format!("m{writer}")).await;
    }
    assert_eq!(log.id_at(&inbox, unread.seq).await.expect("look up"), Some(unread.message_id), "it is there");
    let error = refused(append(log, &inbox, "late").await);
    assert!(matches!(error, LogError::Full { .. }), "nobody fits into twice the bounds: {error}");
    assert!(kept(log, &inbox).await <= 2 * (MAX_ENTRIES + SLACK));
}

async fn who_is_alone_pushes_out_its_own(log: &dyn LogStore) {
    for to in [reader(log).await.1, fresh(), channel()] {
        let writer = unique();
        if let LogId::Inbox(_) = to {
            append(log, &to, &writer).await.expect("append");
        }
        flood(log, &to, &writer).await.expect("a conversation goes on for ever");
        assert!(kept(log, &to).await <= MAX_ENTRIES + SLACK);
    }
}

async fn an_inbox_that_nobody_reads_stays_reachable(log: &dyn LogStore) {
    let inbox = fresh();
    let first = append(log, &inbox, "carol").await.expect("append");
    let error = flood(log, &inbox, "mallory").await.expect_err("not by one who floods it");
    assert!(matches!(error, LogError::Full { .. }), "{error}");
    assert_eq!(log.id_at(&inbox, first.seq).await.expect("look up"), Some(first.message_id));
    for customer in 0..40 {
        for _ in 0..MAX_ENTRIES / 10 {
            append(log, &inbox, &format!("c{customer}")).await.expect("a bot stays reachable");
        }
    }
    assert!(kept(log, &inbox).await <= 2 * (MAX_ENTRIES + SLACK));
    assert!(ends(log, &inbox).await.0 > 1, "so the oldest goes");
}

async fn what_was_left_unread_for_long_goes(log: &dyn LogStore) {
    for to in [fresh(), channel()] {
        let old = NewEntry::new(id_at(now_ms() - 8 * DAY_MS), Bytes::from_static(b"old"));
        log.append(&to, old.by(user("carol"))).await.expect("append");
        flood(log, &to, "mallory").await.expect("it was there for a week");
        assert!(ends(log, &to).await.0 > 1);
    }
    let (_, inbox) = reader(log).await;
    let old = NewEntry::new(id_at(now_ms() - 8 * DAY_MS), Bytes::from_static(b"old"));
    let unread = log.append(&inbox, old.by(user("carol"))).await.expect("append");
    flood(log, &inbox, "mallory").await.expect_err("who reads may be away for longer");
    assert!(log.id_at(&inbox, unread.seq).await.expect("look up").is_some());
}

async fn a_channel_has_shares_too(log: &dyn LogStore) {
    let team = channel();
    let first = append(log, &team, "carol").await.expect("append");
    flood(log, &team, "mallory").await.expect_err("one member does not push out what another said");
    assert_eq!(log.id_at(&team, first.seq).await.expect("look up"), Some(first.message_id));
    // If many members do so, a busy channel must continue.
    for member in 0..50 {
        for _ in 0..MAX_ENTRIES / 10 {
            append(log, &team, &format!("m{member}")).await.expect("append");
        }
    }
    assert!(kept(log, &team).await <= 2 * (MAX_ENTRIES + SLACK));
    assert!(ends(log, &team).await.0 > 1);
}

async fn owners_and_back_ends_are_never_refused(log: &dyn LogStore) {
    let (bob, inbox) = reader(log).await;
    append(log, &inbox, "carol").await.expect("append");
    flood(log, &inbox, "mallory").await.expect_err("a flood is refused");
    flood(log, &inbox, bob.as_str()).await.expect("an owner is not");
    let (_, inbox) = reader(log).await;
    let unread = append(log, &inbox, "carol").await.expect("append");
    for _ in 0..MAX_ENTRIES / 2 {
        log.append(&inbox, NewEntry::new(id(), Bytes::from_static(b"news"))).await.expect("nor a backend");
    }
    flood(log, &inbox, "mallory").await.expect_err("what a backend sent is not pushed out either");
    assert!(log.id_at(&inbox, unread.seq).await.expect("look up").is_some());
    for _ in 0..4 * MAX_ENTRIES {
        log.append(&inbox, NewEntry::new(id(), Bytes::from_static(b"news"))).await.expect("append");
    }
    assert_eq!(log.id_at(&inbox, unread.seq).await.expect("look up"), None, "a backend pushes out anything");
    assert!(kept(log, &inbox).await <= 2 * (MAX_ENTRIES + SLACK) + SLACK);
}

async fn a_refused_number_can_be_tried_again(log: &dyn LogStore) {
    let (bob, inbox) = reader(log).await;
    append(log, &inbox, "carol").await.expect("append");
    flood(log, &inbox, "mallory").await.expect_err("a flood is refused");
    let numbered = |number| DedupKey::Producer { name: "mallory/web/tab".into(), number, digest: [1; 16] };
    let entry = |number| entry("mallory").with_dedup_key(numbered(number));
    let (_, before) = ends(log, &inbox).await;
    for _ in 0..2 {
        let error = refused(log.append(&inbox, entry(7)).await);
        assert!(matches!(error, LogError::Full { .. }), "{error}");
    }
    assert_eq!(ends(log, &inbox).await.1, before, "nothing was appended");
    acknowledge(log, &bob, before).await;
    let first = log.append(&inbox, entry(7)).await.expect("append");
    assert_eq!((first.seq, first.repeated), (before + 1, false));
    append(log, &inbox, "carol").await.expect("append");
    while flood(log, &inbox, "mallory").await.is_ok() {
        append(log, &inbox, "carol").await.expect("append");
    }
    let again = log.append(&inbox, entry(7)).await.expect("append again");
    assert_eq!(again, Appended { repeated: true, ..first }, "what was appended needs no room");
}

async fn room_is_found_before_anything_is_appended(log: &dyn LogStore) {
    let ((_, full), other) = (reader(log).await, fresh());
    append(log, &full, "carol").await.expect("append");
    let numbered = entry("mallory").with_dedup_key(DedupKey::Producer {
        name: "tab".into(),
        number: 1,
        digest: [1; 16],
    });
    log.append(&full, numbered.clone()).await.expect("append");
    flood(log, &full, "mallory").await.expect_err("a flood is refused");
    let before = ends(log, &full).await;
    let asked = [
        (other.clone(), entry("mallory")),
        (full.clone(), entry("mallory")),
        (full.clone(), entry("dave")),
        (full.clone(), NewEntry::new(id(), Bytes::new())),
        (full.clone(), numbered),
    ];
    let found = log.check_room(&asked).await;
    let has_room: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(has_room, [true, false, true, true, true], "{found:?}");
    assert!(matches!(found[1], Err(LogError::Full { .. })), "{found:?}");
    assert_eq!(ends(log, &full).await, before, "nothing was appended or trimmed");
    assert_eq!(ends(log, &other).await, (1, 0));
    let checked = NewEntry { is_checked: true, ..entry("mallory") };
    log.append(&full, checked).await.expect("who was told that there is room has some more");
}

async fn logs_are_bounded_in_bytes(log: &dyn LogStore) {
    const PAYLOAD: usize = 4 * 1024;
    // Eight times as much as a log may have.
    let count = 8 * MAX_BYTES / PAYLOAD as u64;
    let large = || NewEntry::new(id(), (0..PAYLOAD).map(|_| rand::random::<u8>()).collect::<Vec<_>>().into());
    for to in [fresh(), channel()] {
        for _ in 0..count {
            log.append(&to, large()).await.expect("append");
        }
        let bytes = kept(log, &to).await * PAYLOAD as u64;
        assert!(bytes <= 2 * MAX_BYTES, "{bytes} bytes are left");
        assert!(bytes >= MAX_BYTES / 2, "{bytes} bytes are left");
    }
    let inbox = fresh();
    for _ in 0..count {
        log.append(&inbox, large().by(user("carol"))).await.expect("append");
    }
    let bytes = kept(log, &inbox).await * PAYLOAD as u64;
    assert!((MAX_BYTES / 2..=MAX_BYTES + MAX_BYTES / 4).contains(&bytes), "{bytes} bytes are left");
    let (_, inbox) = reader(log).await;
    log.append(&inbox, large().by(user("carol"))).await.expect("append");
    let mut taken = 0;
    let error = loop {
        match log.append(&inbox, large().by(user("mallory"))).await {
            Ok(_) => taken += PAYLOAD as u64,
            Err(error) => break error,
        }
        assert!(taken <= 2 * MAX_BYTES, "{taken} bytes were taken");
    };
    assert!(matches!(error, LogError::Full { .. }), "{error}");
    assert!(taken >= MAX_BYTES / 8, "only {taken} bytes were taken");
}

/// Returns a user whose devices have acknowledged something, and the inbox.
async fn reader(log: &dyn LogStore) -> (UserId, LogId) {
    let bob = user(&unique());
    let inbox = LogId::Inbox(bob.clone());
    log.append(&inbox, NewEntry::new(id(), Bytes::from_static(b"welcome"))).await.expect("append");
    acknowledge(log, &bob, 1).await;
    (bob, inbox)
}

async fn acknowledge(log: &dyn LogStore, user: &UserId, seq: u64) {
    let device = "web/tab".parse().expect("a device");
    let ack = DeviceAck::new(user.clone(), device, LogId::Inbox(user.clone()), seq);
    log.note_acks(&[ack]).await.expect("note");
}

/// Appends several times the capacity of a log, until an append is refused.
async fn flood(log: &dyn LogStore, to: &LogId, writer: &str) -> Result<(), LogError> {
    const AT_ONCE: usize = 20;
    for _ in 0..3 * (MAX_ENTRIES + SLACK) / AT_ONCE as u64 {
        let entries = (0..AT_ONCE).map(|_| (to.clone(), entry(writer))).collect();
        for appended in log.append_many(entries).await {
            appended?;
        }
    }
    Ok(())
}

async fn append(log: &dyn LogStore, to: &LogId, writer: &str) -> Result<Appended, LogError> {
    log.append(to, entry(writer)).await
}

fn entry(writer: &str) -> NewEntry {
    NewEntry::new(id(), Bytes::from_static(b"hi")).by(user(writer))
}

fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

/// Returns the number of entries in a log.
async fn kept(log: &dyn LogStore, of: &LogId) -> u64 {
    let (first, last) = ends(log, of).await;
    last + 1 - first
}
