//! Sends: taken once they are saved, and then until they are answered.

use super::*;
use crate::{client::MAX_FAILED_SENDS, id::MessageId};

fn published(local_id: LocalId, id: u64) -> Event {
    Event::Published { local_id, message_id: MessageId::from_u64(id), answer: Bytes::new() }
}

/// Returns the outcomes of sends, as reported by events.
fn ends(test: &mut Harness) -> Vec<(u64, &'static str, bool)> {
    test.events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Published { local_id, .. } => Some((local_id.as_u64(), "published", false)),
            Event::PublishFailed { local_id, error, retryable } => {
                Some((local_id.as_u64(), error.code(), retryable))
            }
            _ => None,
        })
        .collect()
}

fn states(test: &Harness) -> Vec<(u64, &'static str)> {
    test.core.unsettled().iter().map(|one| (one.local_id.as_u64(), one.state.as_str())).collect()
}

#[test]
fn a_send_is_taken_when_it_is_saved_and_travels_after_that() {
    let mut test = Harness::connected();
    test.send(1, "bob");
    let batch = test.core.poll_save(test.now).unwrap();
    assert_eq!((batch.put[0].number, batch.next_number), (1, 2));
    assert_eq!(test.core.poll_save(test.now), None);
    assert_eq!((test.core.poll_transmit(test.now), test.core.poll_taken()), (None, None));
    test.core.handle_saved(test.now, Ok(()));
    let (_, taken) = test.core.poll_taken().unwrap();
    assert_eq!(test.sent_publish().number, 1);
    assert_eq!(states(&test), [(1, "sent")]);
    test.receive(accepted(1));
    assert_eq!(test.events(), [published(taken.unwrap(), 1)]);
    test.save();
    let saved = test.store.load().unwrap();
    assert_eq!((saved.outbox, saved.next_number, saved.next_local_id), (vec![], 2, 2));
}

#[test]
fn what_happens_during_a_save_is_in_the_next_batch() {
    let mut test = Harness::connected();
    test.send(1, "bob");
    assert_eq!(test.core.poll_save(test.now).unwrap().put.len(), 1);
    for ticket in 2..=9 {
        test.send(ticket, "bob");
    }
    test.core.handle_saved(test.now, Ok(()));
    assert_eq!(test.core.poll_save(test.now).unwrap().put.len(), 8);
}

#[test]
fn a_store_that_fails_takes_nothing_and_is_tried_again() {
    let mut test = Harness::connected();
    test.broken_store = Some(StoreError::Failed("full".to_owned()));
    test.send(1, "bob");
    test.publish(2, "carol");
    test.save();
    assert!(matches!(test.taken[..], [(_, Err(SendError::Store(_)))]));
    assert_eq!((test.resolved(), test.core.outbox.is_empty()), (vec![(2, Err("store"))], true));
    // The core does not try again at once.
    assert_eq!(test.core.poll_save(test.now), None);
    // A new send with a waiting caller is tried at once.
    test.send(3, "bob");
    test.save();
    assert!(matches!(test.taken[..], [_, (_, Err(SendError::Store(_)))]));
    test.broken_store = None;
    test.pass(SECOND);
    test.taken.clear();
    assert_eq!(test.taken("bob").as_u64(), 4);
    assert_eq!(test.store.load().unwrap().outbox.len(), 1);
}

#[test]
fn a_number_that_cannot_be_saved_is_not_used() {
    let mut test = Harness::connected();
    test.taken("bob");
    test.taken("bob");
    assert_eq!(test.sent_publish().number, 1);
    test.broken_store = Some(StoreError::Failed("full".to_owned()));
    test.receive(accepted(1));
    assert_eq!(test.try_sent(), None);
    test.broken_store = None;
    test.pass(20 * SECOND - MS);
    assert!(std::iter::from_fn(|| test.try_sent()).any(|body| matches!(body, pb::frame::Body::Publish(_))));
}

