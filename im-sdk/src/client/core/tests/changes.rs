//! Messages and changes through the whole core: despite losses, repetitions, reconnects and crashes, a device that follows its logs
//! ends up with their contents.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{content::Change, id::MessageId, timeline::Timeline};

const TEAM: &str = "team";
const LOGS: [&str; 2] = ["", TEAM];

/// An act of a user; ids are not in the order of the logs.
#[derive(Clone, Debug)]
struct Act {
    in_team: bool,
    /// 0 and 1 send a message; others change one.
    what: u8,
    message: Index,
    by_alice: bool,
    skew: u64,
}

fn act() -> impl Strategy<Value = Act> {
    (any::<bool>(), 0..9_u8, any::<Index>(), any::<bool>(), 0..6_u64)
        .prop_map(|(in_team, what, message, by_alice, skew)| Act { in_team, what, message, by_alice, skew })
}

/// Returns the logs as the back end has them.
fn logs(acts: &[Act]) -> [Vec<pb::Push>; 2] {
    let mut logs = [Vec::new(), Vec::new()];
    let mut said: Vec<(MessageId, bool)> = Vec::new();
    for (turn, act) in acts.iter().enumerate() {
        let number = ((turn as u64 + act.skew) << 16) + turn as u64 + 1;
        let id = MessageId::from_u64(number).unwrap();
        let target = (!said.is_empty() && act.what > 1).then(|| *act.message.get(&said));
        let (content, in_team) = match target {
            None => {
                said.push((id, act.in_team));
                (Content::text(format!("said in turn {turn}")), act.in_team)
            }
            Some((message, in_team)) => (change(act.what, message, turn).into(), in_team),
        };
        // A deletion is in the inbox, whichever log the message is in, so a change can be far ahead of its message.
        let is_deletion = act.what == 4 && target.is_some();
        let log = usize::from(in_team && !is_deletion);
        let from = if act.by_alice || is_deletion { "alice" } else { "bob" };
        let message = pb::Message {
            id: number,
            from: from.into(),
            to: String::new(),
            content: Some(content.into()),
            ..Default::default()
        };
        let seq = logs[log].len() as u64 + 1;
        logs[log].push(pb::Push { message: Some(message), channel: LOGS[log].into(), seq });
    }
    logs
}

