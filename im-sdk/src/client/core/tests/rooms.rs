//! Rooms, watched users and signals: the requests that are repeated over a new connection, and those that are not.

use super::*;
use crate::{
    Signal, UserPresence,
    client::{MAX_ROOMS, RequestError, RoomLeftCause, core::Answer},
    proto::pb::{request::Question, response},
};

fn room(name: &str) -> ChannelId {
    name.parse().unwrap()
}

fn respond(number: u64, outcome: response::Outcome) -> pb::frame::Body {
    pb::frame::Body::Response(pb::Response { number, outcome: Some(outcome) })
}

fn joined(recent: &[u64]) -> response::Outcome {
    let recent = recent.iter().map(|id| entry(*id)).collect();
    response::Outcome::JoinedRoom(pb::JoinedRoom { online: 3, answer: "hi".into(), recent })
}

/// Returns an entry of the log of room `r`.
fn entry(id: u64) -> pb::Push {
    let pb::frame::Body::Push(entry) = push(id, "bob") else { panic!() };
    pb::Push { channel: "r".to_owned(), seq: id, ..entry }
}

fn refused(kind: pb::RefusalKind, retry_after_ms: u32) -> response::Outcome {
    response::Outcome::Refused(pb::Refused {
        kind: kind.into(),
        reason: "test".to_owned(),
        code: 7,
        retry_after_ms,
    })
}

impl Harness {
    fn join(&mut self, ticket: u32, name: &str) {
        self.core.handle_join_room(self.now, ticket, room(name), "ticket".into());
    }

