//! Stores restored from an old copy: new messages arrive, and no earlier message is sent twice or reported as failed.

use std::collections::BTreeMap;

use super::*;

const USED: pb::RefusalKind = pb::RefusalKind::NumberUsed;

/// Connects, and leaves frames to send in the core.
fn connect(test: &mut Harness) {
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
}

fn say(test: &mut Harness, to: &str, text: &str) -> LocalId {
    test.core.handle_send(test.now, SEND, recipient(to), Content::text(text), None);
    test.save();
    test.taken.pop().expect("an answer").1.expect("taken")
}

/// Returns the text and the identity of a publish.
fn identity(publish: &pb::Publish) -> (String, u64, u64, u64) {
    let text = Content::from(publish.content.clone()).as_text().unwrap().to_owned();
    (text, publish.installation, publish.number, publish.origin)
}

/// Sends a message, and returns the state of the store after it.
fn backup() -> SavedState {
    let mut test = Harness::connected();
    say(&mut test, "bob", "before");
    let number = test.sent_publish().number;
    test.receive(accepted(number));
    test.save();
    test.store.load().unwrap()
}

/// Starts a process from the backup, and connects.
fn restored(seed: u64) -> Harness {
    let mut test = Harness::restored(&backup(), seed);
    connect(&mut test);
    test.drain();
    test
}

fn ends(test: &mut Harness) -> Vec<(u64, &'static str)> {
    let end = |event| match event {
        Event::Published { local_id, .. } => Some((local_id.as_u64(), "published")),
        Event::PublishFailed { local_id, error, retryable: false } => Some((local_id.as_u64(), error.code())),
        Event::PublishFailed { .. } => panic!("it may have arrived: {event:?}"),
        _ => None,
    };
    test.events().into_iter().filter_map(end).collect()
}

#[test]
fn a_new_message_whose_number_was_used_is_sent_under_another_installation() {
    let mut test = restored(2);
    let local_id = say(&mut test, "bob", "new");
    let first = test.sent_publish();
    test.receive(refused(first.number, USED, 0));
    assert_eq!(test.core.poll_transmit(test.now), None, "its new number is not saved");
    let batch = test.core.poll_save(test.now).unwrap();
    assert_eq!(test.core.poll_transmit(test.now), None);
    test.core.handle_saved(test.now, Ok(()));
    let second = test.sent_publish();
    let saved = &batch.put[0];
    assert_eq!((saved.installation, saved.number, saved.sent), (second.installation, second.number, true));
    assert_eq!(batch.installation, second.installation);
    assert!(second.installation != first.installation && second.number > first.number);
    assert_eq!((second.content, second.origin), (first.content, first.origin));
    test.receive(accepted(second.number));
    assert_eq!(ends(&mut test), [(local_id.as_u64(), "published")]);
    // Later messages have the same installation, even after a restart.
    say(&mut test, "bob", "newer");
    let third = test.sent_publish();
    assert_eq!(third.installation, second.installation);
    test.receive(accepted(third.number));
    let mut test = test.crash();
    connect(&mut test);
    say(&mut test, "bob", "newest");
    assert_eq!(test.sent_publish().installation, second.installation);
}

#[test]
fn several_at_once_get_one_new_installation_and_keep_their_order() {
    let mut test = restored(2);
    for (to, text) in [("bob", "b1"), ("bob", "b2"), ("carol", "c1"), ("#bob", "r1"), ("bob", "b3")] {
        say(&mut test, to, text);
    }
    let mut arrived = Vec::new();
    let mut installations = BTreeMap::<u64, usize>::new();
    while let Some(body) = test.try_sent() {
        let pb::frame::Body::Publish(publish) = body else { continue };
        *installations.entry(publish.installation).or_default() += 1;
        // All numbers of the old installation are used.
        if publish.installation == backup().installation {
            test.receive(refused(publish.number, USED, 0));
        } else {
            arrived.push(identity(&publish).0);
            test.receive(accepted(publish.number));
        }
    }
    assert_eq!(installations.len(), 2, "{installations:?}");
    arrived.sort_by_key(|text| text.starts_with('b'));
    assert_eq!(arrived[2..], ["b1", "b2", "b3"]);
    assert_eq!(arrived.len(), 5);
}

