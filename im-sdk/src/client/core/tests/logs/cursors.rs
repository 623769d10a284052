//! Cursors: those in `Hello`, and those that are acknowledged and saved.

use super::*;

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
    // These entries have not arrived.
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
    // The cause of a sync may have lost the acknowledgement.
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
    let saved = SavedState { cursors: cursors.chain([inbox]).collect(), ..SavedState::default() };
    let mut test = Harness::with_store(1, MemoryStore::with(saved), Instant::now());
    test.core.handle_connect(test.now);
    let hello = test.connect_all_the_way();
    assert!(frame::encode(pb::frame::Body::Hello(hello.clone())).len() <= limits::MAX_HELLO_BYTES);
    let mut told: Vec<String> = hello.cursors.into_iter().map(|cursor| cursor.channel).collect();
    assert!((50..200).contains(&told.len()) && told[0].is_empty(), "{}", told.len());
    test.drain();
    // The server takes the last log for a new one.
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
    /// Takes the next sync, and adds the logs that it names for the first time.
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
        // An entry arrives, so the next sync follows at once.
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
