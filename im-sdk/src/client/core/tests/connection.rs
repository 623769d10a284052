//! Every transition of the connection.

use super::*;

fn retry_in(event: &Event) -> Duration {
    match event {
        Event::Disconnected { retry_in: Some(delay), .. } => *delay,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connecting_goes_through_token_race_and_hello() {
    let mut test = Harness::new();
    assert_eq!(test.core.state(), State::Disconnected);
    assert_eq!(test.core.poll_timeout(), None);
    test.core.handle_connect(test.now);
    test.core.handle_connect(test.now);
    assert_eq!(test.core.state(), State::Connecting);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::First));
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let Action::Connect(rounds) = test.action() else { panic!("no race") };
    assert_eq!(rounds.len(), 2);
    let endpoint = rounds[0].quic.clone().unwrap();
    test.core.handle_established(test.now, Via { transport: Transport::Quic, endpoint: endpoint.clone() }, 0);
    let pb::frame::Body::Hello(hello) = test.sent() else { panic!("no hello") };
    assert_eq!((hello.token.as_str(), hello.min_version, hello.max_version), ("token", 1, 1));
    assert_eq!(hello.device.unwrap().id, "d1");
    assert_eq!(test.try_sent(), None);
    assert_eq!(test.core.state(), State::Connecting);
    test.receive(welcome());
    assert_eq!((test.core.state(), test.core.transport()), (State::Connected, Some(Transport::Quic)));
    let user = UserId::parse("alice").unwrap();
    assert_eq!(test.events(), [Event::Connected { user, transport: Transport::Quic, endpoint }]);
    assert_eq!(test.core.poll_action(), None);
}

#[test]
fn an_unreachable_server_means_backoff() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    for attempt in 0..12 {
        assert!(matches!(test.action(), Action::AskToken(_)), "attempt {attempt}");
        test.core.handle_token(test.now, Ok("token".to_owned()));
        assert!(matches!(test.action(), Action::Connect(_)));
        test.core.handle_unreachable(test.now, "test".to_owned());
        assert_eq!(test.core.state(), State::Waiting);
        let delay = retry_in(&test.events()[0]);
        assert!(delay <= (500 * MS * 2_u32.pow(attempt)).min(30 * SECOND));
        assert_eq!(test.core.poll_timeout(), Some(test.now + delay));
        test.pass(delay);
    }
}

fn asks_for_endpoints(test: &mut Harness) -> bool {
    let actions: Vec<_> = std::iter::from_fn(|| test.core.poll_action()).collect();
    actions.contains(&Action::AskEndpoints)
}

/// Makes an attempt that fails. Returns `true` if endpoints were requested before it, and the endpoints of its rounds.
fn attempt(test: &mut Harness) -> (bool, Vec<String>) {
    let asked = asks_for_endpoints(test);
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let Action::Connect(rounds) = test.action() else { panic!("no race") };
    test.core.handle_unreachable(test.now, "test".to_owned());
    let delay = retry_in(test.events().last().unwrap());
    let known = rounds.into_iter().flat_map(|round| round.quic.into_iter().chain(round.websocket));
    let known = known.map(|endpoint| endpoint.to_string()).collect();
    test.pass(delay);
    (asked, known)
}

#[test]
fn when_all_endpoints_have_failed_others_are_asked_for() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    let all = ["quic://a:1", "ws://a:2/", "quic://b:1", "ws://b:2/"].map(str::to_owned).to_vec();
    assert_eq!(attempt(&mut test), (false, all.clone()));
    assert_eq!(attempt(&mut test), (true, all.clone()), "nothing was answered");
    test.core.handle_endpoints(&["wss://c".parse().unwrap()]);
    assert_eq!(attempt(&mut test), (true, vec!["wss://c:443/".to_owned()]));
    test.core.handle_endpoints(&[]);
    assert_eq!(attempt(&mut test).1, ["wss://c:443/"], "no answer takes nothing away");
}

