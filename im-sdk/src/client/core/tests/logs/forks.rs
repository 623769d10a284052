//! Logs that were trimmed, rolled back or lost: entries that differ, entries that are dropped, and the position to continue from.

use super::*;

#[test]
fn an_end_behind_what_the_server_was_told_means_that_the_log_was_rolled_back() {
    for end in [at("", 9), cursor("", 10, id(10, 2))] {
        let mut test = Harness::following();
        test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
        test.pass(Duration::ZERO);
        test.sent_sync();
        test.receive(sync_done(&[end, at(TEAM, 20)]));
        assert!(test.time_to_sync(2 * SECOND).is_some());
    }
}

#[test]
fn another_id_at_a_known_place_is_a_fork() {
    let mut test = Harness::following();
    test.receive(entry("", 11));
    test.receive(entry("", 12));
    test.receive(entry_of("", 11, 2));
    assert_eq!(test.sent_sync_soon(), all_at(11, 20), "from what differs");
    test.receive(reset(at("", 10), pb::ResetReason::Forked));
    for seq in [11, 12, 13] {
        test.receive(entry_of("", seq, 2));
    }
    test.receive(sync_done(&[cursor("", 13, id(13, 2)), at(TEAM, 20)]));
    let expected = ["inbox 11", "inbox 12", "reset inbox 10 forked", "inbox 11", "inbox 12", "inbox 13"];
    assert_eq!(test.shown(), expected);
    assert_eq!(test.time_to_sync(60 * SECOND), None);
}

#[test]
fn two_ids_at_a_place_that_is_held_are_a_fork_too() {
    let mut test = Harness::following();
    test.receive(entry_of("", 13, 1));
    test.receive(entry_of("", 13, 2));
    assert_eq!(test.sent_sync_soon(), all_at(10, 20));
}

#[test]
fn a_reset_comes_before_what_was_held_behind_it() {
    let mut test = Harness::following();
    test.receive(entry(TEAM, 31));
    test.receive(entry(TEAM, 29));
    test.receive(reset(at(TEAM, 30), pb::ResetReason::Trimmed));
    assert_eq!(test.shown(), ["reset team 30 trimmed", "team 31"]);
    // A reset to the present position.
    test.receive(reset(at(TEAM, 31), pb::ResetReason::Trimmed));
    assert_eq!(test.shown(), Vec::<String>::new());
    test.receive(reset(cursor(TEAM, 40, 1), pb::ResetReason::try_from(0).unwrap()));
    assert_eq!(test.shown(), ["reset team 40 trimmed"]);
    assert_eq!(test.time_to_sync(SECOND), None);
}

#[test]
fn a_fork_drops_what_was_held_and_syncs_again() {
    let mut test = Harness::following();
    test.receive(entry(TEAM, 31));
    test.receive(reset(at(TEAM, 30), pb::ResetReason::Forked));
    assert_eq!(test.shown(), ["reset team 30 forked"]);
    test.pass(Duration::ZERO);
    assert_eq!(test.sent_sync()[0], (TEAM.to_owned(), 30));
}

fn rolled_back() -> pb::frame::Body {
    pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: true })
}

#[test]
fn after_a_rollback_what_was_built_on_a_lost_entry_is_found() {
    let mut test = Harness::following();
    for seq in [11, 12] {
        test.receive(entry("", seq));
    }
    // The log is rolled back to 11, and the entry that replaces 12 is lost on the way.
    test.receive(entry_of("", 13, 2));
    assert_eq!(test.shown(), ["inbox 11", "inbox 12", "inbox 13"]);
    test.receive(rolled_back());
    assert_eq!(test.sent_sync_soon()[0], (String::new(), 10), "as far back as it remembers");
    test.receive(entry("", 11));
    test.receive(entry_of("", 12, 2));
    test.receive(entry_of("", 13, 2));
    test.receive(sync_done(&[cursor("", 13, id(13, 2)), at(TEAM, 20)]));
    assert!(test.time_to_sync_from(12), "the one that differs");
    test.receive(reset(at("", 9), pb::ResetReason::Forked));
    for seq in [10, 11] {
        test.receive(entry("", seq));
    }
    for seq in [12, 13] {
        test.receive(entry_of("", seq, 2));
    }
    test.receive(sync_done(&[cursor("", 13, id(13, 2)), at(TEAM, 20)]));
    let shown = ["reset inbox 9 forked", "inbox 10", "inbox 11", "inbox 12", "inbox 13"];
    assert_eq!(test.shown(), shown);
    assert_eq!(test.time_to_sync(60 * SECOND), None);
}

