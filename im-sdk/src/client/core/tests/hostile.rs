//! A server that sends anything at all: no panics, no unbounded growth, no timer that fires for ever, and the device can still
//! connect elsewhere.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    Conversation, ConversationChange, HistoryRange, ReadMark, Search, Signal, golden::any_vector,
    proto::pb::request::Question,
};

#[derive(Clone, Debug)]
enum Step {
    /// A golden frame as it is, or damaged.
    Frame(Bytes),
    /// A response with a number that a request may wait for.
    Answer(u64, Bytes),
    Do(u8),
    Pass(u32),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_vector("frames", "").prop_map(Step::Frame),
        4 => (0..12_u64, any_vector("frames", "response.")).prop_map(|(number, frame)| Step::Answer(number, frame)),
        6 => (0..10_u8).prop_map(Step::Do),
        3 => (0..20_000_u32).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
    ]
}

/// Makes an input of an application, which may come at any time.
fn act(test: &mut Harness, what: u8) {
    let (now, team) = (test.now, || ChannelId::parse("team").unwrap());
    let bob = || UserId::parse("bob").unwrap();
    match what {
        0 => test.publish(1, "bob"),
        1 => test.send(2, "#team"),
        2 => test.core.handle_history(
            now,
            3,
            Conversation::User(bob()),
            HistoryRange::Before(42).into(),
            20,
            true,
        ),
        3 => test.core.handle_search(now, 4, Search::new("hello"), 20),
        4 => test.core.handle_join_room(now, 5, ChannelId::parse("lobby").unwrap(), "ticket".into()),
        5 => test.core.handle_leave_room(now, 6, &ChannelId::parse("lobby").unwrap()),
        6 => test.core.handle_watch(now, 7, vec![bob()]),
        7 => {
            let read = ConversationChange::new().read(ReadMark::new(7, None));
            let _ = test.core.handle_mark(now, team().into(), read);
        }
        8 => test.core.handle_ask(now, 8, Question::Conversations(pb::ConversationsRequest::default())),
        _ => drop(test.core.handle_signal(&bob().into(), None, Signal::Typing { stopped: false })),
    }
}

/// Returns the golden response with another number.
fn numbered(number: u64, frame: Bytes) -> Option<pb::frame::Body> {
    match frame::decode(frame).ok()?? {
        pb::frame::Body::Response(response) => {
            Some(pb::frame::Body::Response(pb::Response { number, ..response }))
        }
        other => Some(other),
    }
}

fn take(test: &mut Harness, step: Step) {
    match step {
        // Splits the bytes as a transport does.
        Step::Frame(bytes) => {
            for frame in frame::split(bytes, usize::MAX).map_while(Result::ok) {
                test.core.handle_frame(test.now, frame);
            }
        }
        Step::Answer(number, bytes) => {
            let frames = frame::split(bytes, usize::MAX).map_while(Result::ok);
            for body in frames.filter_map(|frame| numbered(number, frame)) {
                test.receive(body);
            }
        }
        Step::Do(what) => act(test, what),
        Step::Pass(millis) => test.pass(MS * millis),
        Step::Reconnect => test.broken(),
    }
    settle(test);
}

/// Carries out the core's actions as a driver does, until it is connected, even if the server has rejected the device.
fn settle(test: &mut Harness) {
    for _ in 0..5 {
        while let Some(action) = test.core.poll_action() {
            match action {
                Action::AskToken(_) => test.core.handle_token(test.now, Ok("token".to_owned())),
                Action::Connect(rounds) => {
                    let endpoint = rounds[0].websocket.clone().unwrap();
                    let via = Via { transport: Transport::WebSocket, endpoint };
                    test.core.handle_established(test.now, via, 0);
                    test.receive(welcome());
                }
                Action::AskEndpoints | Action::Close(..) => {}
            }
        }
        test.drain();
        while test.core.poll_answered(test.now).is_some() {}
        if test.core.state() == State::Connected {
            return;
        }
        test.core.handle_connect(test.now);
        if test.core.poll_timeout().is_some() && test.core.state() != State::Connecting {
            test.pass(31 * SECOND);
        }
    }
    panic!("a device that was told nonsense does not come back: {:?}", test.core.state());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_server_may_say_anything(seed: u64, steps in vec(step(), 0..120)) {
        let mut test = Harness::seeded(seed);
        settle(&mut test);
        for step in steps {
            take(&mut test, step);
        }
        test.core.handle_close(test.now, Duration::ZERO);
        prop_assert!(test.core.is_closed());
    }
}