#[test]
fn a_message_of_the_backup_is_sent_under_its_number_or_not_at_all() {
    // None of these messages was sent when the backup was made, and some were not the first of their conversation.
    let mut test = Harness::new();
    for (to, text) in [("bob", "b1"), ("bob", "b2"), ("carol", "c1"), ("carol", "c2"), ("bob", "b3")] {
        say(&mut test, to, text);
    }
    let backup = test.store.load().unwrap();
    // Answers come in different orders, with other messages in between.
    let runs = [("carol", 3), ("bob", 5)].map(|(first, seed)| {
        let mut test = Harness::restored(&backup, seed);
        connect(&mut test);
        let mut sent = BTreeMap::new();
        let mut open = Vec::new();
        for round in 0..20 {
            while let Some(body) = test.try_sent() {
                let pb::frame::Body::Publish(publish) = body else { continue };
                open.push((publish.to.clone(), publish.number));
                sent.insert(identity(&publish).0, identity(&publish));
            }
            if round == 1 {
                say(&mut test, "carol", &format!("new {seed}"));
            }
            open.sort_by_key(|(to, number)| (to == first, *number));
            if let Some((_, number)) = open.pop() {
                test.receive(accepted(number));
            }
        }
        assert_eq!((sent.len(), test.core.unsettled()), (6, vec![]));
        sent
    });
    let [one, other] = &runs;
    for text in ["b1", "b2", "b3", "c1", "c2"] {
        assert_eq!(one[text], other[text], "another process sends the same");
    }
    assert_ne!(one["new 3"].3, other["new 5"].3, "an origin is of one message");
}

#[test]
fn a_message_of_the_backup_whose_number_was_used_may_have_arrived() {
    let mut test = Harness::new();
    let ids = ["b1", "b2"].map(|text| say(&mut test, "bob", text).as_u64());
    let mut test = Harness::restored(&test.store.load().unwrap(), 3);
    connect(&mut test);
    for _ in ids {
        let number = test.sent_publish().number;
        test.receive(refused(number, USED, 0));
    }
    assert_eq!(ends(&mut test), ids.map(|id| (id, "unconfirmed")));
    assert_eq!(test.try_sent(), None);
    // Later messages arrive.
    say(&mut test, "bob", "b3");
    let number = test.sent_publish().number;
    test.receive(refused(number, USED, 0));
    assert_eq!(identity(&test.sent_publish()).0, "b3");
}

#[test]
fn a_process_that_dies_before_the_new_number_is_saved_sends_nothing_twice() {
    let mut test = restored(2);
    let local_id = say(&mut test, "bob", "new").as_u64();
    let first = test.sent_publish();
    test.receive(refused(first.number, USED, 0));
    let mut dead = test.crash();
    connect(&mut dead);
    assert_eq!(dead.sent_publish(), first, "under the number that it was saved with");
    dead.receive(refused(first.number, USED, 0));
    assert_eq!((ends(&mut dead), dead.try_sent()), (vec![(local_id, "unconfirmed")], None));

    // Once the new number is saved, the next process uses it.
    let mut test = restored(2);
    say(&mut test, "bob", "new");
    let first = test.sent_publish();
    test.receive(refused(first.number, USED, 0));
    test.save();
    let mut test = test.crash();
    connect(&mut test);
    let second = test.sent_publish();
    assert_ne!(second.installation, first.installation);
    test.receive(accepted(second.number));
    assert_eq!(ends(&mut test), [(local_id, "published")]);
}

/// The store is restored while a process still runs on the original: the two processes replace each other's connection, and both send.
#[test]
fn a_message_with_a_lost_answer_is_not_sent_under_another_number() {
    let mut test = restored(2);
    let local_id = say(&mut test, "bob", "new").as_u64();
    let first = test.sent_publish();
    test.broken();
    test.pass(SECOND);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish(), first);
    // The first try was accepted, and then a higher number of the other process.
    test.receive(refused(first.number, USED, 0));
    assert_eq!((ends(&mut test), test.try_sent()), (vec![(local_id, "unconfirmed")], None));
}

/// A later process cannot know that the message was made after the restore.
#[test]
fn what_is_taken_without_a_connection_is_of_an_installation_of_its_own() {
    let backup = backup();
    let mut test = Harness::restored(&backup, 2);
    say(&mut test, "bob", "offline");
    say(&mut test, "bob", "offline too");
    let mut test = test.crash();
    connect(&mut test);
    let [first, second] = [(); 2].map(|()| {
        let publish = test.sent_publish();
        test.receive(accepted(publish.number));
        publish
    });
    assert!(first.installation != backup.installation && first.installation == second.installation);
    // A process draws at most one installation, and none without need.
    test.save();
    say(&mut test, "bob", "online");
    let online = test.sent_publish();
    assert_eq!(online.installation, first.installation);
    test.broken();
    say(&mut test, "carol", "offline again");
    say(&mut test, "carol", "and again");
    let installations: Vec<u64> =
        test.store.load().unwrap().outbox.iter().map(|publish| publish.installation).collect();
    assert_eq!(installations[0], first.installation);
    assert!(installations[1] != first.installation && installations[1] == installations[2]);
}

