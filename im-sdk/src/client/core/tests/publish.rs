//! Publishes: order, limits and every outcome.

use super::*;
use crate::{client::MAX_QUEUED_PUBLISHES, id::MessageId};

fn ok(id: u64) -> Result<Published, &'static str> {
    Ok(Published { message_id: MessageId::from_u64(id), answer: Bytes::new() })
}

#[test]
fn one_per_conversation_and_numbers_in_order() {
    let mut test = Harness::connected();
    for (ticket, to) in [(1, "bob"), (2, "bob"), (3, "carol")] {
        test.publish(ticket, to);
    }
    let first = test.sent_publish();
    assert_eq!((first.number, first.to.as_str()), (1, "bob"));
    let second = test.sent_publish();
    assert_eq!((second.number, second.to.as_str()), (3, "carol"));
    assert_eq!(test.try_sent(), None);
    test.receive(accepted(1));
    assert_eq!(test.resolved(), [(1, ok(1))]);
    let third = test.sent_publish();
    assert_eq!((third.number, third.to.as_str()), (2, "bob"));
    test.receive(accepted(2));
    test.receive(accepted(2));
    test.receive(accepted(3));
    assert_eq!(test.resolved(), [(2, ok(2)), (3, ok(3))]);
    assert!(test.core.outbox.is_empty() && test.core.outbox.poll_timeout().is_none());
}

#[test]
fn the_servers_limits_hold() {
    let mut test = Harness::connected();
    for ticket in 0..5 {
        test.publish(ticket, &format!("user{ticket}"));
    }
    for _ in 0..3 {
        test.sent_publish();
    }
    assert_eq!(test.try_sent(), None);
    test.receive(accepted(2));
    assert_eq!(test.sent_publish().number, 4);
    let bob = recipient("bob");
    test.core.handle_publish(test.now, 9, bob.clone(), Content::text("x".repeat(1000)), None);
    test.core.handle_publish(test.now, 10, bob, Content::default(), None);
    assert_eq!(test.resolved()[1..], [(9, Err("too_large")), (10, Err("no_content"))]);
}

#[test]
fn a_limit_that_shrank_refuses_what_waited() {
    let mut test = Harness::new();
    test.core.handle_publish(test.now, 1, recipient("bob"), Content::text("x".repeat(1000)), None);
    test.publish(2, "bob");
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().content, Some(Content::text("hi").into()));
    assert_eq!(test.resolved(), [(1, Err("too_large"))]);
}

#[test]
fn the_queue_is_bounded() {
    let mut test = Harness::new();
    for ticket in 0..=MAX_QUEUED_PUBLISHES as u32 {
        test.publish(ticket, "bob");
    }
    assert_eq!(test.resolved(), [(MAX_QUEUED_PUBLISHES as u32, Err("queue_full"))]);
}

#[test]
fn what_was_not_sent_waits_for_a_connection() {
    let mut test = Harness::new();
    test.publish(1, "bob");
    test.pass(20 * SECOND);
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().number, 1);
    test.receive(accepted(1));
    assert_eq!(test.resolved(), [(1, ok(1))]);
}

#[test]
fn what_was_not_sent_times_out() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.publish(1, "bob");
    test.pass(SECOND);
    test.publish(2, "bob");
    test.pass(29 * SECOND - MS);
    assert_eq!(test.resolved(), []);
    test.pass(MS);
    assert_eq!(test.resolved(), [(1, Err("timed_out"))]);
    test.pass(SECOND);
    assert_eq!(test.resolved(), [(2, Err("timed_out"))]);
}

#[test]
fn who_never_connected_is_told_so() {
    let mut test = Harness::new();
    test.publish(1, "bob");
    test.pass(30 * SECOND);
    assert_eq!(test.resolved(), [(1, Err("not_connected"))]);
    // A connection was requested, and ended by the application.
    let mut test = Harness::connected();
    test.core.handle_disconnect();
    test.publish(1, "bob");
    test.pass(30 * SECOND);
    assert_eq!(test.resolved(), [(1, Err("not_connected"))]);
}

#[test]
fn who_stopped_says_why() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.closed_by_server(CloseCode::Kicked);
    test.publish(2, "bob");
    let stopped = PublishError::Stopped { reason: "test".to_owned() };
    for ticket in [1, 2] {
        assert_eq!(test.core.poll_resolved(), Some((ticket, Err(stopped.clone()))));
    }
}