/// A server that accepts connections and sends no welcome has failed, too.
#[test]
fn endpoints_fail_one_after_another_too() {
    let mut test = Harness::connected();
    let lose_and_try = |test: &mut Harness| {
        test.closed_by_server(CloseCode::GoingAway);
        let delay = retry_in(test.events().last().unwrap());
        test.pass(delay);
    };
    let establish = |test: &mut Harness, endpoint: &str| {
        test.core.handle_token(test.now, Ok("token".to_owned()));
        let via = Via { transport: Transport::WebSocket, endpoint: endpoint.parse().unwrap() };
        test.core.handle_established(test.now, via, 0);
    };
    lose_and_try(&mut test);
    assert!(!asks_for_endpoints(&mut test), "the other one has not failed");
    establish(&mut test, "ws://b:2");
    lose_and_try(&mut test);
    assert!(asks_for_endpoints(&mut test));
    establish(&mut test, "ws://a:2");
    test.receive(welcome());
    lose_and_try(&mut test);
    assert!(!asks_for_endpoints(&mut test), "the other one has not failed since the welcome");
}

#[test]
fn connecting_while_waiting_does_not_wait() {
    let mut test = Harness::connected();
    test.broken();
    assert_eq!(test.core.state(), State::Waiting);
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::Reconnect));
}

#[test]
fn a_connection_that_stayed_up_resets_the_backoff() {
    for (up, ceiling) in [(SECOND, 30 * SECOND), (STABLE_AFTER, 500 * MS)] {
        let mut longest = Duration::ZERO;
        for seed in 0..50 {
            let mut test = Harness::seeded(seed);
            test.core.handle_connect(test.now);
            for _ in 0..10 {
                test.connect_all_the_way();
                test.broken();
                let delay = retry_in(&test.events()[1]);
                test.pass(delay);
            }
            test.connect_all_the_way();
            // Not by `pass`, since pings are not answered here.
            test.now += up;
            test.broken();
            longest = longest.max(retry_in(&test.events()[1]));
        }
        assert!(longest <= ceiling && longest > ceiling / 2, "{longest:?}");
    }
}

#[test]
fn token_errors_wait_or_stop() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::First));
    test.core.handle_token(test.now, Err(TokenError::Unavailable("offline".to_owned())));
    test.pass(SECOND);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::First));
    test.core.handle_token(test.now, Err(TokenError::Denied("logged out".to_owned())));
    assert_eq!(test.core.state(), State::Stopped);
    assert_eq!(
        test.events()[1],
        Event::Stopped { code: None, cause: StopCause::Token, reason: "logged out".to_owned() }
    );
    test.pass(3600 * SECOND);
    assert_eq!(test.core.state(), State::Stopped);
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::First));
    test.core.handle_token(test.now, Ok("x".repeat(limits::MAX_HELLO_BYTES)));
    assert_eq!(test.core.state(), State::Stopped);
}

#[test]
fn an_application_that_is_opened_again_goes_on_with_its_login() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    assert!(!test.connect_all_the_way().resumes, "a new store is a new login");
    test.save();
    test.broken();
    test.pass(SECOND);
    assert!(test.connect_all_the_way().resumes, "and stays the same over connections");
    let mut test = test.crash();
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::Reopened));
    test.core.handle_token(test.now, Err(TokenError::Unavailable(String::new())));
    test.pass(SECOND);
    assert!(test.connect_all_the_way().resumes);
    // A device that reconnects after it was replaced does so on purpose, so this is a new login.
    test.closed_by_server(CloseCode::Replaced);
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::First));
    test.core.handle_token(test.now, Err(TokenError::Unavailable(String::new())));
    test.pass(SECOND);
    assert!(!test.connect_all_the_way().resumes);
}

#[test]
fn another_token_is_no_refused_one() {
    let mut test = Harness::connected();
    test.closed_by_server(CloseCode::TokenExpired);
    test.pass(SECOND);
    assert!(matches!(test.action(), Action::AskToken(TokenRequest::Rejected { .. })));
    test.core.handle_token(test.now, Err(TokenError::Denied("the only token was refused".to_owned())));
    assert_eq!(test.core.state(), State::Stopped);
    test.core.handle_new_token();
    test.core.handle_connect(test.now);
    assert_eq!(test.action(), Action::AskToken(TokenRequest::Reconnect));
}

