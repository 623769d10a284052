//! Pending marks, and changes made elsewhere.

use super::*;
use crate::{
    ConversationChange, ConversationState, ReadMark,
    client::{ConversationList, ConversationPage, ListedConversation},
};

/// The value of the core's constant.
const MARK_INTERVAL: Duration = Duration::from_millis(200);

fn read(seq: u64) -> ConversationChange {
    ConversationChange::new().read(ReadMark::new(seq, None))
}

fn state(name: &str, version: u64, read: u64) -> pb::ConversationState {
    pb::ConversationState { version, read, ..ConversationState::new(recipient(name)).into() }
}

fn response(number: u64, outcome: pb::response::Outcome) -> pb::frame::Body {
    pb::frame::Body::Response(pb::Response { number, outcome: Some(outcome) })
}

fn marked(number: u64, states: Vec<pb::ConversationState>) -> pb::frame::Body {
    response(number, pb::response::Outcome::Marked(pb::Marked { states }))
}

fn page(number: u64, version: u64, more: bool, states: Vec<pb::ConversationState>) -> pb::frame::Body {
    let conversations =
        states.into_iter().map(|state| pb::Conversation { state: Some(state), ..Default::default() });
    let conversations = conversations.collect();
    let page = pb::Conversations { version, more, conversations, ..Default::default() };
    response(number, pb::response::Outcome::Conversations(page))
}

fn changed(states: Vec<pb::ConversationState>) -> pb::frame::Body {
    pb::frame::Body::ConversationsChanged(pb::ConversationsChanged { states, receipts: Vec::new() })
}

impl Harness {
    fn mark(&mut self, name: &str, change: ConversationChange) {
        self.core.handle_mark(self.now, recipient(name), change).unwrap();
    }

