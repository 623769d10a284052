//! Retryable failures: only sends that certainly had no effect, considering all earlier answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A refusal of a publish.
#[derive(Clone, Copy, Debug)]
struct No {
    kind: i32,
    retry_after_ms: u32,
}

impl No {
    /// Decides by PROTOCOL.md, independently of the code.
    fn is_certain(self) -> bool {
        use pb::RefusalKind::{Invalid, NoBackend, NumberUsed, Rule, TooMany};
        let certain = [Rule, Invalid, TooMany, NoBackend, NumberUsed];
        certain.iter().any(|kind| *kind as i32 == self.kind)
    }

    fn frame(self, number: u64) -> pb::frame::Body {
        let Self { kind, retry_after_ms } = self;
        let outcome = pb::Refused { kind, reason: "no".to_owned(), code: 0, retry_after_ms };
        let outcome = Some(pb::publish_result::Outcome::Refused(outcome));
        pb::frame::Body::PublishResult(pb::PublishResult { number, outcome })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Send(u8),
    Connect,
    Transmit,
    Refuse(usize, No),
    Accept(usize),
    Riddle(usize),
    Lose,
    Kick,
    Disconnect,
    Pass(u32),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    // 0 and 99 are kinds that this version does not know.
    let kind = prop_oneof![0..8_i32, Just(99)];
    let no = (kind, prop_oneof![Just(0), 1..3000_u32, Just(60_000)])
        .prop_map(|(kind, retry_after_ms)| No { kind, retry_after_ms });
    prop_oneof![
        4 => (0..3_u8).prop_map(Step::Publish),
        2 => (0..3_u8).prop_map(Step::Send),
        6 => Just(Step::Connect),
        8 => Just(Step::Transmit),
        8 => (0..3_usize, no).prop_map(|(index, no)| Step::Refuse(index, no)),
        1 => (0..3_usize).prop_map(Step::Accept),
        1 => (0..3_usize).prop_map(Step::Riddle),
        1 => Just(Step::Lose),
        1 => Just(Step::Kick),
        1 => Just(Step::Disconnect),
        4 => (0..8_000_u32).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

/// Counts the tries of each text, and those that certainly had no effect.
#[derive(Default)]
struct Watch {
    published: u32,
    tries: BTreeMap<String, u32>,
    nothings: BTreeMap<String, u32>,
    /// Publishes that were sent over this connection and not answered.
    open: Vec<(u64, String)>,
    sends: BTreeMap<LocalId, String>,
    /// The number of retryable failures, which shows that the test covers them.
    retryable: usize,
}

impl Watch {
    fn publish(&mut self, test: &mut Harness, to: u8, waits: bool) {
        let (ticket, to) = (self.published, recipient(&format!("user{to}")));
        self.published += 1;
        let content = Content::text(ticket.to_string());
        if waits {
            test.core.handle_publish(test.now, ticket, to, content, None);
        } else {
            test.core.handle_send(test.now, ticket | SEND, to, content, None);
        }
    }

    fn transmit(&mut self, test: &mut Harness) {
        while let Some(body) = test.try_sent() {
            let pb::frame::Body::Publish(publish) = body else { continue };
            let text = Content::from(publish.content).as_text().unwrap().to_owned();
            *self.tries.entry(text.clone()).or_default() += 1;
            self.open.push((publish.number, text));
        }
    }

    fn take_open(&mut self, index: usize) -> Option<(u64, String)> {
        (index < self.open.len()).then(|| self.open.remove(index))
    }

    fn check(&mut self, text: &str, error: &PublishError, retryable: bool) {
        assert_eq!(error.is_retryable(), retryable);
        let count = |counts: &BTreeMap<String, u32>| counts.get(text).copied().unwrap_or_default();
        let clean = count(&self.tries) == count(&self.nothings);
        assert!(clean || !retryable, "{text} may have been taken, and is to be sent anew: {error:?}");
        self.retryable += usize::from(retryable);
    }

    fn collect(&mut self, test: &mut Harness) {
        test.save();
        for queued in test.core.unsettled() {
            self.sends.insert(queued.local_id, queued.content.as_text().unwrap().to_owned());
        }
        while let Some((ticket, outcome)) = test.core.poll_resolved() {
            if let Err(error) = outcome {
                self.check(&ticket.to_string(), &error, error.is_retryable());
            }
        }
        for event in test.events() {
            if let Event::PublishFailed { local_id, error, retryable } = event {
                let text = self.sends[&local_id].clone();
                self.check(&text, &error, retryable);
            }
        }
    }
}

fn connect(test: &mut Harness) {
    match test.core.state() {
        State::Connected => return,
        State::Connecting => {}
        _ => test.core.handle_connect(test.now),
    }
    test.connect_all_the_way();
}

fn take(mut test: Harness, watch: &mut Watch, step: Step) -> Harness {
    match step {
        Step::Publish(to) => watch.publish(&mut test, to, true),
        Step::Send(to) => watch.publish(&mut test, to, false),
        Step::Connect => connect(&mut test),
        Step::Transmit => watch.transmit(&mut test),
        Step::Refuse(index, no) => {
            if let Some((number, text)) = watch.take_open(index) {
                *watch.nothings.entry(text).or_default() += u32::from(no.is_certain());
                test.receive(no.frame(number));
            }
        }
        Step::Accept(index) => {
            if let Some((number, _)) = watch.take_open(index) {
                test.receive(accepted(number));
            }
        }
        Step::Riddle(index) => {
            if let Some((number, _)) = watch.take_open(index) {
                test.receive(pb::frame::Body::PublishResult(pb::PublishResult { number, outcome: None }));
            }
        }
        Step::Lose => test.broken(),
        Step::Kick => test.closed_by_server(CloseCode::Kicked),
        Step::Disconnect => {
            test.core.handle_disconnect();
            // Takes the actions, such as the withdrawal of a request for a token.
            while test.core.poll_action().is_some() {}
        }
        Step::Pass(millis) => test.pass(MS * millis),
        Step::Crash => {
            test.save();
            watch.collect(&mut test);
            test = test.crash();
        }
    }
    if test.core.state() != State::Connected {
        watch.open.clear();
    }
    test
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Holds for any sequence of answers.
    #[test]
    fn what_may_have_been_taken_is_never_retryable(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut test, mut watch) = (Harness::connected(), Watch::default());
        for step in steps {
            test = take(test, &mut watch, step);
            watch.collect(&mut test);
        }
        test.pass(61 * SECOND);
        watch.collect(&mut test);
    }
}

const LATE: No = No { kind: pb::RefusalKind::Unavailable as i32, retry_after_ms: 1000 };
const TOO_MANY: No = No { kind: pb::RefusalKind::TooMany as i32, retry_after_ms: 1000 };

/// Returns the outcome of a publish whose tries get these answers in turn, until the last answer or its deadline.
fn outcome(answers: &[No]) -> PublishError {
    let mut test = Harness::connected();
    test.publish(1, "bob");
    for answer in answers {
        while test.core.outbox.poll_timeout().is_some() {
            let sent = std::iter::from_fn(|| test.try_sent());
            let publish = sent.into_iter().find(|body| matches!(body, pb::frame::Body::Publish(_)));
            if publish.is_some() {
                test.receive(answer.frame(1));
                break;
            }
            test.pass(100 * MS);
            test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        }
    }
    for _ in 0..40 {
        test.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
        test.pass(SECOND);
    }
    test.core.poll_resolved().expect("an outcome").1.expect_err("no")
}

#[test]
fn an_answer_that_came_too_late_leaves_it_open() {
    let final_no = |kind: pb::RefusalKind| No { kind: kind as i32, retry_after_ms: 0 };
    let too_late = No { retry_after_ms: 60_000, ..LATE };
    let open = PublishError::Unconfirmed { reason: "no".to_owned() };
    for answers in [
        vec![too_late],
        vec![LATE, too_late],
        vec![final_no(pb::RefusalKind::Internal)],
        vec![final_no(pb::RefusalKind::Unspecified)],
        // The last refusal is certain, but it says nothing about the first try.
        vec![LATE, TOO_MANY, No { retry_after_ms: 60_000, ..TOO_MANY }],
        vec![LATE],
    ] {
        assert_eq!(outcome(&answers), open, "{answers:?}");
    }
    assert!(!open.is_retryable());
}

#[test]
fn what_came_to_nothing_may_be_sent_anew() {
    let busy = outcome(&[TOO_MANY, TOO_MANY, No { retry_after_ms: 60_000, ..TOO_MANY }]);
    assert!(busy.is_retryable() && busy.code() == "refused", "{busy:?}");
    let nobody = No { kind: pb::RefusalKind::NoBackend as i32, retry_after_ms: 1000 };
    let without_backend = outcome(&[nobody, nobody]);
    assert!(without_backend.is_retryable(), "{without_backend:?}");
    // The deadline passes during the wait for the next try.
    let refused_again_and_again = outcome(&[No { retry_after_ms: 14_000, ..TOO_MANY }; 9]);
    assert!(refused_again_and_again.is_retryable(), "{refused_again_and_again:?}");
    let rule = outcome(&[LATE, No { kind: pb::RefusalKind::Rule as i32, retry_after_ms: 0 }]);
    assert!(!rule.is_retryable() && rule.code() == "refused", "the back end's own words are told: {rule:?}");
}

/// The failure of a send is stored, and reported again by the next process.
#[test]
fn what_is_open_stays_so_in_the_next_process() {
    let mut test = Harness::connected();
    let local_id = test.taken("bob");
    assert_eq!(test.sent_publish().number, 1);
    test.receive(No { kind: pb::RefusalKind::Internal as i32, retry_after_ms: 0 }.frame(1));
    let error = PublishError::Unconfirmed { reason: "no".to_owned() };
    let told = [Event::PublishFailed { local_id, error, retryable: false }];
    assert_eq!(test.events(), told);
    test.save();
    assert_eq!(test.crash().events(), told);
}