#[test]
fn close_codes_carry_the_policy() {
    let never =
        [CloseCode::Kicked, CloseCode::Replaced, CloseCode::UnsupportedVersion, CloseCode::Unknown(4555)];
    for code in never {
        let mut test = Harness::connected();
        test.closed_by_server(code);
        assert_eq!(test.core.state(), State::Stopped);
        assert_eq!(
            test.events(),
            [Event::Stopped { code: Some(code), cause: StopCause::Server(code), reason: "test".to_owned() }]
        );
    }
    for code in [CloseCode::TokenExpired, CloseCode::TokenInvalid, CloseCode::Unknown(4300)] {
        let mut test = Harness::connected();
        test.closed_by_server(code);
        test.pass(SECOND);
        let rejected = TokenRequest::Rejected { code, reason: "test".to_owned() };
        assert_eq!(test.action(), Action::AskToken(rejected.clone()));
        // The request was not answered, so it stays the same.
        test.core.handle_token(test.now, Err(TokenError::Unavailable(String::new())));
        test.pass(SECOND);
        assert_eq!(test.action(), Action::AskToken(rejected));
    }
    for code in [CloseCode::SlowConsumer, CloseCode::Overloaded, CloseCode::Unknown(1006)] {
        let mut test = Harness::connected();
        test.closed_by_server(code);
        assert!(retry_in(&test.events()[0]) <= 500 * MS);
        test.pass(SECOND);
        assert_eq!(test.action(), Action::AskToken(TokenRequest::Reconnect));
    }
}

#[test]
fn a_failed_server_is_the_last_to_be_tried_again() {
    for (code, first) in
        [(CloseCode::Overloaded, "b"), (CloseCode::SlowConsumer, "a"), (CloseCode::TokenExpired, "a")]
    {
        let mut test = Harness::connected();
        test.closed_by_server(code);
        test.pass(SECOND);
        test.action();
        test.core.handle_token(test.now, Ok("token".to_owned()));
        let Action::Connect(rounds) = test.action() else { panic!("no race") };
        assert_eq!(rounds[0].quic.as_ref().unwrap().host(), first, "{code}");
    }
}

#[test]
fn rounds_that_failed_are_the_last_to_be_tried_again() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.action();
    test.core.handle_token(test.now, Ok("token".to_owned()));
    let Action::Connect(rounds) = test.action() else { panic!("no race") };
    let endpoint = rounds[1].quic.clone().unwrap();
    test.core.handle_established(test.now, Via { transport: Transport::Quic, endpoint }, 1);
    assert_eq!(test.core.endpoints.rounds(), [rounds[1].clone(), rounds[0].clone()]);
}

#[test]
fn no_welcome_in_time_is_a_failure() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.action();
    test.core.handle_token(test.now, Ok("token".to_owned()));
    test.action();
    let via = Via { transport: Transport::Quic, endpoint: "quic://a:1".parse().unwrap() };
    test.core.handle_established(test.now, via, 0);
    test.sent();
    test.receive(pb::frame::Body::Ping(pb::Ping { echo: 3 }));
    assert_eq!(test.sent(), pb::frame::Body::Pong(pb::Pong { echo: 3 }));
    test.pass(WELCOME_TIMEOUT);
    assert_eq!(test.core.state(), State::Waiting);
    assert_eq!(test.close_code(), CloseCode::IdleTimeout);
}

#[test]
fn heartbeats_keep_a_connection_and_silence_ends_it() {
    let mut test = Harness::connected();
    for echo in 1..=5 {
        test.pass(9 * SECOND);
        assert_eq!(test.sent(), pb::frame::Body::Ping(pb::Ping { echo }));
        assert_eq!(test.try_sent(), None);
        test.receive(pb::frame::Body::Pong(pb::Pong { echo }));
    }
    test.pass(20 * SECOND - MS);
    assert_eq!(test.core.state(), State::Connected);
    test.pass(MS);
    assert_eq!(test.core.state(), State::Waiting);
    assert_eq!(test.close_code(), CloseCode::IdleTimeout);
}

#[test]
fn only_the_last_ping_is_answered() {
    let mut test = Harness::connected();
    for echo in 0..1000 {
        test.receive(pb::frame::Body::Ping(pb::Ping { echo }));
    }
    assert_eq!(test.sent(), pb::frame::Body::Pong(pb::Pong { echo: 999 }));
    assert_eq!(test.try_sent(), None);
}

#[test]
fn messages_become_events_and_nonsense_is_skipped() {
    let mut test = Harness::connected();
    test.receive(push(5, "bob"));
    test.receive(push(0, "bob"));
    test.receive(push(6, "not a user"));
    test.receive(pb::frame::Body::Push(pb::Push::default()));
    test.receive(push(7, ""));
    let messages: Vec<_> = test
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Message(message) => (message.id.as_u64(), message.from.map(|user| user.to_string())),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(messages, [(5, Some("bob".to_owned())), (7, None)]);
    assert_eq!((test.core.skipped(), test.core.state()), (3, State::Connected));
}