fn change(what: u8, message: MessageId, turn: usize) -> Change {
    match what {
        2 => Change::recall(message),
        3 => Change::edit(message, format!("edited in turn {turn}")),
        4 => Change::delete_for_me(message),
        5 => Change::react(message, "👍"),
        6 => Change::unreact(message, "👍"),
        7 => Change::pin(message),
        _ => Change::unpin(message),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Pushes the next entries of a log. If `lost`, the bus drops the first of them.
    Push {
        in_team: bool,
        count: usize,
        lost: bool,
        reversed: bool,
    },
    /// Pushes earlier entries again.
    Repeat {
        in_team: bool,
        from: Index,
        count: usize,
    },
    /// The application takes all events, and acknowledges them or not.
    Take {
        acknowledges: bool,
    },
    /// Time passes, and timers fire. A requested sync is answered.
    Pass,
    Reconnect,
    Crash,
    /// The application loads a page of history.
    Page {
        in_team: bool,
        from: Index,
        count: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let push = (any::<bool>(), 1..6_usize, prop::bool::weighted(0.2), any::<bool>())
        .prop_map(|(in_team, count, lost, reversed)| Step::Push { in_team, count, lost, reversed });
    let part = || (any::<bool>(), any::<Index>(), 1..6_usize);
    prop_oneof![
        6 => push,
        2 => part().prop_map(|(in_team, from, count)| Step::Repeat { in_team, from, count }),
        4 => any::<bool>().prop_map(|acknowledges| Step::Take { acknowledges }),
        2 => Just(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Crash),
        1 => part().prop_map(|(in_team, from, count)| Step::Page { in_team, from, count }),
    ]
}

/// A device of alice, and the view of its application, which outlives the process.
struct Device<'a> {
    test: Harness,
    logs: &'a [Vec<pb::Push>; 2],
    /// The number of pushed entries of each log.
    pushed: [usize; 2],
    timeline: Timeline,
}

impl<'a> Device<'a> {
    /// Creates a device that has followed both logs from their beginning.
    fn new(logs: &'a [Vec<pb::Push>; 2]) -> Self {
        let store = MemoryStore::new();
        let start = |channel: &str| SavedCursor { channel: channel.to_owned(), seq: 0, id: 0 };
        let batch = crate::client::device_store::Batch {
            user: "alice".to_owned(),
            cursors: LOGS.map(start).into(),
            ..Default::default()
        };
        store.save(&batch).unwrap();
        let test = Harness::with_store(1, store, Instant::now());
        let timeline = Timeline::new(UserId::parse("alice").unwrap());
        let mut device = Self { test, logs, pushed: [0, 0], timeline };
        device.connect();
        device
    }

    fn connect(&mut self) {
        self.test.core.handle_connect(self.test.now);
        let hello = self.test.connect_all_the_way();
        self.sync(&hello.cursors);
    }

    /// Answers these cursors as a back end does.
    fn sync(&mut self, cursors: &[pb::Cursor]) {
        for cursor in cursors {
            let log = usize::from(!cursor.channel.is_empty());
            let from = usize::try_from(cursor.seq).unwrap();
            for push in self.logs[log].get(from..self.pushed[log]).unwrap_or_default() {
                self.test.receive(pb::frame::Body::Push(push.clone()));
            }
        }
        let end = |log: usize| {
            let last = self.pushed[log].checked_sub(1).map(|index| &self.logs[log][index]);
            let id = last.and_then(|push| push.message.as_ref()).map_or(0, |message| message.id);
            cursor(LOGS[log], self.pushed[log] as u64, id)
        };
        let done = sync_done(&[end(0), end(1)]);
        self.test.receive(done);
    }

    /// Takes all frames of the device, and answers syncs.
    fn transmit(&mut self) {
        while let Some(body) = self.test.try_sent() {
            if let pb::frame::Body::Sync(sync) = body {
                self.sync(&sync.cursors);
            }
        }
    }

    fn take(&mut self, acknowledges: bool) {
        for event in self.test.events() {
            let Event::Message(message) = event else { continue };
            self.timeline.apply(&message);
            if acknowledges && let Some(position) = message.position {
                self.test.core.handle_ack(self.test.now, position);
            }
        }
        self.test.save();
    }

    fn step(mut self, step: &Step) -> Self {
        match step {
            Step::Push { in_team, count, lost, reversed } => {
                let log = usize::from(*in_team);
                let end = (self.pushed[log] + count).min(self.logs[log].len());
                let mut pushes = self.logs[log][self.pushed[log]..end].to_vec();
                self.pushed[log] = end;
                if *reversed {
                    pushes.reverse();
                }
                for push in pushes.into_iter().skip(usize::from(*lost)) {
                    self.test.receive(pb::frame::Body::Push(push));
                }
            }
            Step::Repeat { in_team, from, count } => {
                let log = usize::from(*in_team);
                let from = from.index(self.pushed[log] + 1);
                for push in &self.logs[log][from..(from + count).min(self.pushed[log])] {
                    self.test.receive(pb::frame::Body::Push(push.clone()));
                }
            }
            Step::Take { acknowledges } => self.take(*acknowledges),
            Step::Pass => {
                self.test.pass(SECOND);
                self.transmit();
            }
            Step::Reconnect => {
                self.test.broken();
                self.test.core.handle_connect(self.test.now);
                let hello = self.test.connect_all_the_way();
                self.sync(&hello.cursors);
            }
            Step::Crash => {
                let Self { test, logs, pushed, timeline } = self;
                self = Self { test: test.crash(), logs, pushed, timeline };
                self.connect();
            }
            Step::Page { in_team, from, count } => self.page(usize::from(*in_team), *from, *count),
        }
        self
    }

    fn page(&mut self, log: usize, from: Index, count: usize) {
        let from = from.index(self.pushed[log] + 1);
        for push in self.logs[log][from..(from + count).min(self.pushed[log])].iter().rev() {
            show(&mut self.timeline, push);
        }
    }

    /// Pushes all entries, and lets the device sync the missing ones.
    fn settle(mut self) -> Timeline {
        self.pushed = [self.logs[0].len(), self.logs[1].len()];
        self = self.step(&Step::Reconnect);
        for _ in 0..10 {
            self = self.step(&Step::Pass);
            self.take(true);
        }
        for (log, channel) in LOGS.into_iter().enumerate() {
            let position = self.test.core.logs.position(&Log::parse(channel).unwrap());
            assert_eq!(position, self.logs[log].len() as u64, "{channel:?} is followed to its end");
        }
        self.timeline
    }
}

fn show(timeline: &mut Timeline, push: &pb::Push) {
    let message = push.message.clone().unwrap();
    let (id, from) = (MessageId::from_u64(message.id).unwrap(), UserId::parse(&message.from).unwrap());
    let channel = crate::id::ChannelId::parse(&push.channel).ok();
    let content = message.content.into();
    let entry = crate::timeline::Entry::new(id, Some(&from), &content);
    timeline.apply(entry.at(channel.as_ref(), push.seq));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn devices_end_with_what_the_logs_say(
        acts in vec(act(), 0..40),
        first in vec(step(), 0..40),
        second in vec(step(), 0..40),
    ) {
        let logs = logs(&acts);
        let mut expected = Timeline::new(UserId::parse("alice").unwrap());
        logs.iter().flatten().for_each(|push| show(&mut expected, push));
        for steps in [first, second] {
            let device = steps.iter().fold(Device::new(&logs), Device::step);
            prop_assert_eq!(&device.settle(), &expected);
        }
    }
}