#[test]
fn an_empty_text_is_no_content_unless_it_says_something_else() {
    let id = MessageId::from_u64(7).unwrap();
    let edit = |text| Content::new(crate::content::Change::edit(id, text));
    let mut test = Harness::connected();
    let contents = [
        (Content::text(""), true),
        (Content::text("").in_thread(id), true),
        (edit(Content::text("")), true),
        (Content::text("").mention_everybody(), false),
        (edit(Content::text(" ")), false),
    ];
    for (content, is_refused) in contents {
        assert_eq!(content.is_empty(), is_refused && content.as_change().is_none());
        test.core.handle_publish(test.now, 1, recipient("bob"), content.clone(), None);
        let refused = test.core.poll_resolved().map(|(_, outcome)| outcome);
        assert_eq!(refused, is_refused.then_some(Err(PublishError::NoContent)), "{content:?}");
    }
}

#[test]
fn a_text_may_be_as_long_as_documented() {
    use crate::proto::limits::{MAX_CONTENT_BYTES, MAX_TEXT_BYTES};
    let mut test = Harness::new();
    let text = |bytes| Content::text("x".repeat(bytes));
    test.core.handle_publish(test.now, 1, recipient(&"n".repeat(64)), text(MAX_TEXT_BYTES), None);
    test.core.handle_publish(test.now, 2, recipient("bob"), text(MAX_CONTENT_BYTES), None);
    let too_large = test.core.poll_resolved().unwrap();
    let PublishError::TooLarge { limit: MAX_CONTENT_BYTES, .. } = too_large.1.unwrap_err() else {
        panic!("another limit")
    };
    assert_eq!((too_large.0, test.core.poll_resolved()), (2, None), "the first one waits");
}

#[test]
fn what_was_sent_is_sent_again_under_its_number() {
    let mut test = Harness::connected();
    for (ticket, to) in [(1, "bob"), (2, "bob"), (3, "carol")] {
        test.publish(ticket, to);
    }
    let sent = [test.sent_publish(), test.sent_publish()];
    test.broken();
    assert_eq!(test.resolved(), []);
    test.pass(SECOND);
    test.connect_all_the_way();
    assert_eq!([test.sent_publish(), test.sent_publish()], sent);
    assert_eq!(test.try_sent(), None);
    test.receive(accepted(1));
    assert_eq!(test.sent_publish().number, 2);
    assert_eq!(test.resolved(), [(1, ok(1))]);
}

#[test]
fn what_was_sent_and_not_answered_in_time_has_no_known_outcome() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.sent_publish();
    let start = test.now;
    while test.resolved().is_empty() {
        test.pass(SECOND);
        test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        assert!(test.now <= start + 30 * SECOND);
    }
    test.receive(accepted(1));
    assert_eq!((test.resolved(), test.core.outbox.is_empty()), (vec![], true));
}

#[test]
fn an_unknown_outcome_is_unconfirmed() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.sent_publish();
    test.receive(pb::frame::Body::PublishResult(pb::PublishResult { number: 1, outcome: None }));
    assert_eq!(test.resolved(), [(1, Err("unconfirmed"))]);
}

#[test]
fn an_absent_back_end_is_asked_again_in_order() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.publish(2, "bob");
    assert_eq!(test.sent_publish().number, 1);
    test.receive(refused(1, pb::RefusalKind::Unavailable, 2000));
    test.pass(2 * SECOND - MS);
    assert_eq!(test.try_sent(), None);
    // The delay is up to twice as long, so that devices do not retry together.
    test.pass(2 * SECOND + MS);
    assert_eq!(test.sent_publish().number, 1);
    test.receive(accepted(1));
    assert_eq!(test.sent_publish().number, 2);
    assert_eq!(test.resolved(), [(1, ok(1))]);
}

#[test]
fn a_refusal_survives_the_loss_of_the_connection() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.sent_publish();
    test.receive(refused(1, pb::RefusalKind::TooMany, 100));
    test.broken();
    assert_eq!(test.resolved(), []);
    test.pass(SECOND);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().number, 1);
}

