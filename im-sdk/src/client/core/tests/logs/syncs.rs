//! Entries in any order, gaps and hints: the events for the application, and the times of syncs.

use super::*;

#[test]
fn being_up_to_date_is_told_once_for_each_connection() {
    let mut test = Harness::following();
    for _ in 0..2 {
        test.broken();
        test.pass(SECOND);
        test.connect_all_the_way();
        test.drain();
        let next = test.core.logs.position(&Log::Inbox) + 1;
        test.receive(entry("", next));
        test.receive(sync_done(&[at("", 90)]));
        assert_eq!(test.shown().len(), 1);
        assert!(test.time_to_sync(SECOND).is_some());
        test.receive(reset(at("", 90), pb::ResetReason::Trimmed));
        test.receive(sync_done(&[at("", 90)]));
        test.receive(sync_done(&[at("", 90)]));
        assert_eq!(test.events()[1..], [Event::UpToDate]);
        test.receive(reset(at("", 10), pb::ResetReason::Forked));
        test.drain();
    }
}

#[test]
fn a_sync_is_over_with_the_last_of_its_ends() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    test.events();
    test.receive(pb::frame::Body::SyncDone(pb::SyncDone { ends: vec![], more: true }));
    assert_eq!(test.events(), []);
    // The next sync waits for the end of the one under way.
    test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 1, rolled_back: false }));
    assert!(test.time_to_sync(SECOND).is_none());
    test.receive(sync_done(&[]));
    assert_eq!(test.events(), [Event::UpToDate]);
    assert!(test.time_to_sync(SECOND).is_some());
}

#[test]
fn entries_come_once_and_in_order_per_log() {
    let mut test = Harness::following();
    for (channel, seq) in [("", 11), (TEAM, 21), ("", 12), ("", 12), (TEAM, 20), (TEAM, 22), ("", 11)] {
        test.receive(entry(channel, seq));
    }
    assert_eq!(test.shown(), ["inbox 11", "team 21", "inbox 12", "team 22"]);
    assert_eq!((test.core.repeated(), test.try_sent()), (3, None));
}

#[test]
fn live_messages_go_straight_through() {
    let mut test = Harness::following();
    for _ in 0..3 {
        test.receive(entry_of("", 0, 5));
    }
    assert_eq!(test.shown(), ["live", "live", "live"]);
}

#[test]
fn neighbours_in_the_other_order_need_no_sync() {
    let mut test = Harness::following();
    test.receive(entry("", 13));
    test.receive(entry("", 12));
    assert_eq!(test.shown(), Vec::<String>::new());
    test.pass(HOLD - MS);
    test.receive(entry("", 11));
    assert_eq!(test.shown(), ["inbox 11", "inbox 12", "inbox 13"]);
    assert_eq!(test.time_to_sync(SECOND), None);
}

#[test]
fn a_gap_that_stays_leads_to_a_sync() {
    let mut test = Harness::following();
    test.receive(entry(TEAM, 23));
    test.pass(HOLD - MS);
    assert_eq!(test.try_sent(), None);
    test.pass(MS);
    // The log with the gap comes first.
    assert_eq!(test.sent_sync(), [(TEAM.to_owned(), 20), (String::new(), 10)]);
    test.receive(entry(TEAM, 21));
    test.receive(entry(TEAM, 22));
    assert_eq!(test.shown(), ["team 21", "team 22", "team 23"]);
    test.receive(sync_done(&[at("", 10), at(TEAM, 23)]));
    assert_eq!(test.time_to_sync(60 * SECOND), None);
}

#[test]
fn one_sync_at_a_time_and_a_lost_one_is_repeated() {
    let mut test = Harness::following();
    test.receive(entry("", 13));
    test.pass(HOLD);
    assert_eq!(test.sent_sync(), all_at(10, 20));
    test.receive(entry(TEAM, 23));
    let again = test.time_to_sync(60 * SECOND).unwrap();
    // 10 s of silence, which the entry does not prolong, and at most a second more.
    assert!((10 * SECOND..12 * SECOND).contains(&again), "{again:?}");
    let once_more = test.time_to_sync(60 * SECOND).unwrap();
    assert!((11 * SECOND..13 * SECOND).contains(&once_more), "{once_more:?}");
}

#[test]
fn a_sync_that_brings_something_is_given_time_but_not_for_ever() {
    let mut test = Harness::following();
    test.receive(entry("", 1000));
    test.pass(HOLD);
    test.sent_sync();
    for seq in 11..=60 {
        test.pass(SECOND);
        test.receive(entry("", seq));
        assert!(!matches!(test.try_sent(), Some(pb::frame::Body::Sync(_))), "{seq}");
    }
    assert!(test.time_to_sync(12 * SECOND).is_some());
}

