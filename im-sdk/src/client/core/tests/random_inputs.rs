//! Random inputs in any order: no panics, no hangs, and every publish is resolved exactly once. `server_frames.rs` tests the frames of a
//! server on a connection that lasts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    golden_frames::{Edit, edit, edited, golden},
    *,
};

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Disconnect,
    Reading(bool),
    Token(u8),
    Established(bool),
    Unreachable,
    Ended(u16),
    Welcome(u32),
    Answer(u64, u8),
    Push,
    Ping,
    GoAway(u32),
    Garbage(Vec<u8>),
    /// A golden frame with other numbers.
    Said(Index, Index, Vec<Edit>),
    Publish(u8),
    Pass(u32),
    Transmit,
    Drain,
    NetworkChanged,
    Background(u32),
    Foreground,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        1 => any::<bool>().prop_map(Step::Reading),
        6 => (0..8_u8).prop_map(Step::Token),
        6 => any::<bool>().prop_map(Step::Established),
        1 => Just(Step::Unreachable),
        1 => prop_oneof![4000..4006_u16, 4200..4202_u16, 4400..4406_u16, any::<u16>()].prop_map(Step::Ended),
        6 => (0..5_u32).prop_map(Step::Welcome),
        8 => (0..40_u64, 0..8_u8).prop_map(|(number, kind)| Step::Answer(number, kind)),
        1 => Just(Step::Push),
        1 => Just(Step::Ping),
        1 => (0..5000_u32).prop_map(Step::GoAway),
        1 => vec(any::<u8>(), 0..20).prop_map(Step::Garbage),
        4 => (any::<Index>(), any::<Index>(), vec(edit(), 0..4))
            .prop_map(|(kind, which, edits)| Step::Said(kind, which, edits)),
        10 => (0..4_u8).prop_map(Step::Publish),
        4 => (0..20_000_u32).prop_map(Step::Pass),
        6 => Just(Step::Transmit),
        6 => Just(Step::Drain),
        1 => Just(Step::NetworkChanged),
        1 => (0..5000_u32).prop_map(Step::Background),
        1 => Just(Step::Foreground),
        1 => Just(Step::Close),
    ]
}

/// The checks after every input.
#[derive(Default)]
pub(super) struct Watch {
    published: u32,
    resolved: BTreeSet<u32>,
    numbers: BTreeMap<u64, pb::Publish>,
}

impl Watch {
    pub(super) fn publish(&mut self, test: &mut Harness, to: u8) {
        let content = Content::text(self.published.to_string());
        let to = recipient(&format!("user{to}"));
        test.core.handle_publish(test.now, self.published, to, content, None);
        self.published += 1;
    }

    fn transmit(&mut self, test: &mut Harness) {
        while let Some(body) = test.try_sent() {
            self.sent(&body);
        }
    }

    pub(super) fn sent(&mut self, body: &pb::frame::Body) {
        if let pb::frame::Body::Publish(publish) = body {
            let first = self.numbers.entry(publish.number).or_insert_with(|| publish.clone());
            assert_eq!(first, publish, "a number means one publish");
        }
    }

    pub(super) fn collect(&mut self, test: &mut Harness) {
        for (ticket, _) in test.resolved() {
            assert!(self.resolved.insert(ticket), "{ticket} was resolved twice");
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.resolved.len() == self.published as usize
    }
}

fn take(test: &mut Harness, watch: &mut Watch, step: Step) {
    let now = test.now;
    match step {
        Step::Connect => test.core.handle_connect(now),
        Step::Disconnect => test.core.handle_disconnect(),
        Step::NetworkChanged => test.core.handle_network_changed(now),
        Step::Background(ms) => test.core.handle_background(now, now + MS * ms),
        Step::Foreground => test.core.handle_foreground(now),
        Step::Reading(reading) => test.core.handle_reading(now, reading),
        Step::Token(0) => test.core.handle_token(now, Err(TokenError::Denied(String::new()))),
        Step::Token(1) => test.core.handle_token(now, Err(TokenError::Unavailable(String::new()))),
        Step::Token(_) => test.core.handle_token(now, Ok("token".to_owned())),
        Step::Established(second) => {
            let endpoint = if second { "ws://b:2" } else { "ws://a:2" }.parse().unwrap();
            let via = Via { transport: Transport::WebSocket, endpoint };
            test.core.handle_established(now, via, usize::from(second));
        }
        Step::Unreachable => test.core.handle_unreachable(now, String::new()),
        Step::Ended(code) => test.closed_by_server(code.into()),
        Step::Welcome(max_inflight_publishes) => {
            let limits = Some(pb::Limits { max_frame_bytes: 500, max_inflight_publishes });
            let user = "alice".to_owned();
            let welcome = pb::Welcome { version: 1, user, heartbeat_ms: 5000, limits, ..Default::default() };
            test.receive(pb::frame::Body::Welcome(welcome));
        }
        Step::Answer(number, 0) => test.receive(refused(number, pb::RefusalKind::Unavailable, 500)),
        Step::Answer(number, 1) => test.receive(refused(number, pb::RefusalKind::Rule, 0)),
        Step::Answer(number, 2) => test.receive(refused(number, pb::RefusalKind::NumberUsed, 0)),
        Step::Answer(number, _) => test.receive(accepted(number)),
        Step::Push => test.receive(push(1, "bob")),
        Step::Ping => test.receive(pb::frame::Body::Ping(pb::Ping { echo: 1 })),
        Step::GoAway(reconnect_within_ms) => {
            test.receive(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms }));
        }
        Step::Garbage(bytes) => test.core.handle_frame(now, bytes.into()),
        Step::Said(kind, which, edits) => test.core.handle_frame(now, edited(golden(&kind, &which), &edits)),
        Step::Publish(to) => watch.publish(test, to),
        Step::Pass(millis) => test.pass(MS * millis),
        Step::Transmit => watch.transmit(test),
        Step::Drain => {
            watch.collect(test);
            watch.transmit(test);
            test.drain();
        }
        Step::Close => test.core.handle_close(now, 5 * SECOND),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_publish_is_resolved_once(seed: u64, steps in vec(step(), 0..300)) {
        let mut test = Harness::seeded(seed);
        let mut watch = Watch::default();
        for step in steps {
            take(&mut test, &mut watch, step);
            watch.collect(&mut test);
        }
        test.pass(31 * SECOND);
        watch.collect(&mut test);
        prop_assert!(watch.is_complete());
        test.core.handle_close(test.now, Duration::ZERO);
        prop_assert!(test.core.is_closed());
        prop_assert_eq!(test.core.poll_timeout(), None);
    }
}

/// A regression test for a failure found by the property above.
#[test]
fn a_disconnect_while_closing_leaves_no_publish_behind() {
    let steps = [
        Step::Connect,
        Step::Token(2),
        Step::Established(false),
        Step::Welcome(0),
        Step::Publish(0),
        Step::Close,
        Step::Disconnect,
        Step::Drain,
    ];
    let mut test = Harness::seeded(0);
    let mut watch = Watch::default();
    for step in steps {
        take(&mut test, &mut watch, step);
        watch.collect(&mut test);
    }
    test.pass(31 * SECOND);
    watch.collect(&mut test);
    assert!(watch.is_complete());
}
