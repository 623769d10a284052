//! The behaviour of every [`DeviceStore`], as one check to call from a test.
#![allow(clippy::missing_panics_doc, clippy::panic, clippy::unwrap_used, reason = "all of this is a test")]

use std::sync::Arc;

use super::{Batch, DeviceStore, SavedCursor, SavedMark, SavedMarks, SavedPublish, SavedState};

/// Opens the same store again, after the earlier handle was dropped.
pub type Reopen = Box<dyn Fn() -> Arc<dyn DeviceStore>>;

/// Checks an implementation. `make` makes a new, empty store each time.
pub fn check(make: impl Fn() -> Reopen) {
    a_new_store_is_empty(&make());
    what_was_saved_is_loaded(&make());
    a_batch_replaces_what_it_names_and_nothing_else(&make());
    cursors_of_channels_that_were_left_go(&make());
    order_is_by_local_id(&make());
    every_value_fits(&make());
    many_batches_add_up(&make());
    marks_are_replaced_by_conversation(&make());
    a_released_store_goes_on(&make());
}

fn a_released_store_goes_on(reopen: &Reopen) {
    let store = reopen();
    store.release();
    let batch =
        |number| Batch { put: vec![publish(number, number)], next_number: number + 1, ..Batch::default() };
    store.save(&batch(1)).unwrap();
    store.release();
    store.release();
    store.shrink();
    assert_eq!(load(&store).outbox, [publish(1, 1)]);
    store.release();
    store.save(&batch(2)).unwrap();
    store.shrink();
    assert_eq!(load(&store).outbox, [publish(1, 1), publish(2, 2)]);
    drop(store);
    assert_eq!(load(&reopen()).outbox, [publish(1, 1), publish(2, 2)]);
}

fn a_new_store_is_empty(reopen: &Reopen) {
    assert_eq!(reopen().load(), Ok(SavedState::default()));
    assert_eq!(reopen().load(), Ok(SavedState::default()));
}

fn what_was_saved_is_loaded(reopen: &Reopen) {
    let batch = Batch {
        user: "alice".to_owned(),
        cursors: vec![cursor("", 42, 7), cursor("team", 0, 0)],
        left: vec![],
        put: vec![publish(1, 10), to_channel(publish(2, 0))],
        remove: vec![],
        next_local_id: 3,
        next_number: 11,
        installation: 77,
        origin_key: 78,
        marks: vec![marks("", "team", &[3, 4]), marks("bob", "", &[5])],
    };
    let store = reopen();
    store.save(&batch).unwrap();
    let expected = SavedState {
        user: batch.user,
        cursors: batch.cursors,
        outbox: batch.put,
        next_local_id: 3,
        next_number: 11,
        installation: 77,
        origin_key: 78,
        marks: batch.marks,
    };
    assert_eq!(load(&store), expected);
    drop(store);
    assert_eq!(load(&reopen()), expected);
}

fn a_batch_replaces_what_it_names_and_nothing_else(reopen: &Reopen) {
    let store = reopen();
    let first = Batch {
        cursors: vec![cursor("", 42, 7), cursor("team", 3, 8)],
        put: vec![publish(1, 0), publish(2, 0), publish(3, 0)],
        next_local_id: 4,
        ..Batch::default()
    };
    store.save(&first).unwrap();
    let failed = SavedPublish { failure: vec![1, 0, 255], ..publish(2, 9) };
    let second = Batch {
        // Backwards too: a log may be rolled back.
        cursors: vec![cursor("", 5, 9)],
        put: vec![failed.clone()],
        // 77 does not exist.
        remove: vec![1, 77],
        next_local_id: 4,
        next_number: 10,
        ..Batch::default()
    };
    store.save(&second).unwrap();
    let saved = load(&store);
    assert_eq!(saved.cursors, [cursor("", 5, 9), cursor("team", 3, 8)]);
    assert_eq!(saved.outbox, [failed, publish(3, 0)]);
    assert_eq!((saved.next_local_id, saved.next_number), (4, 10));
    drop(store);
    assert_eq!(load(&reopen()), saved);
}

fn cursors_of_channels_that_were_left_go(reopen: &Reopen) {
    let store = reopen();
    let cursors = vec![cursor("", 1, 1), cursor("blue", 2, 2), cursor("red", 3, 3)];
    store.save(&Batch { cursors, ..Batch::default() }).unwrap();
    // A name that does not exist does no harm.
    let left = vec!["blue".to_owned(), "green".to_owned()];
    store
        .save(&Batch { left: left.clone(), cursors: vec![cursor("red", 4, 4)], ..Batch::default() })
        .unwrap();
    assert_eq!(load(&store).cursors, [cursor("", 1, 1), cursor("red", 4, 4)]);
    drop(store);
    let store = reopen();
    assert_eq!(load(&store).cursors, [cursor("", 1, 1), cursor("red", 4, 4)]);
    store.save(&Batch { cursors: vec![cursor("blue", 9, 9)], ..Batch::default() }).unwrap();
    assert_eq!(load(&store).cursors.len(), 3, "it can be followed again");
}