#[test]
fn an_end_beyond_the_position_leads_to_another_sync_at_once() {
    let mut test = Harness::following();
    test.receive(entry("", 13));
    test.pass(HOLD);
    test.sent_sync();
    // A page, not all entries.
    test.receive(entry("", 11));
    test.receive(sync_done(&[at("", 13), at(TEAM, 20)]));
    test.pass(Duration::ZERO);
    assert_eq!(test.sent_sync(), all_at(11, 20));
}

#[test]
fn a_server_cannot_make_the_device_sync_in_a_loop() {
    let mut test = Harness::following();
    test.receive(sync_done(&[at("", 99)]));
    let mut syncs = 0;
    let end = test.now + 600 * SECOND;
    while test.now < end {
        if test.time_to_sync(10 * SECOND).is_some() {
            syncs += 1;
            // Resets never count as progress.
            test.receive(reset(cursor("", 5 + syncs, 1), pb::ResetReason::Forked));
            test.receive(sync_done(&[at("", 99)]));
            test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
        }
    }
    // The intervals are 1, 2, 4, ... 60 s, each shortened by up to a half.
    assert!((10..=30).contains(&syncs), "{syncs}");
}

#[test]
fn hints_that_concern_others_do_not_hold_up_a_gap() {
    let mut test = Harness::following();
    // The bus loses messages for other devices, again and again.
    for _ in 0..20 {
        test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
        if test.time_to_sync(10 * SECOND).is_some() {
            test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
        }
    }
    test.receive(entry("", 12));
    let gap = test.time_to_sync(60 * SECOND).unwrap();
    assert!(gap <= HOLD + 10 * MS, "{gap:?}");
    // The answer to that sync is lost.
    let again = test.time_to_sync(60 * SECOND).unwrap();
    assert!((10 * SECOND..12 * SECOND).contains(&again), "{again:?}");
}

#[test]
fn a_hint_means_a_random_moment_within_its_window() {
    let mut moments = Vec::new();
    for seed in 0..50 {
        let mut test = Harness::seeded(seed);
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
        test.receive(sync_done(&[]));
        test.drain();
        test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 4000, rolled_back: false }));
        moments.push(test.time_to_sync(5 * SECOND).unwrap());
    }
    assert!(moments.iter().any(|moment| *moment < 500 * MS));
    assert!(moments.iter().any(|moment| *moment > 3500 * MS));
    assert!(moments.iter().all(|moment| *moment <= 4010 * MS));
}

#[test]
fn a_hint_during_a_sync_leads_to_one_after_it() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 10, rolled_back: false }));
    test.pass(SECOND);
    assert_eq!(test.try_sent(), None);
    test.receive(sync_done(&[]));
    assert!(test.time_to_sync(2 * SECOND).is_some());
}

#[test]
fn cursors_are_checked_now_and_then() {
    let mut test = Harness::following();
    for _ in 0..3 {
        let time = test.time_to_sync(600 * SECOND).unwrap();
        assert!((224 * SECOND..376 * SECOND).contains(&time), "{time:?}");
        test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
    }
}

#[test]
fn what_is_held_is_bounded_and_the_nearest_is_kept() {
    let mut test = Harness::following();
    let last = 12 + 3 * MAX_HELD as u64;
    for seq in (12..=last).rev() {
        test.receive(entry("", seq));
    }
    test.receive(entry("", 11));
    let next = 11 + MAX_HELD as u64;
    assert_eq!(test.shown().last(), Some(&format!("inbox {next}")));
    assert_eq!(test.sent_sync_soon(), all_at(next, 20));
}

#[test]
fn an_entry_that_makes_no_sense_is_passed_over_and_counts() {
    let mut test = Harness::following();
    let pb::frame::Body::Push(mut nonsense) = entry("", 11) else { panic!("no push") };
    nonsense.message.as_mut().unwrap().from = "not a user".to_owned();
    test.receive(pb::frame::Body::Push(nonsense));
    test.receive(entry("", 12));
    assert_eq!((test.shown(), test.core.skipped()), (vec!["inbox 12".to_owned()], 1));
    test.receive(entry("not a channel", 1));
    test.receive(reset(at("not a channel", 1), pb::ResetReason::New));
    test.receive(pb::frame::Body::Reset(pb::Reset::default()));
    assert_eq!((test.shown(), test.core.skipped()), (vec![], 4));
}

#[test]
fn nothing_is_asked_for_while_the_application_is_busy() {
    let mut test = Harness::following();
    test.receive(entry("", 13));
    test.core.handle_reading(test.now, false);
    assert_eq!(test.time_to_sync(300 * SECOND), None);
    test.core.handle_reading(test.now, true);
    assert!(test.time_to_sync(SECOND).is_some());
}