    /// Returns the marks that are sent now.
    fn sent_marks(&mut self) -> Option<(u64, Vec<(String, u64)>)> {
        match self.try_sent()? {
            pb::frame::Body::Request(pb::Request {
                number,
                question: Some(pb::request::Question::Mark(request)),
            }) => {
                let name = |mark: pb::Mark| (format!("{}{}", mark.user, mark.channel), mark.read);
                Some((number, request.marks.into_iter().map(name).collect()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Returns the version after which changes are requested now.
    fn sent_question(&mut self) -> Option<(u64, Option<u64>)> {
        match self.try_sent()? {
            pb::frame::Body::Request(pb::Request {
                number,
                question: Some(pb::request::Question::Conversations(request)),
            }) => Some((number, request.since)),
            other => panic!("{other:?}"),
        }
    }

    fn told(&mut self) -> Vec<u64> {
        let states = self.events().into_iter().filter_map(|event| match event {
            Event::ConversationsChanged(states) => Some(states),
            _ => None,
        });
        states.flatten().map(|state| state.version).collect()
    }

    /// Connects, and loads the application's list as of a version.
    fn with_list(version: u64) -> Self {
        let mut test = Self::connected();
        let question = pb::request::Question::Conversations(pb::ConversationsRequest::default());
        test.core.handle_ask(test.now, 7, question);
        let (number, since) = test.sent_question().unwrap();
        assert_eq!(since, None);
        test.receive(page(number, version, false, Vec::new()));
        let (7, Ok(Reply::Conversations(answer))) = test.core.poll_answered(test.now).unwrap() else {
            panic!()
        };
        assert_eq!(*answer, ConversationPage { version, ..Default::default() });
        test
    }

    fn reconnect_soon(&mut self) {
        self.broken();
        self.pass(2 * SECOND);
        self.connect_all_the_way();
    }
}

#[test]
fn marks_travel_together_and_the_furthest_counts() {
    let mut test = Harness::connected();
    test.mark("bob", read(3));
    let (number, marks) = test.sent_marks().unwrap();
    assert_eq!(marks, [("bob".to_owned(), 3)], "the first one at once");
    for (name, seq) in [("bob", 5), ("#team", 1), ("bob", 4)] {
        test.mark(name, read(seq));
    }
    test.pass(MARK_INTERVAL);
    assert_eq!(test.sent_marks(), None, "one is under way");
    test.receive(marked(number, vec![state("bob", 1, 3)]));
    let (_, marks) = test.sent_marks().unwrap();
    assert_eq!(marks, [("bob".to_owned(), 5), ("team".to_owned(), 1)]);
    assert_eq!(test.told(), [1]);
}

/// A back end would refuse them, together with all other marks in the request.
#[test]
fn places_beyond_all_logs_travel_as_the_last_one() {
    let mut test = Harness::connected();
    test.mark("bob", read(u64::MAX).delete(u64::MAX).hide(u64::MAX));
    let pb::frame::Body::Request(request) = test.sent() else { panic!("a request") };
    let Some(pb::request::Question::Mark(asked)) = request.question else { panic!("marks") };
    let mark = &asked.marks[0];
    let last = (1 << 53) - 1;
    assert_eq!((mark.read, mark.deleted, mark.hidden), (last, last, Some(last)));
}

#[test]
fn marks_do_not_travel_too_often() {
    let mut test = Harness::connected();
    let mut sent = 0;
    for seq in 1..=100 {
        test.mark("bob", read(seq));
        if let Some((number, marks)) = test.sent_marks() {
            test.receive(marked(number, vec![state("bob", seq, marks[0].1)]));
            sent += 1;
        }
        test.pass(10 * MS);
    }
    assert_eq!(sent, 5, "a second of them");
    test.pass(MARK_INTERVAL);
    assert_eq!(test.sent_marks().unwrap().1, [("bob".to_owned(), 100)], "the last one too");
}

#[test]
fn marks_are_kept_until_they_are_answered() {
    let mut test = Harness::new();
    test.mark("bob", read(3));
    test.core.handle_connect(test.now);
    test.connect_all_the_way();
    assert_eq!(test.sent_marks().unwrap().1, [("bob".to_owned(), 3)]);
    test.mark("bob", read(4));
    test.reconnect_soon();
    test.receive(sync_done(&[]));
    let (number, marks) = test.sent_marks().unwrap();
    assert_eq!(marks, [("bob".to_owned(), 3)], "again, since it was not answered");
    // After a final refusal, later marks are still sent.
    let refused = pb::Refused { kind: pb::RefusalKind::Rule.into(), ..Default::default() };
    test.receive(response(number, pb::response::Outcome::Refused(refused)));
    test.pass(MARK_INTERVAL);
    assert_eq!(test.sent_marks().unwrap().1, [("bob".to_owned(), 4)]);
    // A request without any answer is given up, and then made anew.
    let sees_again = (0..60).any(|_| {
        test.pass(SECOND);
        test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        std::iter::from_fn(|| test.try_sent()).any(|body| {
            matches!(
                body,
                pb::frame::Body::Request(pb::Request { question: Some(pb::request::Question::Mark(_)), .. })
            )
        })
    });
    assert!(sees_again);
}

/// Returns the marks of a request, with their age and the version that was known then.
fn asked(body: pb::frame::Body) -> (u64, Vec<pb::Mark>) {
    match body {
        pb::frame::Body::Request(pb::Request {
            number,
            question: Some(pb::request::Question::Mark(request)),
        }) => (number, request.marks),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_set_offline_is_sent_by_the_next_process() {
    let mut test = Harness::new();
    test.mark("bob", read(3).draft("so far"));
    test.mark("#team", ConversationChange::new().pin(true));
    test.mark("bob", ConversationChange::new().draft("so far, so good").mute(true));
    test.save();
    let saved = test.store.load().unwrap();
    assert_eq!(saved.marks.len(), 2, "{saved:?}");

    let mut later = Harness::with_store(2, MemoryStore::with(saved), test.now + 60 * SECOND);
    later.core.handle_connect(later.now);
    later.connect_all_the_way();
    let (number, marks) = asked(later.sent());
    let marks: Vec<_> = marks.iter().map(|mark| (mark.read, mark.draft.as_deref(), mark.pinned)).collect();
    assert_eq!(marks, [(3, Some("so far, so good"), None), (0, None, Some(true))]);
    later.save();
    assert_eq!(later.store.load().unwrap().marks.len(), 2, "until it is taken");
    later.receive(marked(number, vec![state("bob", 1, 3)]));
    later.save();
    assert_eq!(later.store.load().unwrap().marks, []);
}

#[test]
fn marks_say_how_old_they_are_and_what_was_known() {
    let mut test = Harness::with_list(4);
    test.broken();
    test.mark("bob", ConversationChange::new().pin(true));
    test.pass(10 * SECOND);
    test.mark("bob", ConversationChange::new().draft("a"));
    test.pass(20 * SECOND);
    test.connect_all_the_way();
    let mut found = None;
    while let Some(body) = test.try_sent() {
        if matches!(&body, pb::frame::Body::Request(request) if matches!(request.question, Some(pb::request::Question::Mark(_))))
        {
            found = Some(asked(body));
        }
    }
    let (_, marks) = found.unwrap();
    let ages: Vec<u64> = marks.iter().map(|mark| mark.age_ms.unwrap() / 1000).collect();
    assert_eq!(ages, [30, 20], "each as it was set");
    assert!(marks.iter().all(|mark| mark.known == 4));
    // When they are sent again, they are older.
    test.pass(5 * SECOND);
    test.reconnect_soon();
    let mut again = None;
    while let Some(body) = test.try_sent() {
        if matches!(&body, pb::frame::Body::Request(request) if matches!(request.question, Some(pb::request::Question::Mark(_))))
        {
            again = Some(asked(body));
        }
    }
    assert!(again.unwrap().1[0].age_ms.unwrap() >= 35_000);
}

#[test]
fn a_list_counts_as_its_user_wants_it_to() {
    let mut list = ConversationList::new(UserId::parse("alice").unwrap());
    list.begin_loading();
    let state = |change: fn(&mut ConversationState)| {
        let mut state = ConversationState::new(recipient("bob"));
        change(&mut state);
        state
    };
    let listed = |state| ListedConversation {
        state,
        last: None,
        last_edit: None,
        last_recalled: None,
        end: 9,
        unread: 5,
        unread_more: false,
        unread_seqs: vec![8, 9],
        unread_ids: Vec::new(),
        mention_seqs: vec![9],
        mentions: 2,
    };
    let counts = |list: &mut ConversationList, state| {
        list.begin_loading();
        list.load(ConversationPage { conversations: vec![listed(state)], ..Default::default() });
        [list.unread_at(999).count, list.unread_at(1000).count]
    };
    assert_eq!(counts(&mut list, state(|_| {})), [5, 5]);
    assert_eq!(counts(&mut list, state(|state| state.muted = true)), [0, 0]);
    let until = |state: &mut ConversationState| (state.muted, state.muted_until_ms) = (true, Some(1000));
    assert_eq!(counts(&mut list, state(until)), [0, 5]);
    assert_eq!(counts(&mut list, state(|state| state.mentions_only = true)), [2, 2]);
}

#[test]
fn a_closed_channel_stays_in_the_list() {
    let left = |name: &str| {
        let log = crate::client::Log::Channel(name.parse().unwrap());
        let position = crate::client::Position { log, seq: 0, id: None };
        Event::Reset { position, reason: crate::client::ResetReason::Left }
    };
    let mut list = ConversationList::new(UserId::parse("alice").unwrap());
    list.begin_loading();
    let listed = |name: &str| ListedConversation {
        state: ConversationState { version: 1, ..ConversationState::new(recipient(name)) },
        last: None,
        last_edit: None,
        last_recalled: None,
        end: 9,
        unread: 0,
        unread_more: false,
        unread_seqs: Vec::new(),
        unread_ids: Vec::new(),
        mention_seqs: Vec::new(),
        mentions: 0,
    };
    let conversations = vec![listed("#team"), listed("#crew")];
    list.load(ConversationPage { conversations, ..Default::default() });
    let closed =
        ConversationState { version: 2, closed: Some(9), ..ConversationState::new(recipient("#team")) };
    list.apply(&Event::ConversationsChanged(vec![closed]));
    list.apply(&left("team"));
    list.apply(&left("crew"));
    assert_eq!(list.get(&recipient("#team")).unwrap().state.closed, Some(9));
    assert_eq!(list.get(&recipient("#crew")), None);
    assert!(!list.needs_loading());
}

#[test]
fn a_closing_client_waits_for_its_marks() {
    let mut test = Harness::connected();
    test.mark("bob", read(3));
    let (first, _) = test.sent_marks().unwrap();
    test.mark("bob", read(4));
    test.core.handle_close(test.now, 5 * SECOND);
    assert_eq!(test.core.state(), State::Connected);
    test.receive(marked(first, vec![state("bob", 1, 3)]));
    let (second, marks) = test.sent_marks().unwrap();
    assert_eq!(marks, [("bob".to_owned(), 4)], "at once");
    test.receive(marked(second, vec![state("bob", 2, 4)]));
    assert_eq!(test.core.state(), State::Closed);
}

#[test]
fn only_so_many_are_kept() {
    let mut test = Harness::new();
    for number in 0..crate::client::MAX_CONVERSATION_MARKS {
        test.mark(&format!("user-{number}"), read(1));
    }
    let full = test.core.handle_mark(test.now, recipient("another"), read(1));
    assert_eq!(full.unwrap_err().code(), "queue_full");
    test.mark("user-3", read(2));
    let long = ConversationChange::new().draft("x".repeat(crate::MAX_DRAFT_BYTES + 1));
    assert_eq!(
        test.core.handle_mark(test.now, recipient("user-3"), long).unwrap_err().code(),
        "draft_too_long"
    );
}

#[test]
fn a_gap_between_changes_is_asked_for() {
    let mut test = Harness::with_list(4);
    test.receive(changed(vec![state("bob", 5, 1)]));
    test.receive(changed(vec![state("bob", 7, 3), state("bob", 8, 4)]));
    test.receive(changed(vec![state("bob", 6, 2)]));
    assert_eq!(test.told(), [5, 7, 8, 6], "told at once, whatever the order");
    test.pass(SECOND);
    assert_eq!(test.sent_question(), None, "nothing is missing");
    test.receive(changed(vec![state("bob", 11, 9)]));
    assert_eq!(test.sent_question(), None, "it may just be late");
    test.pass(SECOND);
    let (number, since) = test.sent_question().unwrap();
    assert_eq!(since, Some(8));
    test.receive(page(number, 12, true, vec![state("#team", 9, 1)]));
    let (number, since) = test.sent_question().unwrap();
    assert_eq!(since, Some(9), "page by page");
    test.receive(page(number, 12, false, vec![state("bob", 12, 10)]));
    test.pass(SECOND);
    assert_eq!(test.sent_question(), None);
    assert_eq!(test.told(), [11, 9, 12]);
    test.receive(changed(vec![state("bob", 13, 11)]));
    test.pass(SECOND);
    assert_eq!(test.sent_question(), None, "the next one leaves no gap");
}

#[test]
fn after_a_reconnect_it_is_asked_what_was_missed() {
    let mut test = Harness::with_list(4);
    test.reconnect_soon();
    assert_eq!(test.try_sent(), None, "not before the logs are there");
    test.receive(sync_done(&[]));
    let (number, since) = test.sent_question().unwrap();
    assert_eq!(since, Some(4));
    // The store has lost changes, so everything is requested.
    test.receive(page(number, 2, false, Vec::new()));
    let (number, since) = test.sent_question().unwrap();
    assert_eq!(since, Some(0));
    test.receive(page(number, 2, false, vec![state("bob", 2, 1)]));
    assert_eq!((test.told(), test.sent_question()), (vec![2], None));
}

#[test]
fn who_has_not_asked_is_not_told_to_ask() {
    let mut test = Harness::connected();
    test.receive(changed(vec![state("bob", 7, 3)]));
    assert_eq!(test.told(), [7]);
    test.reconnect_soon();
    test.receive(sync_done(&[]));
    test.pass(SECOND);
    assert_eq!(test.try_sent(), None);
}

/// Tests that the last number has no successor, and that no code adds one to it.
#[test]
fn the_largest_numbers_are_numbers() {
    let mut test = Harness::with_list(4);
    test.receive(changed(vec![state("bob", 7, 3)]));
    test.pass(SECOND);
    let (number, _) = test.sent_question().unwrap();
    test.receive(page(number, u64::MAX, false, Vec::new()));
    test.receive(changed(vec![state("bob", u64::MAX, 4)]));
    test.pass(SECOND);
    assert_eq!((test.told(), test.sent_question()), (vec![7, u64::MAX], None));

    let mut list = ConversationList::new(UserId::parse("alice").unwrap());
    list.begin_loading();
    let bob = recipient("bob");
    let conversation = |read| ConversationState::try_from(state("bob", read, read)).unwrap();
    let listed = ListedConversation {
        state: conversation(1),
        last: None,
        last_edit: None,
        last_recalled: None,
        end: u64::MAX,
        unread: 2,
        unread_more: false,
        unread_seqs: vec![2, u64::MAX],
        unread_ids: Vec::new(),
        mention_seqs: vec![u64::MAX],
        mentions: 1,
    };
    list.load(ConversationPage { conversations: vec![listed], ..Default::default() });
    assert_eq!(list.unread().count, 2);
    list.apply(&Event::ConversationsChanged(vec![conversation(u64::MAX)]));
    assert_eq!((list.unread().count, list.get(&bob).unwrap().unread_seqs), (0, vec![]));
}
