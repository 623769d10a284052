//! Frames of every kind from a server, with nonsensical numbers: no panics, every publish is resolved exactly once, and the events do no
//! harm to the models that applications show.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    golden_frames::{Edit, edit, edited, golden},
    random_inputs::Watch,
    *,
};
use crate::{
    Conversation, ConversationChange, HistoryRange, ReadMark, Search,
    client::{ConversationList, core::requests::is_answer},
    timeline::Timeline,
};

#[derive(Clone, Debug)]
enum Step {
    /// A golden frame with other numbers. A response gets the number of a pending request that it fits, if there is one.
    Say(Index, Index, Vec<Edit>),
    /// A golden frame with a flipped bit, or cut short.
    Break(Index, Index, Index, Option<u8>),
    Publish(u8),
    Send,
    Ask(u8),
    Mark(u64),
    Ack,
    BeginLoading,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (any::<Index>(), any::<Index>(), vec(edit(), 0..6))
            .prop_map(|(kind, which, edits)| Step::Say(kind, which, edits)),
        1 => (any::<Index>(), any::<Index>(), any::<Index>(), proptest::option::of(0..8_u8))
            .prop_map(|(kind, which, at, bit)| Step::Break(kind, which, at, bit)),
        1 => (0..4_u8).prop_map(Step::Publish),
        1 => Just(Step::Send),
        8 => (0..8_u8).prop_map(Step::Ask),
        1 => edit().prop_map(|edit| Step::Mark(edit.number)),
        1 => Just(Step::Ack),
        1 => Just(Step::BeginLoading),
        2 => (0..2000_u32).prop_map(Step::Pass),
    ]
}

/// A device, and the models of its application.
struct Shown {
    test: Harness,
    watch: Watch,
    /// The last requests.
    asked: VecDeque<pb::Request>,
    /// The position of the last entry or reset.
    position: Option<Position>,
    list: ConversationList,
    timeline: Timeline,
}

impl Shown {
    fn new(seed: u64) -> Self {
        let alice = UserId::parse("alice").unwrap();
        Self {
            test: Harness::seeded(seed),
            watch: Watch::default(),
            asked: VecDeque::new(),
            position: None,
            list: ConversationList::new(alice.clone()),
            timeline: Timeline::new(alice),
        }
    }

    fn take(&mut self, step: Step) {
        self.stay_connected();
        let now = self.test.now;
        match step {
            Step::Say(kind, which, edits) => self.say(golden(&kind, &which), &edits),
            Step::Break(kind, which, at, bit) => {
                let mut frame = golden(&kind, &which).to_vec();
                match bit {
                    Some(bit) => *at.get_mut(&mut frame) ^= 1 << bit,
                    None => frame.truncate(at.index(frame.len())),
                }
                self.test.core.handle_frame(now, frame.into());
            }
            Step::Publish(to) => self.watch.publish(&mut self.test, to),
            Step::Send => self.test.send(1, "bob"),
            Step::Ask(kind) => self.ask(kind),
            Step::Mark(seq) => {
                let read = ConversationChange::new().read(ReadMark::new(seq, None));
                _ = self.test.core.handle_mark(now, recipient("bob"), read);
            }
            Step::Ack => {
                if let Some(position) = self.position.clone() {
                    self.test.core.handle_ack(now, position);
                }
            }
            Step::BeginLoading => self.list.begin_loading(),
            Step::Pass(millis) => self.test.pass(MS * millis),
        }
        self.look();
    }

    /// Reconnects if necessary, and takes the frames to send.
    fn stay_connected(&mut self) {
        let test = &mut self.test;
        if test.core.state() != State::Connected {
            test.core.handle_disconnect();
            while test.core.poll_action().is_some() {}
            test.core.handle_connect(test.now);
            test.connect_all_the_way();
        }
        while let Some(body) = test.try_sent() {
            self.watch.sent(&body);
            if let pb::frame::Body::Request(request) = body {
                self.asked.push_front(request);
                self.asked.truncate(16);
            }
        }
    }

    fn say(&mut self, frame: &Bytes, edits: &[Edit]) {
        let frame = edited(frame, edits);
        let Ok(Some(mut body)) = frame::decode(frame.clone()) else {
            return self.test.core.handle_frame(self.test.now, frame);
        };
        if let pb::frame::Body::Response(pb::Response { number, outcome: Some(outcome) }) = &mut body {
            let refused = matches!(outcome, pb::response::Outcome::Refused(_));
            let fits = |asked: &pb::Request| {
                refused || asked.question.as_ref().is_some_and(|question| is_answer(question, outcome))
            };
            if let Some(asked) = self.asked.iter().position(fits).and_then(|at| self.asked.remove(at)) {
                *number = asked.number;
            }
            if let pb::response::Outcome::Conversations(list) = outcome {
                // Packed numbers are not edited in the encoded frame.
                for listed in &mut list.conversations {
                    listed.unread_seqs.extend(edits.iter().map(|edit| edit.number));
                    listed.mention_seqs.extend(edits.iter().map(|edit| edit.number));
                }
            }
        }
        self.test.receive(body);
    }

    fn ask(&mut self, kind: u8) {
        use pb::request::Question;
        let (core, now, ticket) = (&mut self.test.core, self.test.now, u32::MAX);
        match kind {
            0..=2 => {
                core.handle_ask(now, ticket, Question::Conversations(pb::ConversationsRequest::default()));
            }
            3 => core.handle_history(now, ticket, Conversation::Inbox, HistoryRange::Newest.into(), 0, true),
            4 => core.handle_search(now, ticket, Search::new("hi"), 0),
            5 => core.handle_join_room(now, ticket, ChannelId::parse("lobby").unwrap(), Bytes::new()),
            6 => core.handle_watch(now, ticket, vec![UserId::parse("bob").unwrap()]),
            _ => core.handle_ask(now, ticket, Question::Readers(pb::ReadersRequest::default())),
        }
    }

    /// Acts as the application does.
    fn look(&mut self) {
        self.watch.collect(&mut self.test);
        for event in self.test.events() {
            self.list.apply(&event);
            match &event {
                Event::Message(message) => {
                    self.timeline.apply(message);
                    self.position = message.position.clone();
                }
                Event::Reset { position, .. } => self.position = Some(position.clone()),
                _ => {}
            }
        }
        while let Some((_, answer)) = self.test.core.poll_answered(self.test.now) {
            match answer {
                Ok(Reply::Conversations(page)) => self.list.load(*page),
                Ok(Reply::History(page)) => {
                    page.messages.iter().for_each(|message| _ = self.timeline.apply(message));
                }
                _ => {}
            }
        }
        let listed: u64 = self.list.conversations().iter().map(|listed| u64::from(listed.unread)).sum();
        assert!(self.list.unread().count <= listed, "muted ones do not count");
        assert!(self.timeline.messages().all(|message| self.timeline.get(message.id()).is_some()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_server_says_does_no_harm(seed: u64, steps in vec(step(), 0..200)) {
        let mut shown = Shown::new(seed);
        for step in steps {
            shown.take(step);
        }
        shown.test.pass(31 * SECOND);
        shown.look();
        prop_assert!(shown.watch.is_complete());
        shown.test.core.handle_close(shown.test.now, Duration::ZERO);
        prop_assert!(shown.test.core.is_closed());
    }
}
