//! Changes of the network, and applications in the background.

use super::*;

fn is_away(test: &Harness) -> bool {
    (test.core.state(), test.core.is_away()) == (State::Disconnected, true)
}

#[test]
fn a_silent_connection_is_given_up_soon_after_the_network_changed() {
    let mut test = Harness::connected();
    test.core.handle_network_changed(test.now);
    assert!(matches!(test.sent(), pb::frame::Body::Ping(_)));
    test.pass(PROBE_TIMEOUT - MS);
    assert_eq!(test.core.state(), State::Connected);
    test.pass(MS);
    assert_eq!(test.core.state(), State::Waiting);

    let mut test = Harness::connected();
    test.core.handle_network_changed(test.now);
    let pb::frame::Body::Ping(ping) = test.sent() else { panic!("no ping") };
    test.receive(pb::frame::Body::Pong(pb::Pong { echo: ping.echo }));
    test.pass(PROBE_TIMEOUT);
    assert_eq!(test.core.state(), State::Connected, "the server has answered");
}

#[test]
fn an_attempt_begins_anew_when_the_network_changed() {
    let mut test = Harness::new();
    test.core.handle_network_changed(test.now);
    assert_eq!((test.core.state(), test.core.poll_action()), (State::Disconnected, None));
    test.core.handle_connect(test.now);
    assert!(matches!(test.action(), Action::AskToken(_)));
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let race = test.action();
    test.core.handle_network_changed(test.now);
    assert_eq!(test.action(), race);
    test.core.handle_unreachable(test.now, "test".to_owned());
    assert_eq!(test.core.state(), State::Waiting);
    test.core.handle_network_changed(test.now);
    test.connect_all_the_way();
}

#[test]
fn an_attempt_that_waits_for_the_welcome_begins_anew_as_well() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    assert!(matches!(test.action(), Action::AskToken(_)));
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let Action::Connect(rounds) = test.action() else { panic!("no race") };
    let endpoint = rounds[0].websocket.clone().unwrap();
    test.core.handle_established(test.now, Via { transport: Transport::WebSocket, endpoint }, 0);
    test.core.handle_network_changed(test.now);
    assert_eq!(test.close_code(), CloseCode::ClientClosed);
    test.connect_all_the_way();
}

#[test]
fn the_background_waits_for_the_answers_to_what_was_sent() {
    let mut test = Harness::connected();
    let local_id = test.taken("bob");
    test.core.handle_background(test.now, test.now + SECOND);
    let publish = test.sent_publish();
    assert_eq!((test.core.state(), test.core.poll_timeout()), (State::Connected, Some(test.now + SECOND)));
    test.receive(accepted(publish.number));
    assert!(is_away(&test));
    assert_eq!(test.close_code(), CloseCode::ClientClosed);
    let events = test.events();
    assert!(
        events.iter().any(|event| matches!(event, Event::Published { local_id: id, .. } if *id == local_id))
    );
    assert!(events.iter().any(|event| matches!(event, Event::Disconnected { retry_in: None, .. })));

    test.core.handle_foreground(test.now);
    test.connect_all_the_way();
}

#[test]
fn the_background_waits_no_longer_than_it_may() {
    let mut test = Harness::connected();
    test.taken("bob");
    test.core.handle_background(test.now, test.now + SECOND);
    let first = test.sent_publish();
    test.pass(SECOND);
    assert!(is_away(&test));
    test.pass(300 * SECOND);
    assert!(is_away(&test), "it connects by itself");
    test.core.handle_foreground(test.now);
    test.connect_all_the_way();
    test.receive(sync_done(&[]));
    assert_eq!(test.sent_publish(), first, "sent again under its number");
}

#[test]
fn an_acknowledgement_goes_out_before_the_background() {
    let mut test = Harness::connected();
    let reset = pb::Reset { cursor: Some(cursor("", 3, 1003)), reason: pb::ResetReason::New.into() };
    test.receive(pb::frame::Body::Reset(reset));
    let Some(Event::Reset { position, .. }) = test.events().pop() else { panic!("no reset") };
    test.core.handle_ack(test.now, position);
    test.core.handle_background(test.now, test.now + SECOND);
    assert_eq!(test.sent(), pb::frame::Body::Ack(pb::Ack { cursors: vec![cursor("", 3, 1003)] }));
    assert_eq!(test.try_sent(), None);
    assert!(is_away(&test));
}

#[test]
fn only_the_application_brings_a_client_back_that_was_not_connected() {
    for stopped in [false, true] {
        let mut test = Harness::connected();
        if stopped {
            test.closed_by_server(CloseCode::Replaced);
        } else {
            test.core.handle_disconnect();
        }
        let state = test.core.state();
        test.core.handle_background(test.now, test.now + SECOND);
        assert_eq!((test.core.state(), test.core.is_away()), (state, true));
        test.drain();
        test.core.handle_foreground(test.now);
        assert_eq!((test.core.state(), test.core.is_away(), test.core.poll_action()), (state, false, None));
        test.core.handle_connect(test.now);
        assert!(matches!(test.action(), Action::AskToken(_)));
    }
}

#[test]
fn what_the_application_asks_for_in_the_background_counts() {
    let mut test = Harness::connected();
    test.core.handle_background(test.now, test.now + SECOND);
    assert!(is_away(&test));
    test.core.handle_disconnect();
    test.core.handle_foreground(test.now);
    assert_eq!(test.core.state(), State::Disconnected, "it was disconnected in the background");

    let mut test = Harness::connected();
    test.core.handle_background(test.now, test.now + SECOND);
    test.drain();
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert!(!test.core.is_away());
    test.core.handle_background(test.now, test.now + SECOND);
    test.drain();
    assert!(is_away(&test));
}

#[test]
fn a_client_that_closes_does_not_go_into_the_background() {
    let mut test = Harness::connected();
    test.taken("bob");
    test.core.handle_close(test.now, SECOND);
    test.core.handle_background(test.now, test.now + 5 * SECOND);
    test.sent_publish();
    test.pass(SECOND);
    assert_eq!((test.core.state(), test.core.is_away()), (State::Closed, false));
}
