//! Logs: what counts, what is held, when a sync is asked for.

use super::*;
use crate::{
    client::{
        core::logs::{ACK_INTERVAL, HOLD, MAX_HELD},
        event::ReceivedMessage,
    },
    id::MessageId,
};

const TEAM: &str = "team";

/// The id of an entry, on a branch of its log.
fn id(seq: u64, branch: u64) -> u64 {
    branch * 1_000_000 + seq
}

fn entry(channel: &str, seq: u64) -> pb::frame::Body {
    entry_of(channel, seq, 1)
}

fn entry_of(channel: &str, seq: u64, branch: u64) -> pb::frame::Body {
    let pb::frame::Body::Push(push) = push(id(seq, branch), "bob") else { panic!("no push") };
    pb::frame::Body::Push(pb::Push { channel: channel.to_owned(), seq, ..push })
}

fn at(channel: &str, seq: u64) -> pb::Cursor {
    cursor(channel, seq, if seq == 0 { 0 } else { id(seq, 1) })
}

fn reset(cursor: pb::Cursor, reason: pb::ResetReason) -> pb::frame::Body {
    pb::frame::Body::Reset(pb::Reset { cursor: Some(cursor), reason: reason.into() })
}

/// `team 7`, or `reset team 7 new`.
fn shown(event: &Event) -> String {
    let place = |position: &Position| format!("{} {}", position.log, position.seq);
    match event {
        Event::Message(ReceivedMessage { position: Some(position), .. }) => place(position),
        Event::Message(_) => "live".to_owned(),
        Event::Reset { position, reason } => format!("reset {} {}", place(position), reason.as_str()),
        Event::UpToDate => "up to date".to_owned(),
        other => panic!("{other:?}"),
    }
}

impl Harness {
    /// Connected, the inbox at 10 and the team at 20.
    fn following() -> Self {
        let mut test = Self::new();
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
        test.receive(reset(at("", 10), pb::ResetReason::New));
        test.receive(reset(at(TEAM, 20), pb::ResetReason::New));
        test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
        test.drain();
        test
    }

    fn shown(&mut self) -> Vec<String> {
        self.events().iter().filter(|event| **event != Event::UpToDate).map(shown).collect()
    }

    fn sent_sync(&mut self) -> Vec<(String, u64)> {
        match self.sent() {
            pb::frame::Body::Sync(sync) => places(sync.cursors),
            other => panic!("{other:?}"),
        }
    }

    fn acknowledge(&mut self, channel: &str, seq: u64) {
        let log = Log::parse(channel).unwrap();
        let id = MessageId::from_u64(id(seq, 1));
        self.core.handle_ack(self.now, Position { log, seq, id });
    }

    fn sent_ack(&mut self) -> Vec<(String, u64)> {
        match self.sent() {
            pb::frame::Body::Ack(ack) => places(ack.cursors),
            other => panic!("{other:?}"),
        }
    }

    /// How long until the next sync is asked for; everything else that is sent is passed over.
    fn time_to_sync(&mut self, at_most: Duration) -> Option<Duration> {
        let start = self.now;
        while self.now < start + at_most {
            self.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
            while let Some(body) = self.try_sent() {
                if matches!(body, pb::frame::Body::Sync(_)) {
                    return Some(self.now - start);
                }
            }
            self.pass(10 * MS);
        }
        None
    }
}

fn places(cursors: Vec<pb::Cursor>) -> Vec<(String, u64)> {
    cursors.into_iter().map(|cursor| (cursor.channel, cursor.seq)).collect()
}

fn all_at(inbox: u64, team: u64) -> Vec<(String, u64)> {
    vec![(String::new(), inbox), (TEAM.to_owned(), team)]
}

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
    // The log with the gap first.
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
    // 10 s of silence, which the entry has prolonged by nothing, and at most a second more.
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
    // A page, not all.
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
            // Resets bring nothing, however many.
            test.receive(reset(cursor("", 5 + syncs, 1), pb::ResetReason::Forked));
            test.receive(sync_done(&[at("", 99)]));
            test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
        }
    }
    // 1, 2, 4, ... 60 s apart, each between half and all of that.
    assert!((10..=30).contains(&syncs), "{syncs}");
}

#[test]
fn hints_that_concern_others_do_not_hold_up_a_gap() {
    let mut test = Harness::following();
    // Again and again something is lost on the bus that was for others.
    for _ in 0..20 {
        test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
        if test.time_to_sync(10 * SECOND).is_some() {
            test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
        }
    }
    test.receive(entry("", 12));
    let gap = test.time_to_sync(60 * SECOND).unwrap();
    assert!(gap <= HOLD + 10 * MS, "{gap:?}");
    // Its answer is lost.
    let again = test.time_to_sync(60 * SECOND).unwrap();
    assert!((10 * SECOND..12 * SECOND).contains(&again), "{again:?}");
}

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