#[test]
fn what_is_not_the_protocol_ends_the_connection() {
    let malformed = Bytes::from_static(b"\xff\xff");
    let too_large = Bytes::from(vec![0; 1001]);
    for frame in [Some(malformed), Some(too_large), None] {
        let mut test = Harness::connected();
        match frame {
            Some(frame) => test.core.handle_frame(test.now, frame),
            None => test.core.handle_ended(test.now, ConnectionEnd::Protocol(String::new())),
        }
        assert_eq!((test.core.state(), test.close_code()), (State::Waiting, CloseCode::ProtocolError));
        test.pass(SECOND);
        assert_eq!(test.core.state(), State::Connecting);
    }
}

#[test]
fn frames_from_the_future_are_ignored() {
    let mut test = Harness::connected();
    // Field 99, a varint.
    test.core.handle_frame(test.now, Bytes::from_static(&[0x98, 0x06, 0x01]));
    test.core.handle_frame(test.now, Bytes::new());
    test.receive(welcome());
    assert_eq!((test.core.state(), test.events()), (State::Connected, vec![]));
}

#[test]
fn a_welcome_has_to_make_sense() {
    for (version, user) in [(2, "alice"), (1, "")] {
        let mut test = Harness::connected();
        test.broken();
        test.pass(SECOND);
        test.action();
        test.core.handle_token(test.now, Ok("token".to_owned()));
        let Action::Connect(rounds) = test.action() else { panic!("no race") };
        let endpoint = rounds[0].quic.clone().unwrap();
        test.core.handle_established(test.now, Via { transport: Transport::Quic, endpoint }, 0);
        let user = user.to_owned();
        test.receive(pb::frame::Body::Welcome(pb::Welcome { version, user, ..Default::default() }));
        assert_eq!(test.core.state(), State::Waiting);
    }
}

#[test]
fn go_away_means_another_server_within_the_window() {
    let mut moments = Vec::new();
    for seed in 0..50 {
        let mut test = Harness::seeded(seed);
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
        test.drain();
        let start = test.now;
        test.receive(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms: 4000 }));
        while test.core.state() == State::Connected {
            test.pass(MS * 10);
        }
        moments.push(test.now - start);
        assert_eq!(test.close_code(), CloseCode::ClientClosed);
        let Event::Disconnected { code, retry_in, .. } = &test.events()[0] else {
            panic!("not disconnected")
        };
        assert_eq!((*code, *retry_in), (Some(CloseCode::GoingAway), Some(Duration::ZERO)));
        test.pass(Duration::ZERO);
        test.action();
        test.core.handle_token(test.now, Ok("token".to_owned()));
        let Action::Connect(rounds) = test.action() else { panic!("no race") };
        assert_eq!(rounds[0].websocket.as_ref().unwrap().host(), "b");
    }
    assert!(moments.iter().all(|moment| *moment <= 4010 * MS));
    assert!(
        moments.iter().any(|moment| *moment < 500 * MS) && moments.iter().any(|moment| *moment > 3500 * MS)
    );
}

#[test]
fn disconnecting_stays_away() {
    let mut test = Harness::connected();
    test.core.handle_disconnect();
    assert_eq!((test.core.state(), test.close_code()), (State::Disconnected, CloseCode::ClientClosed));
    assert_eq!(test.events(), [disconnected_by_application()]);
    test.pass(3600 * SECOND);
    test.core.handle_disconnect();
    assert_eq!((test.core.state(), test.events()), (State::Disconnected, vec![]));
    test.core.handle_connect(test.now);
    test.core.handle_disconnect();
    test.core.handle_token(test.now, Ok("late".to_owned()));
    assert_eq!((test.core.state(), test.events()), (State::Disconnected, vec![]));
}

#[test]
fn an_application_that_takes_no_events_gets_no_new_connection() {
    let mut test = Harness::connected();
    test.core.handle_reading(test.now, false);
    test.pass(100 * SECOND);
    assert_eq!(test.core.state(), State::Connected);
    test.broken();
    test.pass(100 * SECOND);
    test.core.handle_connect(test.now);
    assert_eq!(test.core.state(), State::Waiting);
    test.core.handle_reading(test.now, true);
    test.pass(Duration::ZERO);
    assert_eq!(test.core.state(), State::Connecting);
}