fn marks_are_replaced_by_conversation(reopen: &Reopen) {
    let store = reopen();
    let save = |marks: Vec<SavedMarks>| store.save(&Batch { marks, ..Batch::default() }).unwrap();
    save(vec![marks("bob", "", &[1]), marks("", "bob", &[2, u64::MAX]), marks("carol", "", &[3])]);
    // A user, and a channel of the same name.
    save(vec![marks("bob", "", &[7, 6]), marks("carol", "", &[]), marks("nobody", "", &[])]);
    let expected = [marks("", "bob", &[2, u64::MAX]), marks("bob", "", &[7, 6])];
    let sorted = |store: &Arc<dyn DeviceStore>| {
        let mut marks = store.load().unwrap().marks;
        marks.sort_by(|a, b| (&a.to, &a.channel).cmp(&(&b.to, &b.channel)));
        marks
    };
    assert_eq!(sorted(&store), expected);
    drop(store);
    assert_eq!(sorted(&reopen()), expected);
}

/// Builds marks of a conversation, set at these times.
fn marks(to: &str, channel: &str, times: &[u64]) -> SavedMarks {
    let mark = |set_at_ms: &u64| SavedMark { set_at_ms: *set_at_ms, mark: vec![0, 255, 1] };
    SavedMarks { to: to.into(), channel: channel.into(), marks: times.iter().map(mark).collect() }
}

fn order_is_by_local_id(reopen: &Reopen) {
    let store = reopen();
    let put = vec![publish(300, 0), publish(2, 0), publish(10, 0)];
    store.save(&Batch { put, ..Batch::default() }).unwrap();
    store.save(&Batch { put: vec![publish(2, 1)], ..Batch::default() }).unwrap();
    let ids: Vec<u64> = load(&store).outbox.iter().map(|publish| publish.local_id).collect();
    assert_eq!(ids, [2, 10, 300]);
}

fn every_value_fits(reopen: &Reopen) {
    let store = reopen();
    let large =
        SavedPublish { content: vec![0xa5; 1 << 20], to: "x".repeat(64), ..publish(u64::MAX >> 1, 1) };
    let batch = Batch {
        cursors: vec![cursor(&"c".repeat(64), u64::MAX, u64::MAX)],
        put: vec![large],
        next_local_id: u64::MAX,
        next_number: u64::MAX,
        installation: u64::MAX,
        origin_key: u64::MAX,
        ..Batch::default()
    };
    store.save(&batch).unwrap();
    drop(store);
    let saved = load(&reopen());
    assert_eq!((saved.cursors, saved.outbox), (batch.cursors, batch.put));
    assert_eq!((saved.next_local_id, saved.next_number), (u64::MAX, u64::MAX));
    assert_eq!((saved.installation, saved.origin_key), (u64::MAX, u64::MAX));
}

fn many_batches_add_up(reopen: &Reopen) {
    for round in 0..20 {
        let store = reopen();
        for id in round * 10 + 1..=round * 10 + 10 {
            let remove = if id % 2 == 0 { vec![id - 1] } else { vec![] };
            let put = vec![publish(id, id)];
            let cursors = vec![cursor("", id, id)];
            let (next_local_id, next_number) = (id + 1, id + 1);
            let batch = Batch { cursors, put, remove, next_local_id, next_number, ..Batch::default() };
            store.save(&batch).unwrap();
        }
    }
    let saved = load(&reopen());
    let ids: Vec<u64> = saved.outbox.iter().map(|publish| publish.local_id).collect();
    assert_eq!(ids, (1..=100).map(|half| half * 2).collect::<Vec<u64>>());
    assert_eq!((saved.cursors, saved.next_number), (vec![cursor("", 200, 200)], 201));
}

/// Loads a store, and sorts its cursors.
fn load(store: &Arc<dyn DeviceStore>) -> SavedState {
    let mut saved = store.load().unwrap();
    saved.cursors.sort_by(|one, other| one.channel.cmp(&other.channel));
    saved
}

fn cursor(channel: &str, seq: u64, id: u64) -> SavedCursor {
    SavedCursor { channel: channel.to_owned(), seq, id }
}

fn publish(local_id: u64, number: u64) -> SavedPublish {
    let content = vec![0, 1, 2, 255];
    let (installation, sent) = (u64::MAX - number, number > 0);
    SavedPublish {
        local_id,
        number,
        installation,
        sent,
        to: "bob".to_owned(),
        content,
        ..SavedPublish::default()
    }
}

fn to_channel(publish: SavedPublish) -> SavedPublish {
    SavedPublish { to: String::new(), channel: "bob".to_owned(), ..publish }
}