#[test]
fn other_refusals_are_final() {
    let cases = [
        (pb::RefusalKind::Rule, 0),
        (pb::RefusalKind::Invalid, 0),
        // The retry would come after the deadline.
        (pb::RefusalKind::TooMany, 30_000),
    ];
    for (kind, retry_after_ms) in cases {
        let mut test = Harness::connected();
        test.publish(1, "bob");
        test.sent_publish();
        test.receive(refused(1, kind, retry_after_ms));
        let (_, outcome) = test.core.poll_resolved().unwrap();
        let retry_after = (retry_after_ms > 0).then(|| MS * retry_after_ms);
        let expected =
            PublishError::Refused { kind: kind.into(), reason: "test".to_owned(), code: 7, retry_after };
        assert_eq!(outcome, Err(expected));
    }
}

#[test]
fn a_server_that_goes_gets_no_new_publishes_and_may_answer_the_old() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.sent_publish();
    test.receive(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms: 1000 }));
    while !matches!(&test.core.phase, Phase::Connected(session) if session.is_leaving()) {
        test.pass(MS);
    }
    test.publish(2, "carol");
    assert_eq!(test.try_sent(), None);
    assert_eq!(test.core.state(), State::Connected);
    test.receive(accepted(1));
    assert_eq!(test.core.state(), State::Waiting);
    assert_eq!(test.resolved(), [(1, ok(1))]);
    test.pass(Duration::ZERO);
    test.connect_all_the_way();
    assert_eq!(test.sent_publish().to, "carol");
}

#[test]
fn stopping_fails_what_waits() {
    let mut test = Harness::connected();
    for (ticket, to) in [(1, "bob"), (2, "bob")] {
        test.publish(ticket, to);
    }
    test.sent_publish();
    test.closed_by_server(CloseCode::Kicked);
    test.publish(3, "bob");
    assert_eq!(test.resolved(), [(1, Err("unconfirmed")), (2, Err("stopped")), (3, Err("stopped"))]);
}

#[test]
fn closing_waits_for_answers_for_a_while() {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.publish(2, "bob");
    test.core.handle_close(test.now, 5 * SECOND);
    test.publish(3, "bob");
    assert_eq!(test.resolved(), [(3, Err("closed"))]);
    assert_eq!(test.sent_publish().number, 1);
    test.receive(accepted(1));
    assert_eq!(test.sent_publish().number, 2);
    assert!(!test.core.is_closed());
    test.receive(accepted(2));
    assert!(test.core.is_closed());
    assert_eq!(test.close_code(), CloseCode::ClientClosed);
    assert_eq!(test.resolved(), [(1, ok(1)), (2, ok(2))]);

    let mut test = Harness::connected();
    test.publish(1, "bob");
    test.publish(2, "bob");
    test.sent_publish();
    test.core.handle_close(test.now, 5 * SECOND);
    test.pass(5 * SECOND);
    assert!(test.core.is_closed());
    assert_eq!(test.resolved(), [(1, Err("unconfirmed")), (2, Err("closed"))]);
    assert_eq!(test.core.poll_timeout(), None);
}

#[test]
fn closing_without_a_connection_does_not_wait() {
    let mut test = Harness::new();
    test.publish(1, "bob");
    test.core.handle_connect(test.now);
    test.core.handle_close(test.now, 5 * SECOND);
    assert!(test.core.is_closed());
    assert_eq!(test.resolved(), [(1, Err("closed"))]);
    test.core.handle_connect(test.now);
    test.core.handle_disconnect();
    assert_eq!(test.core.state(), State::Closed);
}

/// Tests an application that wants to wait for ever.
#[test]
fn the_longest_times_are_no_trouble() {
    let endpoints = vec!["ws://a:2".parse().unwrap()];
    let mut config = ClientConfig::new(endpoints, "desktop/d1".parse().unwrap(), Arc::new("token"));
    config.publish_timeout = Duration::MAX;
    config.request_timeout = Duration::MAX;
    config.cursor_check = Duration::MAX;
    let saved = SavedState { next_number: u64::MAX, ..SavedState::default() };
    let core = Core::new(&config, saved, StdRng::seed_from_u64(1));
    let mut test = Harness { core, ..Harness::new() };
    test.publish(1, "bob");
    test.publish(2, "carol");
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    test.core.handle_watch(test.now, 3, vec![UserId::parse("bob").unwrap()]);
    test.drain();
    test.pass(60 * SECOND);
    assert!(test.core.poll_answered(test.now).is_none());
}