#[test]
fn a_crash_loses_nothing_and_keeps_order_and_numbers() {
    let mut test = Harness::connected();
    for to in ["bob", "bob", "carol", "bob"] {
        test.taken(to);
    }
    let sent = [test.sent_publish(), test.sent_publish()];
    assert_eq!((sent[0].number, sent[1].number), (1, 3));
    let mut test = test.crash();
    assert_eq!(states(&test), [(1, "sent"), (2, "pending"), (3, "sent"), (4, "pending")]);
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!([test.sent_publish(), test.sent_publish()], sent);
    test.receive(accepted(1));
    assert_eq!(test.sent_publish().number, 2);
    let mut test = test.crash();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    for number in [2, 3] {
        assert_eq!(test.sent_publish().number, number);
        test.receive(accepted(number));
    }
    assert_eq!(test.sent_publish().number, 4);
    test.receive(accepted(4));
    assert_eq!(ends(&mut test).iter().map(|end| end.0).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(test.taken("bob").as_u64() > 4);
}

#[test]
fn numbers_never_go_back() {
    let mut test = Harness::connected();
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..40 {
        let to = recipient("bob");
        test.core.handle_send(test.now, round, to, Content::text(round.to_string()), None);
        if round % 3 > 0 {
            test.save();
        }
        if round % 3 > 1 {
            let publish = test.sent_publish();
            let largest = seen.last_key_value().map_or(0, |(number, _)| *number);
            let first = seen.entry(publish.number).or_insert_with(|| publish.clone());
            assert!(*first == publish && publish.number >= largest);
            test.receive(accepted(publish.number));
            // A result that is not saved leads to a repetition.
            if round % 2 == 0 {
                test.save();
            }
        }
        test = test.crash();
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
    }
    assert!(seen.len() > 5);
}

#[test]
fn what_someone_waited_for_is_sent_by_the_next_process_too() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    let sent = test.sent_publish();
    let mut test = test.crash();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish(), sent);
    test.receive(accepted(1));
    assert_eq!(ends(&mut test), [(1, "published", false)]);
}

#[test]
fn a_send_waits_as_long_as_it_takes() {
    let mut test = Harness::connected();
    test.taken("bob");
    let sent = test.sent_publish();
    for _ in 0..50 {
        test.receive(refused(1, pb::RefusalKind::Unavailable, 1000));
        let start = test.now;
        while test.try_sent() != Some(pb::frame::Body::Publish(sent.clone())) {
            test.pass(100 * MS);
            test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        }
        assert!((SECOND..31 * SECOND).contains(&(test.now - start)));
    }
    test.core.handle_disconnect();
    test.pass(24 * 3600 * SECOND);
    test.closed_by_server(CloseCode::Kicked);
    assert_eq!(states(&test), [(1, "sent")]);
}

#[test]
fn what_a_server_forgets_is_sent_again() {
    let mut test = Harness::connected();
    test.taken("bob");
    let sent = pb::frame::Body::Publish(test.sent_publish());
    for _ in 0..59 {
        test.pass(SECOND);
        test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        assert!(!std::iter::from_fn(|| test.try_sent()).any(|body| body == sent));
    }
    test.pass(SECOND);
    assert!(std::iter::from_fn(|| test.try_sent()).any(|body| body == sent));
}

#[test]
fn a_failure_stays_until_it_is_discarded() {
    let mut test = Harness::connected();
    let local_id = test.taken("bob");
    test.taken("bob");
    test.sent_publish();
    assert!(!test.core.handle_discard(local_id), "it is on its way");
    test.receive(refused(1, pb::RefusalKind::Rule, 0));
    assert_eq!(ends(&mut test), [(1, "refused", false)]);
    assert_eq!(states(&test), [(1, "failed"), (2, "pending")]);
    test.save();
    let mut test = test.crash();
    let [Event::PublishFailed { error: PublishError::Refused { reason, code: 7, .. }, .. }] =
        &test.events()[..]
    else {
        panic!("not told again")
    };
    assert_eq!(reason, "test");
    assert!(test.core.handle_discard(local_id));
    assert!(!test.core.handle_discard(local_id));
    test.save();
    let mut test = test.crash();
    assert_eq!((ends(&mut test), test.core.unsettled()[0].state), (vec![], SendState::Sent));
}

#[test]
fn what_never_travelled_can_be_discarded() {
    let mut test = Harness::new();
    for to in ["bob", "bob", "carol"] {
        test.taken(to);
    }
    for number in [1, 2] {
        assert!(test.core.handle_discard(LocalId::from_u64(number)));
    }
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().to, "carol");
    assert_eq!((test.try_sent(), states(&test)), (None, vec![(3, "sent")]));
}