    /// Returns the number of the next request, and its question.
    fn question(&mut self) -> (u64, Question) {
        match self.sent() {
            pb::frame::Body::Request(request) => (request.number, request.question.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn nothing_more(&mut self) {
        assert_eq!(self.try_sent(), None);
    }

    fn replies(&mut self) -> Vec<(u32, Answer)> {
        std::iter::from_fn(|| self.core.poll_answered(self.now)).collect()
    }

    /// Connects, and joins room `r`.
    fn in_room() -> Self {
        let mut test = Self::connected();
        test.join(1, "r");
        let (number, _) = test.question();
        test.receive(respond(number, joined(&[])));
        assert!(matches!(test.replies()[..], [(1, Ok(Reply::JoinedRoom(_)))]));
        test
    }

    fn reconnect(&mut self) {
        self.broken();
        self.pass(60 * SECOND);
        self.connect_all_the_way();
        self.receive(sync_done(&[]));
        self.events();
    }

    fn heard(&mut self) -> Vec<u64> {
        let id = |event: Event| match event {
            Event::Message(message) => Some(message.id.as_u64()),
            _ => None,
        };
        self.events().into_iter().filter_map(id).collect()
    }
}

#[test]
fn a_room_is_joined_again_until_it_is_left() {
    let mut test = Harness::in_room();
    for _ in 0..3 {
        test.reconnect();
        let (number, question) = test.question();
        let Question::JoinRoom(join) = question else { panic!("{question:?}") };
        assert_eq!((join.channel.as_str(), &join.data[..]), ("r", &b"ticket"[..]));
        test.receive(respond(number, joined(&[])));
        test.nothing_more();
        assert_eq!((test.replies(), test.events()), (vec![], vec![]), "nobody asked");
    }
    test.core.handle_leave_room(test.now, 2, &room("r"));
    let (number, question) = test.question();
    assert!(matches!(question, Question::LeaveRoom(_)));
    test.receive(respond(number, response::Outcome::Done(pb::Done {})));
    assert_eq!(test.replies(), [(2, Ok(Reply::Done))]);
    test.reconnect();
    test.nothing_more();
}

#[test]
fn a_join_that_waits_is_asked_once_more_and_not_twice() {
    let mut test = Harness::connected();
    test.join(1, "r");
    let (first, _) = test.question();
    test.broken();
    test.pass(SECOND);
    test.connect_all_the_way();
    test.receive(sync_done(&[]));
    let (number, question) = test.question();
    assert!(number == first && matches!(question, Question::JoinRoom(_)));
    test.nothing_more();
}

#[test]
fn a_refusal_that_passes_is_waited_for_and_another_one_is_told() {
    let mut test = Harness::in_room();
    test.reconnect();
    let (number, _) = test.question();
    // There is no time limit, since the application does not wait for it.
    for _ in 0..100 {
        test.receive(respond(number, refused(pb::RefusalKind::Unavailable, 1000)));
        test.nothing_more();
        test.pass(2 * SECOND);
        while let Some(body) = test.try_sent() {
            match body {
                pb::frame::Body::Request(request) => assert_eq!(request.number, number),
                pb::frame::Body::Ping(ping) => {
                    test.receive(pb::frame::Body::Pong(pb::Pong { echo: ping.echo }));
                }
                _ => {}
            }
        }
    }
    test.receive(respond(number, refused(pb::RefusalKind::Rule, 0)));
    let left = test.events().into_iter().find_map(|event| match event {
        Event::RoomLeft { channel, cause, code, .. } => Some((channel, cause, code)),
        _ => None,
    });
    assert_eq!(left, Some((room("r"), RoomLeftCause::Refused, 7)));
    test.reconnect();
    test.nothing_more();
}

#[test]
fn who_was_not_let_in_or_gave_up_does_not_come_back() {
    let mut test = Harness::connected();
    test.join(1, "r");
    let (number, _) = test.question();
    test.receive(respond(number, refused(pb::RefusalKind::Rule, 0)));
    assert!(matches!(test.replies()[..], [(1, Err(RequestError::Refused { code: 7, .. }))]));
    test.join(2, "s");
    test.question();
    test.broken();
    test.pass(60 * SECOND);
    assert_eq!(test.replies(), [(2, Err(RequestError::TimedOut))]);
    test.connect_all_the_way();
    test.receive(sync_done(&[]));
    assert!(!test.events().iter().any(|event| matches!(event, Event::RoomLeft { .. })));
    test.nothing_more();
}

#[test]
fn a_join_and_a_leave_of_one_room_go_one_after_the_other() {
    let mut test = Harness::connected();
    test.join(1, "r");
    test.core.handle_leave_room(test.now, 2, &room("r"));
    test.join(3, "r");
    test.join(4, "other");
    let (join, _) = test.question();
    let (_, other) = test.question();
    assert!(matches!(other, Question::JoinRoom(join) if join.channel == "other"));
    test.nothing_more();
    test.receive(respond(join, joined(&[])));
    let (leave, question) = test.question();
    assert!(matches!(question, Question::LeaveRoom(_)));
    test.nothing_more();
    test.receive(respond(leave, response::Outcome::Done(pb::Done {})));
    assert!(matches!(test.question().1, Question::JoinRoom(_)));
}

#[test]
fn what_a_rooms_log_says_comes_once_and_asks_for_no_sync() {
    let mut test = Harness::connected();
    test.join(1, "r");
    let (number, _) = test.question();
    // The entry comes before the answer, and leaves a gap.
    test.receive(pb::frame::Body::Push(entry(5)));
    assert_eq!(test.heard(), [5]);
    test.receive(respond(number, joined(&[3, 4, 5])));
    let [(1, Ok(Reply::JoinedRoom(answer)))] = &test.replies()[..] else { panic!() };
    let recent: Vec<_> =
        answer.recent.iter().map(|message| (message.id.as_u64(), &message.position)).collect();
    assert_eq!(recent, [(3, &None), (4, &None)], "the last one came already");
    for id in [9, 5, 7, 9] {
        test.receive(pb::frame::Body::Push(entry(id)));
    }
    assert_eq!(test.heard(), [9, 7]);
    test.reconnect();
    let (number, _) = test.question();
    test.receive(respond(number, joined(&[7, 9, 11])));
    assert_eq!(test.heard(), [11], "as an event: nobody waits for the answer");
    test.pass(SECOND);
    test.nothing_more();
}

#[test]
fn a_member_follows_the_log_also_as_a_guest() {
    let mut test = Harness::in_room();
    let cursor = Some(pb::Cursor { channel: "r".to_owned(), seq: 4, id: 4 });
    let reset = pb::Reset { cursor, reason: pb::ResetReason::New.into() };
    test.receive(pb::frame::Body::Reset(reset));
    for id in [6, 5] {
        test.receive(pb::frame::Body::Push(entry(id)));
    }
    assert_eq!(test.heard(), [5, 6], "in order");
}

#[test]
fn who_is_thrown_out_is_told_and_stays_away() {
    let mut test = Harness::in_room();
    let left = |name: &str| {
        let (channel, cause) = (name.to_owned(), pb::RoomLeftCause::Kicked.into());
        pb::frame::Body::RoomLeft(pb::RoomLeft { channel, cause, reason: "test".to_owned() })
    };
    for name in ["r", "r", "never in", "{"] {
        test.receive(left(name));
    }
    let (channel, cause, reason) = (room("r"), RoomLeftCause::Kicked, "test".to_owned());
    assert_eq!(test.events(), [Event::RoomLeft { channel, cause, reason, code: 0 }]);
    test.reconnect();
    test.nothing_more();
}

#[test]
fn a_device_is_in_so_many_rooms_and_no_more() {
    let mut test = Harness::connected();
    for number in 0..MAX_ROOMS {
        test.join(number as u32, &format!("room-{number}"));
        let (asked, _) = test.question();
        test.receive(respond(asked, joined(&[])));
    }
    test.replies();
    test.join(100, "one-more");
    assert_eq!(test.replies(), [(100, Err(RequestError::TooManyRooms))]);
    test.join(101, "room-7");
    assert!(matches!(test.question().1, Question::JoinRoom(_)), "it is in this one");
}

fn presence(name: &str) -> pb::Presence {
    pb::Presence { user: name.to_owned(), terminals: vec![] }
}

fn presences(names: &[&str]) -> response::Outcome {
    let presences = names.iter().map(|name| presence(name)).collect();
    response::Outcome::Presences(pb::Presences { presences })
}

fn told(events: Vec<Event>) -> Vec<String> {
    let name = |event| match event {
        Event::Presence(UserPresence { user, .. }) => Some(user.to_string()),
        _ => None,
    };
    events.into_iter().filter_map(name).collect()
}

#[test]
fn users_are_watched_again_over_a_new_connection_and_after_a_hint() {
    let mut test = Harness::connected();
    test.core.handle_watch(test.now, 1, vec!["bob".parse().unwrap()]);
    let (number, _) = test.question();
    test.receive(respond(number, presences(&["bob", "no user"])));
    let [(1, Ok(Reply::Presences(now)))] = &test.replies()[..] else { panic!() };
    assert_eq!((now.len(), test.core.skipped()), (1, 1));
    test.receive(pb::frame::Body::Presence(presence("bob")));
    assert_eq!(told(test.events()), ["bob"]);

    test.reconnect();
    let (number, question) = test.question();
    assert!(matches!(&question, Question::Watch(watch) if watch.users == ["bob"]), "{question:?}");
    test.receive(respond(number, presences(&["bob"])));
    assert_eq!(told(test.events()), ["bob"]);

    test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 500, rolled_back: false }));
    test.pass(500 * MS);
    let asked = std::iter::from_fn(|| test.try_sent()).find_map(|body| match body {
        pb::frame::Body::Request(request) => Some(request),
        _ => None,
    });
    test.receive(respond(asked.unwrap().number, presences(&["bob"])));