impl Harness {
    fn sent_sync_soon(&mut self) -> Vec<(String, u64)> {
        self.pass(Duration::ZERO);
        self.sent_sync()
    }
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
    // To where it is already.
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
    // The log falls back to 11, and what replaces 12 is lost on the way.
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
    /// Whether a sync that follows asks for the inbox from there.
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
    // 11 and 12 are lost on the way, and then the log falls back to 10.
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
    // What was dropped may have been of the new branch, so one more sync follows, and no third.
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
    // The first entry of a log has nothing before it.
    test.receive(entry("young", 1));
    assert_eq!(test.shown(), ["young 1"]);
    // Not even an entry came, only the end.
    test.receive(sync_done(&[at("lost", 3)]));
    test.pass(SECOND);
    assert_eq!(test.sent_sync()[0], ("lost".to_owned(), 0));
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
fn hello_carries_the_positions_and_a_new_process_what_was_acknowledged() {
    let mut test = Harness::following();
    test.receive(entry("", 11));
    test.receive(entry("", 12));
    test.receive(entry(TEAM, 21));
    test.acknowledge("", 11);
    test.broken();
    test.pass(SECOND);
    let hello = test.connect_all_the_way();
    assert_eq!(places(hello.cursors), all_at(12, 21));
    test.save();

    let mut test = test.crash();
    test.core.handle_connect(test.now);
    let hello = test.connect_all_the_way();
    // The reset of the team was not acknowledged, so it comes again.
    assert_eq!(hello.cursors, [at("", 11)]);
    test.drain();
    test.receive(entry("", 12));
    assert_eq!(test.shown(), ["inbox 12"]);
}

#[test]
fn acknowledgements_go_forward_only_except_over_a_reset() {
    let mut test = Harness::following();
    let saved = |test: &mut Harness| {
        test.save();
        test.store.load().unwrap().cursors.iter().map(|cursor| (cursor.seq, cursor.id)).collect::<Vec<_>>()
    };
    test.acknowledge("", 10);
    assert_eq!(saved(&mut test), [(10, id(10, 1))]);
    test.receive(entry("", 11));
    test.receive(entry("", 12));
    test.acknowledge("", 12);
    test.acknowledge("", 11);
    // Nothing of this has come.
    test.acknowledge("", 13);
    test.acknowledge("elsewhere", 1);
    assert_eq!(saved(&mut test), [(12, id(12, 1))]);
    test.receive(reset(cursor("", 5, id(5, 2)), pb::ResetReason::Forked));
    // Acknowledged before the application has seen the reset.
    test.acknowledge("", 12);
    assert_eq!(saved(&mut test), [(12, id(12, 1))]);
    test.receive(entry_of("", 6, 2));
    test.acknowledge("", 6);
    assert_eq!(saved(&mut test), [(12, id(12, 1))]);
    let position = Position { log: Log::Inbox, seq: 6, id: MessageId::from_u64(id(6, 2)) };
    test.core.handle_ack(test.now, position);
    assert_eq!(saved(&mut test), [(6, id(6, 2))]);
}

#[test]
fn an_empty_log_can_be_acknowledged() {
    let mut test = Harness::connected();
    test.receive(reset(at("", 0), pb::ResetReason::New));
    let [Event::Reset { position, .. }] = &test.events()[..] else { panic!("no reset") };
    test.core.handle_ack(test.now, position.clone());
    test.save();
    assert_eq!(test.store.load().unwrap().cursors, [SavedCursor { channel: String::new(), seq: 0, id: 0 }]);
    let mut test = test.crash();
    test.core.handle_connect(test.now);
    assert_eq!(test.connect_all_the_way().cursors, [at("", 0)]);
    test.receive(entry("", 1));
    assert_eq!(shown(&test.events()[1]), "inbox 1");
}

#[test]
fn acknowledgements_are_collected_and_repeated_after_a_loss() {
    let mut test = Harness::following();
    for seq in 11..=15 {
        test.receive(entry("", seq));
        test.acknowledge("", seq);
    }
    assert_eq!(test.try_sent(), None);
    test.pass(ACK_INTERVAL);
    assert_eq!(test.sent_ack(), [(String::new(), 15)]);
    test.receive(entry(TEAM, 21));
    test.acknowledge(TEAM, 21);
    test.pass(ACK_INTERVAL - MS);
    assert_eq!(test.try_sent(), None);
    test.pass(MS);
    assert_eq!(test.sent_ack(), [(TEAM.to_owned(), 21)]);
    test.pass(SECOND);
    assert_eq!(test.try_sent(), None);
    test.broken();
    test.pass(SECOND);
    test.connect_all_the_way();
    test.pass(ACK_INTERVAL);
    assert_eq!(test.sent_ack(), all_at(15, 21));
}

#[test]
fn acknowledgements_are_repeated_with_a_sync() {
    let mut test = Harness::following();
    test.receive(entry("", 11));
    test.acknowledge("", 11);
    test.pass(ACK_INTERVAL);
    assert_eq!(test.sent_ack(), [(String::new(), 11)]);
    // What makes a device sync may have swallowed it.
    test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false }));
    test.pass(Duration::ZERO);
    test.sent_sync();
    assert!(test.try_sent().is_none(), "not at once");
    test.pass(ACK_INTERVAL);
    assert_eq!(test.sent_ack(), [(String::new(), 11)]);
    test.pass(10 * ACK_INTERVAL);
    assert!(test.try_sent().is_none(), "and once");
}

