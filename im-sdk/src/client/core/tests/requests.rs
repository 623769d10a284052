//! Requests: limits, refusals, lost connections and every outcome.

use super::{super::requests, *};
use crate::{
    Conversation, HistoryQuery, HistoryRange, Kind, Search, SearchPlace,
    client::{
        FoundPage, HistoryPage, MAX_QUEUED_REQUESTS, RefusalKind, RequestError,
        core::{Answer, Reply},
    },
};

impl Harness {
    fn ask(&mut self, ticket: u32) {
        let bob = Conversation::User("bob".parse().unwrap());
        self.core.handle_history(self.now, ticket, bob, HistoryRange::Before(42).into(), 20, true);
    }

    fn sent_request(&mut self) -> pb::Request {
        match self.sent() {
            pb::frame::Body::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn answers(&mut self) -> Vec<(u32, Answer)> {
        std::iter::from_fn(|| self.core.poll_answered(self.now)).collect()
    }
}

fn page(number: u64, seqs: &[u64]) -> pb::frame::Body {
    let entry = |seq: &u64| {
        let pb::frame::Body::Push(push) = push(*seq, "bob") else { panic!() };
        pb::Push { seq: *seq, ..push }
    };
    let history =
        pb::History { entries: seqs.iter().map(entry).collect(), more: true, next: 0, changes: vec![] };
    let outcome = Some(pb::response::Outcome::History(history));
    pb::frame::Body::Response(pb::Response { number, outcome })
}

fn no(number: u64, kind: pb::RefusalKind, retry_after_ms: u32) -> pb::frame::Body {
    let refused = pb::Refused { kind: kind.into(), reason: "test".to_owned(), code: 7, retry_after_ms };
    let outcome = Some(pb::response::Outcome::Refused(refused));
    pb::frame::Body::Response(pb::Response { number, outcome })
}

fn error(code: &'static str) -> impl Fn(&(u32, Answer)) -> bool {
    move |(_, answer)| answer.as_ref().is_err_and(|error| error.code() == code)
}

#[test]
fn a_page_comes_with_positions() {
    let mut test = Harness::connected();
    test.ask(7);
    let request = test.sent_request();
    let Some(pb::request::Question::History(asked)) = request.question else { panic!() };
    assert_eq!((asked.before, asked.after, asked.limit), (42, None, 20));
    test.receive(page(request.number, &[40, 41]));
    test.receive(page(request.number, &[1]));
    let [(7, Ok(Reply::History(HistoryPage { messages, next, .. })))] = &test.answers()[..] else { panic!() };
    assert_eq!(
        *next,
        Some(HistoryRange::Before(40)),
        "from the first entry, where the back end does not say"
    );
    let positions: Vec<_> = messages.iter().map(|message| message.position.clone().unwrap()).collect();
    assert!(
        positions
            .iter()
            .map(|position| (&position.log, position.seq))
            .eq([(&Log::Inbox, 40), (&Log::Inbox, 41)])
    );
    assert_eq!(test.events(), [], "history is no event");
    assert_eq!(test.core.logs.position(&Log::Inbox), 0, "and moves nothing");
    assert!(test.core.requests.poll_timeout().is_none());
}

#[test]
fn from_the_beginning_is_not_the_newest() {
    let asked = |range: HistoryRange| {
        let question = requests::history(Conversation::Inbox, range.into(), 0, true);
        let pb::request::Question::History(asked) = question else { panic!() };
        asked
    };
    assert_eq!((asked(HistoryRange::Newest).before, asked(HistoryRange::Newest).after), (0, None));
    assert_eq!(asked(HistoryRange::After(0)).after, Some(0));
    assert_eq!(asked(HistoryRange::Before(0)).before, 1, "nothing is before the first entry");
}

#[test]
fn what_is_wanted_travels() {
    let ids = [7, 9].map(|id| crate::id::MessageId::from_u64(id).unwrap());
    let query = HistoryQuery::before_message(ids[0]).since_ms(5).until_ms(0).kinds([Kind::custom("x")]);
    let pb::request::Question::History(asked) = requests::history(Conversation::Inbox, query, 3, true) else {
        panic!()
    };
    assert_eq!((asked.before_id, asked.after_id, asked.since_ms, asked.until_ms), (7, 0, 5, 1));
    assert_eq!(asked.kinds, [pb::ContentKind { number: 15, custom: "x".to_owned() }]);
    let query = HistoryQuery::after_message(ids[1]);
    let pb::request::Question::History(asked) = requests::history(Conversation::Inbox, query, 3, true) else {
        panic!()
    };
    assert_eq!((asked.before_id, asked.after_id, asked.until_ms), (0, 9, 0));
}

#[test]
fn an_empty_page_says_where_to_go_on() {
    let mut test = Harness::connected();
    for (range, expected) in
        [(HistoryRange::Newest, HistoryRange::Before(7)), (HistoryRange::After(3), HistoryRange::After(7))]
    {
        test.core.handle_history(test.now, 1, Conversation::Inbox, range.into(), 0, true);
        let number = test.sent_request().number;
        let history = pb::History { entries: vec![], more: true, next: 7, changes: vec![] };
        let outcome = Some(pb::response::Outcome::History(history));
        test.receive(pb::frame::Body::Response(pb::Response { number, outcome }));
        let [(1, Ok(Reply::History(page)))] = &test.answers()[..] else { panic!() };
        assert_eq!(page.next, Some(expected));
    }
}

#[test]
fn what_was_found_comes_with_its_place() {
    let mut test = Harness::connected();
    let channel = Some("team".parse().unwrap());
    let place = SearchPlace { channel, message_id: crate::id::MessageId::from_u64(7).unwrap() };
    test.core.handle_search(test.now, 1, Search::new("hi").before(place.clone()), 20);
    let request = test.sent_request();
    let Some(pb::request::Question::Search(asked)) = request.question else { panic!() };
    assert_eq!((asked.text.as_str(), asked.limit), ("hi", 20));
    let next = asked.before.clone();
    assert_eq!(next, Some(pb::Cursor { channel: "team".to_owned(), seq: 0, id: 7 }));
    // A page of history is no answer to a search.
    test.receive(page(request.number, &[1]));
    assert_eq!(test.answers(), []);
    let found = pb::Found { entries: vec![], next };
    let outcome = Some(pb::response::Outcome::Found(found));
    test.receive(pb::frame::Body::Response(pb::Response { number: request.number, outcome }));
    let expected = FoundPage { messages: vec![], next: Some(place) };
    assert_eq!(test.answers(), [(1, Ok(Reply::Found(expected)))]);
}

#[test]
fn it_waits_for_a_connection_and_survives_one() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.ask(1);
    test.connect_all_the_way();
    let first = test.sent_request();
    test.broken();
    test.pass(SECOND);
    test.connect_all_the_way();
    assert_eq!(test.sent_request(), first, "the same question over the next connection");
    test.receive(page(first.number, &[1]));
    assert!(test.answers()[0].1.is_ok());
}

#[test]
fn its_time_ends() {
    let mut test = Harness::new();
    test.core.handle_connect(test.now);
    test.ask(1);
    test.pass(20 * SECOND);
    assert!(test.answers().iter().all(error("timed_out")));
    let mut test = Harness::connected();
    test.ask(1);
    let number = test.sent_request().number;
    test.pass(20 * SECOND);
    assert!(error("timed_out")(&test.answers()[0]));
    test.receive(page(number, &[1]));
    assert_eq!(test.answers(), [], "an answer that is late means nothing");
}

/// Requests fail at once while no connection is wanted, since waiting would be in vain.
#[test]
fn without_a_wish_for_a_connection_nothing_is_asked() {
    let mut test = Harness::new();
    test.ask(1);
    assert!(error("not_connected")(&test.answers()[0]));
    test.core.handle_connect(test.now);
    test.ask(2);
    assert_eq!(test.answers(), []);
    test.connect_all_the_way();
    test.closed_by_server(CloseCode::Kicked);
    test.ask(3);
    let stopped = || Err(RequestError::Stopped { reason: "test".to_owned() });
    assert_eq!(test.answers(), [(2, stopped()), (3, stopped())]);
}

#[test]
fn what_passes_is_asked_again_and_what_stays_is_told() {
    let mut test = Harness::connected();
    test.ask(1);
    let number = test.sent_request().number;
    test.receive(no(number, pb::RefusalKind::Unavailable, 1000));
    assert_eq!(test.try_sent(), None);
    test.pass(3 * SECOND);
    let again = std::iter::from_fn(|| test.try_sent());
    let again = again.filter(|body| matches!(body, pb::frame::Body::Request(_))).count();
    assert_eq!(again, 1);
    test.receive(no(number, pb::RefusalKind::Rule, 0));
    let refused = RequestError::Refused {
        kind: RefusalKind::Rule,
        reason: "test".to_owned(),
        code: 7,
        retry_after: None,
    };
    assert_eq!(test.answers(), [(1, Err(refused))]);
    // A refusal that lasts longer than the deadline is final, too.
    test.ask(2);
    let number = test.sent_request().number;
    test.receive(no(number, pb::RefusalKind::Unavailable, 60_000));
    assert!(error("refused")(&test.answers()[0]));
}

#[test]
fn there_are_only_so_many() {
    let mut test = Harness::connected();
    for ticket in 0..=MAX_QUEUED_REQUESTS as u32 {
        test.ask(ticket);
    }
    assert!(error("queue_full")(&test.answers()[0]));
    let numbers: Vec<_> = (0..4).map(|_| test.sent_request().number).collect();
    assert_eq!(test.try_sent(), None, "no more than a part of what servers allow");
    test.receive(page(numbers[0], &[]));
    test.sent_request();
    test.closed_by_server(CloseCode::Kicked);
    assert_eq!(
        test.answers().iter().filter(|answer| error("stopped")(answer)).count(),
        MAX_QUEUED_REQUESTS - 1
    );
    test.ask(1);
    assert!(error("stopped")(&test.answers()[0]));
    test.core.handle_close(test.now, SECOND);
    test.ask(1);
    assert!(error("closed")(&test.answers()[0]));
}

#[test]
fn what_fits_into_no_frame_is_told_at_once() {
    let mut test = Harness::connected();
    // The harness's server takes frames of 1000 bytes.
    let watch =
        |count: usize| (0..count).map(|number| format!("user-{number:03}").parse().unwrap()).collect();
    test.core.handle_watch(test.now, 1, watch(1000));
    test.core.handle_join_room(test.now, 2, "lobby".parse().unwrap(), vec![0; 1000].into());
    test.core.handle_search(test.now, 3, Search::new("x".repeat(1000)), 0);
    let answers = test.answers();
    assert!(answers.len() == 3 && answers.iter().all(error("too_large")), "{answers:?}");
    assert!(test.try_sent().is_none());
    assert!(test.core.rooms.questions().is_empty(), "the room is not joined again by itself");
    // The limit is exact to the byte, assuming the largest possible number.
    let mut most = 0;
    while {
        test.core.handle_watch(test.now, 4, watch(most + 1));
        test.answers().is_empty()
    } {
        most += 1;
        let number = test.sent_request().number;
        let outcome = Some(pb::response::Outcome::Presences(pb::Presences::default()));
        test.receive(pb::frame::Body::Response(pb::Response { number, outcome }));
        test.answers();
    }
    assert_eq!(most, 98, "ten bytes each, and what is around them");
}