#[test]
fn the_last_place_that_there_is_can_be_compared() {
    let mut test = Harness::following();
    test.receive(reset(cursor("", u64::MAX, 7), pb::ResetReason::Forked));
    test.receive(rolled_back());
    assert_eq!(test.sent_sync_soon()[0], (String::new(), u64::MAX));
    test.receive(rolled_back());
    assert!(test.time_to_sync(20 * SECOND).is_some());
}

#[test]
fn comparing_resets_nothing_that_is_only_trimmed() {
    let mut test = Harness::following();
    for seq in [11, 12, 13] {
        test.receive(entry("", seq));
    }
    test.receive(rolled_back());
    assert_eq!(test.sent_sync_soon()[0].1, 10);
    test.receive(reset(at("", 12), pb::ResetReason::Trimmed));
    test.receive(entry("", 13));
    test.receive(sync_done(&[at("", 13), at(TEAM, 20)]));
    assert_eq!(test.shown(), ["inbox 11", "inbox 12", "inbox 13"]);
    test.receive(entry("", 14));
    assert_eq!(test.shown(), ["inbox 14"]);
    assert_eq!(test.time_to_sync(60 * SECOND), None);
}

impl Harness {
    /// Returns `true` if the next sync asks for the inbox from `seq`.
    fn time_to_sync_from(&mut self, seq: u64) -> bool {
        for _ in 0..300 {
            self.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
            while let Some(body) = self.try_sent() {
                if let pb::frame::Body::Sync(sync) = body {
                    return sync.cursors.iter().any(|cursor| cursor.channel.is_empty() && cursor.seq == seq);
                }
            }
            self.pass(10 * MS);
        }
        false
    }
}

#[test]
fn what_is_held_beyond_the_end_is_of_a_branch_that_was_lost() {
    let mut test = Harness::following();
    // 11 and 12 are lost on the way, and then the log is rolled back to 10.
    test.receive(entry("", 13));
    test.pass(HOLD);
    assert_eq!(test.sent_sync(), all_at(10, 20));
    test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
    for seq in [11, 12, 13] {
        test.receive(entry_of("", seq, 2));
    }
    assert_eq!(test.shown(), ["inbox 11", "inbox 12", "inbox 13"]);
    assert_eq!(test.core.logs.position(&Log::Inbox), 13);
    test.receive(entry_of("", 13, 2));
    assert_eq!(test.core.logs.repeated(), 1);
    // The dropped entries may have been of the new branch, so one more sync follows, and no third one.
    assert!(test.time_to_sync(2 * SECOND).is_some());
    test.receive(sync_done(&[cursor("", 13, id(13, 2)), at(TEAM, 20)]));
    assert_eq!(test.time_to_sync(60 * SECOND), None);
}

#[test]
fn a_log_without_its_reset_is_asked_for_from_its_start() {
    let mut test = Harness::following();
    test.receive(entry("new", 500));
    test.pass(HOLD);
    assert_eq!(test.sent_sync()[0], ("new".to_owned(), 0));
    test.receive(reset(at("new", 499), pb::ResetReason::New));
    test.receive(sync_done(&[at("new", 500)]));
    assert_eq!(test.shown(), ["reset new 499 new", "new 500"]);
    // The first entry of a log needs no earlier ones.
    test.receive(entry("young", 1));
    assert_eq!(test.shown(), ["young 1"]);
    // No entry arrived, only the end of the log.
    test.receive(sync_done(&[at("lost", 3)]));
    test.pass(SECOND);
    assert_eq!(test.sent_sync()[0], ("lost".to_owned(), 0));
}