#[test]
fn closing_sends_and_saves_what_was_acknowledged() {
    let mut test = Harness::following();
    test.receive(entry("", 11));
    test.acknowledge("", 11);
    test.core.handle_close(test.now, 5 * SECOND);
    assert!(!test.core.is_closed());
    assert_eq!(test.sent_ack(), [(String::new(), 11)]);
    assert_eq!(test.try_sent(), None);
    assert!(test.core.is_closed());
    assert_eq!(test.close_code(), CloseCode::ClientClosed);
    test.save();
    assert_eq!(test.store.load().unwrap().cursors[0].seq, 11);
}

#[test]
fn cursors_that_hello_has_no_room_for_are_told_afterwards() {
    let channel = |number: usize| format!("{number:064}");
    let cursors = (0..200).map(|number| SavedCursor { channel: channel(number), seq: 7, id: 7 });
    let inbox = SavedCursor { channel: String::new(), seq: 7, id: 7 };
    let saved = Saved { cursors: cursors.chain([inbox]).collect(), ..Saved::default() };
    let mut test = Harness::with_store(1, MemoryStore::with(saved), Instant::now());
    test.core.handle_connect(test.now);
    let hello = test.connect_all_the_way();
    assert!(frame::encode(pb::frame::Body::Hello(hello.clone())).len() <= limits::MAX_HELLO_BYTES);
    let mut told: Vec<String> = hello.cursors.into_iter().map(|cursor| cursor.channel).collect();
    assert!((50..200).contains(&told.len()) && told[0].is_empty(), "{}", told.len());
    test.drain();
    // The server thinks that the last one is new.
    test.receive(reset(cursor(&channel(199), 9, 9), pb::ResetReason::New));
    assert_eq!(test.shown(), Vec::<String>::new());
    test.receive(sync_done(&[]));
    while told.len() < 201 {
        test.time_to_sync_frame(&mut told);
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 201);
}

impl Harness {
    /// A sync with nothing but new ones, as far as they fill it.
    fn time_to_sync_frame(&mut self, told: &mut Vec<String>) {
        let sync = loop {
            match self.try_sent() {
                Some(pb::frame::Body::Sync(sync)) => break sync,
                Some(_) => {}
                None => self.pass(100 * MS),
            }
            self.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        };
        assert!(frame::encode(pb::frame::Body::Sync(sync.clone())).len() <= 1000);
        let new: Vec<String> = sync.cursors.into_iter().map(|cursor| cursor.channel).collect();
        told.extend(new.into_iter().filter(|channel| !told.contains(channel)).collect::<Vec<_>>());
        // Something comes, so the next one follows at once.
        let next = self.core.logs.position(&Log::Inbox) + 1;
        self.receive(entry("", next));
        self.receive(sync_done(&[]));
    }
}

#[test]
fn an_id_that_is_not_known_differs_from_none() {
    let mut test = Harness::following();
    test.receive(reset(cursor("", 15, 0), pb::ResetReason::Trimmed));
    test.receive(sync_done(&[at("", 15), cursor(TEAM, 20, 0)]));
    test.receive(entry("", 15));
    let position = Position { log: Log::Inbox, seq: 15, id: None };
    test.core.handle_ack(test.now, position);
    test.save();
    assert_eq!(test.store.load().unwrap().cursors, [SavedCursor { channel: String::new(), seq: 15, id: 0 }]);
    assert_eq!(
        (test.shown(), test.time_to_sync(60 * SECOND)),
        (vec!["reset inbox 15 trimmed".to_owned()], None)
    );
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