#[test]
fn failures_are_bounded() {
    let mut test = Harness::connected();
    for _ in 0..MAX_FAILED_SENDS + 5 {
        test.taken("bob");
        let number = test.sent_publish().number;
        test.receive(refused(number, pb::RefusalKind::Rule, 0));
    }
    test.save();
    let saved = test.store.load().unwrap();
    assert_eq!((saved.outbox.len(), saved.outbox[0].local_id), (MAX_FAILED_SENDS, 6));
    assert_eq!(test.core.unsettled().len(), MAX_FAILED_SENDS);
}

#[test]
fn what_cannot_be_sent_is_not_taken() {
    let mut test = Harness::connected();
    let bob = recipient("bob");
    test.core.handle_send(test.now, 1, bob.clone(), Content::text("x".repeat(1000)), None);
    test.core.handle_send(test.now, 2, bob.clone(), Content::default(), None);
    test.core.handle_close(test.now, Duration::ZERO);
    test.core.handle_send(test.now, 3, bob, Content::text("hi"), None);
    test.save();
    let codes: Vec<_> = test.taken.iter().map(|(_, taken)| taken.as_ref().unwrap_err().code()).collect();
    assert_eq!(codes, ["too_large", "no_content", "closed"]);
    assert_eq!(test.store.load().unwrap().outbox, []);
}

#[test]
fn closing_leaves_sends_in_the_store() {
    let mut test = Harness::connected();
    test.send(1, "bob");
    test.core.handle_close(test.now, Duration::ZERO);
    assert!(test.core.is_closed());
    test.save();
    assert!(test.taken[0].1.is_ok());
    let mut test = test.crash();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().number, 1);
}

#[test]
fn a_store_of_another_user_is_not_used() {
    let mut test = Harness::connected();
    test.taken("bob");
    assert_eq!(test.store.load().unwrap().user, "alice");
    let mut saved = test.store.load().unwrap();
    saved.user = "carol".to_owned();
    let mut test = Harness::with_store(1, MemoryStore::with(saved), test.now);
    test.core.handle_connect(test.now);
    test.action();
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let Action::Connect(rounds) = test.action() else { panic!("no race") };
    let endpoint = rounds[0].websocket.clone().unwrap();
    test.core.handle_established(test.now, Via { transport: Transport::WebSocket, endpoint }, 0);
    test.sent();
    test.receive(welcome());
    assert_eq!((test.core.state(), test.try_sent()), (State::Stopped, None));
}

/// Receives a message with this origin, and returns its local id.
fn pushed(test: &mut Harness, from: &str, origin: u64) -> Option<LocalId> {
    let pb::frame::Body::Push(push) = push(99, from) else { panic!("no push") };
    let message = push.message.map(|message| pb::Message { origin, ..message });
    test.receive(pb::frame::Body::Push(pb::Push { message, ..push }));
    let message = |event| if let Event::Message(message) = event { Some(message) } else { None };
    test.events().into_iter().find_map(message).expect("the message").local_id
}

#[test]
fn a_device_knows_its_own_sends_again_after_a_restart_too() {
    let mut test = Harness::connected();
    let sent = [test.taken("bob"), test.taken("carol")];
    let origins = [test.sent_publish().origin, test.sent_publish().origin];
    assert!(origins.iter().all(|origin| *origin > 1 << 16), "they say nothing: {origins:?}");
    test.receive(accepted(1));
    for _ in 0..2 {
        assert_eq!(origins.map(|origin| pushed(&mut test, "alice", origin)), sent.map(Some));
        assert_eq!(pushed(&mut test, "bob", origins[0]), None, "another user may say what he likes");
        assert_eq!(pushed(&mut test, "alice", origins[0] ^ 1), None, "another device of this user");
        assert_eq!(pushed(&mut test, "alice", 0), None);
        test.save();
        test = test.crash();
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
        test.drain();
    }
    // A repeated publish has the same origin. Another store does not recognise it.
    let mut again = test.crash();
    again.core.handle_connect(again.now);
    again.connect_all_the_way();
    assert_eq!(again.sent_publish().origin, origins[1]);
    let mut other = Harness::seeded(2);
    other.core.handle_connect(other.now);
    other.connect_all_the_way();
    assert_eq!(pushed(&mut other, "alice", origins[0]), None);
}

fn settled(test: &mut Harness) -> Vec<(u64, Result<(), &'static str>)> {
    std::iter::from_fn(|| test.core.poll_settled())
        .map(|(local_id, outcome)| (local_id.as_u64(), outcome.map(drop).map_err(|error| error.code())))
        .collect()
}