#[test]
fn a_restored_device_knows_its_own_messages() {
    let mut test = Harness::connected();
    let before = say(&mut test, "bob", "before");
    let publish = test.sent_publish();
    test.receive(accepted(publish.number));
    test.save();
    let backup = test.store.load().unwrap();
    let since = say(&mut test, "bob", "since");
    let lost = test.sent_publish().origin;
    let mut test = Harness::restored(&backup, 2);
    connect(&mut test);
    let new = say(&mut test, "bob", "new");
    assert_ne!(new, since, "a local id means one message");
    let first = test.sent_publish();
    test.receive(refused(first.number, USED, 0));
    let second = test.sent_publish();
    test.receive(accepted(second.number));
    assert_eq!(test.core.outbox.sent_with(publish.origin), Some(before));
    assert_eq!(test.core.outbox.sent_with(second.origin), Some(new));
    assert_eq!(
        test.core.outbox.sent_with(lost),
        Some(since),
        "it was sent from here, and is not shown as pending"
    );
    let test = test.crash();
    assert_eq!(test.core.outbox.sent_with(publish.origin), Some(before));
}

#[test]
fn a_server_that_calls_every_number_used_is_not_asked_for_ever() {
    let mut test = restored(2);
    let local_id = say(&mut test, "bob", "new").as_u64();
    let mut tries = 0;
    while let Some(body) = test.try_sent() {
        let pb::frame::Body::Publish(publish) = body else { continue };
        tries += 1;
        test.receive(refused(publish.number, USED, 0));
    }
    assert!((2..10).contains(&tries), "{tries}");
    assert_eq!(ends(&mut test), [(local_id, "refused")]);
}

#[test]
fn what_waits_behind_another_one_can_be_discarded_after_a_restart() {
    let mut test = Harness::new();
    let ids = ["b1", "b2"].map(|text| say(&mut test, "bob", text));
    let mut test = test.crash();
    assert!(!test.core.handle_discard(ids[0]), "it may have been sent");
    assert!(test.core.handle_discard(ids[1]));
    connect(&mut test);
    let number = test.sent_publish().number;
    test.receive(accepted(number));
    assert_eq!(test.try_sent(), None);
}

/// The user retries a failed send, before and after the restore.
#[test]
fn what_has_failed_is_sent_anew_under_one_number() {
    let mut test = Harness::connected();
    let failed = say(&mut test, "bob", "too much");
    test.sent_publish();
    test.receive(refused(1, pb::RefusalKind::TooMany, 0));
    say(&mut test, "bob", "other");
    let number = test.sent_publish().number;
    test.receive(accepted(number));
    test.save();
    let backup = test.store.load().unwrap();
    let mut anew = Vec::new();
    for seed in [2, 3] {
        let mut test = Harness::restored(&backup, seed);
        connect(&mut test);
        assert_eq!(test.core.handle_retry(9, failed), Ok(()));
        // In one of the runs, the process is killed before the retry is sent.
        if seed == 3 {
            test.save();
            test = test.crash();
            connect(&mut test);
        }
        let publish = test.sent_publish();
        test.receive(accepted(publish.number));
        assert_eq!(test.core.unsettled(), []);
        say(&mut test, "bob", "more");
        assert!(test.sent_publish().number > publish.number);
        anew.push((publish.installation, publish.number, publish.content));
    }
    assert_eq!(anew[0], anew[1]);
    assert_ne!(anew[0].0, backup.installation, "numbers that others are behind");
}

/// Earlier versions saved waiting sends without a number.
#[test]
fn a_store_of_an_earlier_version_goes_on() {
    let mut test = Harness::new();
    let ids = ["b1", "b2"].map(|text| say(&mut test, "bob", text).as_u64());
    let mut old = test.store.load().unwrap();
    old.origin_key = 0;
    (old.outbox[1].number, old.outbox[1].installation, old.outbox[1].sent) = (0, 0, false);
    old.next_number = 2;
    let mut test = Harness::restored(&old, 2);
    connect(&mut test);
    let first = test.sent_publish();
    assert_eq!((first.number, first.installation), (1, old.installation));
    test.receive(accepted(1));
    let second = test.sent_publish();
    assert!(second.number > 1 && second.installation == old.installation);
    test.receive(accepted(second.number));
    assert_eq!(ends(&mut test), ids.map(|id| (id, "published")));
    assert_eq!(test.store.load().unwrap().origin_key, old.installation);
}