    test.core.handle_watch(test.now, 2, vec![]);
    let (number, _) = test.question();
    test.receive(respond(number, presences(&[])));
    test.reconnect();
    test.nothing_more();
}

#[test]
fn signals_are_for_the_moment() {
    let mut test = Harness::new();
    let signal = |test: &mut Harness| test.core.handle_signal(&recipient("#r"), None, Signal::typing());
    assert!(!signal(&mut test), "there is no connection");
    let mut test = Harness::connected();
    let sent = (0..1000).filter(|_| signal(&mut test)).count();
    assert_eq!(sent, 64);
    let pb::frame::Body::Signal(first) = test.sent() else { panic!() };
    assert_eq!((first.to.as_str(), first.channel.as_str()), ("", "r"));
    test.reconnect();
    test.nothing_more();
    let huge = Signal::custom("huge", vec![0; 2000]);
    assert!(!test.core.handle_signal(&recipient("bob"), None, huge), "more than a frame may hold");
}

#[test]
fn a_signal_that_comes_back_to_its_device_is_dropped() {
    let mut test = Harness::connected();
    let signalled = |from: &str, device: &str, body| {
        let device = Some((&device.parse::<Device>().unwrap()).into());
        pb::frame::Body::Signalled(pb::Signalled { from: from.into(), device, channel: "r".into(), body })
    };
    let typing = Some(pb::signalled::Body::Typing(pb::Typing::default()));
    test.receive(signalled("alice", "desktop/d1", typing.clone()));
    test.receive(signalled("bob", "desktop/d1", None));
    test.receive(pb::frame::Body::Signalled(pb::Signalled { body: typing.clone(), ..Default::default() }));
    assert_eq!(test.events(), []);
    test.receive(signalled("alice", "desktop/d2", typing.clone()));
    test.receive(signalled("bob", "desktop/d1", typing));
    assert_eq!(test.events().len(), 2);
}