/// Retries a failed send, and takes the id of the new one.
fn retried(test: &mut Harness, failed: LocalId) -> LocalId {
    assert_eq!(test.core.handle_retry(9, failed), Ok(()));
    test.save();
    test.taken.pop().expect("an answer").1.expect("taken")
}

#[test]
fn outcomes_are_told_beside_the_events() {
    let mut test = Harness::connected();
    for _ in 0..3 {
        test.taken("bob");
    }
    assert_eq!(settled(&mut test), []);
    test.sent_publish();
    test.receive(accepted(1));
    test.sent_publish();
    test.receive(refused(2, pb::RefusalKind::Rule, 0));
    assert!(test.core.handle_discard(LocalId::from_u64(3)));
    assert_eq!(settled(&mut test), [(1, Ok(())), (2, Err("refused")), (3, Err("discarded"))]);
    assert_eq!(ends(&mut test), [(1, "published", false), (2, "refused", false)]);
}

#[test]
fn a_send_with_a_limit_fails_when_it_is_over() {
    let mut test = Harness::connected();
    test.core.handle_send(test.now, 1, recipient("bob"), Content::text("hi"), Some(SECOND));
    test.core.handle_send(test.now, 2, recipient("carol"), Content::text("hi"), Some(Duration::MAX));
    test.save();
    test.broken();
    test.pass(SECOND - MS);
    assert_eq!(ends(&mut test), []);
    test.pass(MS);
    assert_eq!(
        (ends(&mut test), states(&test)),
        (vec![(1, "timed_out", true)], vec![(1, "failed"), (2, "pending")])
    );
    assert_eq!(settled(&mut test), [(1, Err("timed_out"))]);
}

#[test]
fn a_limit_that_is_over_before_the_send_is_saved_fails_it_too() {
    let mut test = Harness::connected();
    test.core.handle_send(test.now, 1, recipient("bob"), Content::text("hi"), Some(Duration::ZERO));
    test.core.handle_timeout(test.now);
    test.save();
    assert_eq!(test.taken, [(1, Ok(LocalId::from_u64(1)))]);
    assert_eq!((settled(&mut test), test.try_sent()), (vec![(1, Err("timed_out"))], None));
}

#[test]
fn a_retry_takes_the_place_of_what_failed() {
    let mut test = Harness::connected();
    let failed = test.taken("bob");
    assert_eq!(test.core.handle_retry(9, failed), Err(9), "it has not failed");
    test.sent_publish();
    test.receive(refused(1, pb::RefusalKind::TooMany, 0));
    let new = retried(&mut test, failed);
    assert_eq!((new.as_u64(), states(&test)), (2, vec![(2, "pending")]));
    assert_eq!(test.core.handle_retry(9, failed), Err(9), "it was retried");
    let mut test = test.crash();
    assert_eq!((ends(&mut test), states(&test)), (vec![], vec![(2, "sent")]), "the failed one is forgotten");
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    let publish = test.sent_publish();
    assert_eq!((publish.number, publish.content.map(Content::from)), (2, Some(Content::text("hi"))));
    test.receive(accepted(2));
    assert_eq!(ends(&mut test), [(2, "published", false)]);
}

#[test]
fn a_retry_that_cannot_be_saved_leaves_what_failed() {
    let mut test = Harness::connected();
    let failed = test.taken("bob");
    test.sent_publish();
    test.receive(refused(1, pb::RefusalKind::TooMany, 0));
    // The failure is not even saved when it is retried, twice.
    test.broken_store = Some(StoreError::Failed("full".to_owned()));
    for _ in 0..2 {
        assert_eq!(test.core.handle_retry(9, failed), Ok(()));
        assert_eq!(test.core.handle_retry(9, failed), Err(9), "a retry is under way");
        test.save();
        assert!(matches!(test.taken.pop(), Some((9, Err(SendError::Store(_))))));
        assert_eq!(states(&test), [(1, "failed")]);
    }
    test.broken_store = None;
    test.pass(SECOND);
    test.save();
    let mut test = test.crash();
    test.events();
    assert_eq!(states(&test), [(1, "failed")]);
    retried(&mut test, failed);
    let saved = test.store.load().unwrap().outbox;
    assert_eq!(saved.iter().map(|publish| publish.local_id).collect::<Vec<_>>().len(), 1);
}
