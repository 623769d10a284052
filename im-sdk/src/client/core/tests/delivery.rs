//! Whatever the network, the servers and the process do: the application sees every entry of a log once and in order, or an
//! explicit reset first; after a crash again from what it acknowledged last. And whatever was taken is published once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const CHANNELS: [&str; 3] = ["", "red", "blue"];

/// What the back ends and Redis hold.
struct Backend {
    logs: BTreeMap<&'static str, BackendLog>,
    /// The logs that the user is not a member of.
    left: BTreeSet<&'static str>,
    next_id: u64,
    /// The results of the last number of each conversation.
    results: BTreeMap<(String, String), (u64, u64)>,
    /// Which publishes had an effect, by conversation.
    effects: BTreeMap<(String, String), Vec<u32>>,
}

#[derive(Default)]
struct BackendLog {
    /// Messages by seq; the oldest ones are gone.
    entries: BTreeMap<u64, u64>,
    last: u64,
}

impl BackendLog {
    fn id_at(&self, seq: u64) -> u64 {
        self.entries.get(&seq).copied().unwrap_or_default()
    }

    fn first(&self) -> u64 {
        self.entries.first_key_value().map_or(self.last + 1, |(seq, _)| *seq)
    }
}

impl Backend {
    fn new() -> Self {
        let logs = CHANNELS.into_iter().map(|name| (name, BackendLog::default())).collect();
        Self { logs, left: BTreeSet::new(), next_id: 1, results: BTreeMap::new(), effects: BTreeMap::new() }
    }

    fn append(&mut self, channel: &'static str) -> pb::frame::Body {
        let id = self.next_id;
        self.next_id += 1;
        let log = self.logs.get_mut(channel).unwrap();
        log.last += 1;
        log.entries.insert(log.last, id);
        frame_of(channel, log.last, id)
    }

    fn trim(&mut self, channel: &str, keep: usize) {
        let log = self.logs.get_mut(channel).unwrap();
        while log.entries.len() > keep {
            log.entries.pop_first();
        }
    }

    /// A failover loses the newest entries.
    fn roll_back(&mut self, channel: &str, by: u64) {
        let log = self.logs.get_mut(channel).unwrap();
        log.last = log.last.saturating_sub(by).max(log.first().saturating_sub(1));
        log.entries.retain(|seq, _| *seq <= log.last);
    }

    /// The answer to a sync, with at most `page` entries of each log.
    fn sync(&self, cursors: &[pb::Cursor], page: usize) -> Vec<pb::frame::Body> {
        let strange = cursors.iter().filter(|cursor| self.left.contains(&*cursor.channel));
        let mut frames: Vec<_> = strange.map(|cursor| left(&cursor.channel)).collect();
        let followed = || self.logs.iter().filter(|(channel, _)| !self.left.contains(*channel));
        for (channel, log) in followed() {
            let cursor = cursors.iter().find(|cursor| cursor.channel == *channel);
            let from = self.start(channel, log, cursor, &mut frames);
            let entries = log.entries.range(from + 1..).take(page);
            frames.extend(entries.map(|(seq, id)| frame_of(channel, *seq, *id)));
        }
        let ends: Vec<_> =
            followed().map(|(channel, log)| cursor(channel, log.last, log.id_at(log.last))).collect();
        frames.push(sync_done(&ends));
        frames
    }

    fn start(
        &self,
        channel: &str,
        log: &BackendLog,
        known: Option<&pb::Cursor>,
        frames: &mut Vec<pb::frame::Body>,
    ) -> u64 {
        let (seq, reason) = match known {
            None => (log.last, pb::ResetReason::New),
            Some(known) if known.seq + 1 < log.first() => (log.first() - 1, pb::ResetReason::Trimmed),
            Some(known) if known.seq > log.last || is_other(log, known) => {
                (log.first() - 1, pb::ResetReason::Forked)
            }
            Some(known) => return known.seq,
        };
        let cursor = Some(cursor(channel, seq, log.id_at(seq)));
        frames.push(pb::frame::Body::Reset(pb::Reset { cursor, reason: reason.into() }));
        seq
    }

    fn publish(&mut self, publish: &pb::Publish) -> pb::frame::Body {
        let text = Content::from(publish.content.clone()).as_text().unwrap().parse().unwrap();
        let last = self.results.get(&conversation(publish)).copied();
        let id = match last {
            Some((number, id)) if number == publish.number => id,
            Some((number, _)) => {
                assert!(number < publish.number, "numbers of a conversation rise");
                self.take(publish, text)
            }
            None => self.take(publish, text),
        };
        let outcome = pb::Accepted { message_id: id, answer: Bytes::new() };
        let outcome = Some(pb::publish_result::Outcome::Accepted(outcome));
        pb::frame::Body::PublishResult(pb::PublishResult { number: publish.number, outcome })
    }

    fn take(&mut self, publish: &pb::Publish, text: u32) -> u64 {
        self.next_id += 1;
        self.results.insert(conversation(publish), (publish.number, self.next_id));
        self.effects.entry(conversation(publish)).or_default().push(text);
        self.next_id
    }
}

fn conversation(publish: &pb::Publish) -> (String, String) {
    (publish.to.clone(), publish.channel.clone())
}

fn left(channel: &str) -> pb::frame::Body {
    let (cursor, reason) = (Some(cursor(channel, 0, 0)), pb::ResetReason::Left.into());
    pb::frame::Body::Reset(pb::Reset { cursor, reason })
}

fn is_other(log: &BackendLog, known: &pb::Cursor) -> bool {
    let id = log.id_at(known.seq);
    id != 0 && known.id != 0 && id != known.id
}

fn frame_of(channel: &str, seq: u64, id: u64) -> pb::frame::Body {
    let pb::frame::Body::Push(push) = push(id, "bob") else { panic!("no push") };
    pb::frame::Body::Push(pb::Push { channel: channel.to_owned(), seq, ..push })
}

/// What the application has, in memory and on its own disk.
#[derive(Clone, Default)]
struct Application {
    /// Where each log stands; `None` before its first reset.
    at: BTreeMap<String, u64>,
    /// The ids of what it has of each log since its last reset.
    ids: BTreeMap<String, BTreeMap<u64, u64>>,
    /// What it has acknowledged, which survives a crash.
    settled: BTreeMap<String, Position>,
    sent: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

impl Application {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Message(message) => {
                let position = message.position.as_ref().unwrap();
                let at = self.at.get(position.log.as_str()).copied();
                let next = at.map_or(1, |seq| seq + 1);
                assert_eq!(position.seq, next, "{} stood at {at:?}", position.log);
                self.at.insert(position.log.as_str().to_owned(), next);
                let ids = self.ids.entry(position.log.as_str().to_owned()).or_default();
                ids.insert(next, message.id.as_u64());
            }
            Event::Reset { position, reason: ResetReason::Left } => {
                let was_at = self.at.remove(position.log.as_str());
                assert!(was_at.is_some(), "{} was left twice", position.log);
                self.settled.remove(position.log.as_str());
                self.ids.remove(position.log.as_str());
            }
            Event::Reset { position, .. } => {
                self.at.insert(position.log.as_str().to_owned(), position.seq);
                self.ids.remove(position.log.as_str());
            }
            Event::Published { local_id, .. } => _ = self.ended.insert(local_id.as_u64()),
            Event::PublishFailed { .. } => panic!("nothing is refused here"),
            _ => {}
        }
    }
}

struct World {
    test: Harness,
    backend: Backend,
    application: Application,
    /// On their way to the device.
    wire: VecDeque<pb::frame::Body>,
    /// Seen by the application, not acknowledged.
    seen: Vec<Position>,
    rng: StdRng,
    /// How many of a hundred frames are lost, doubled, and overtaken.
    faults: (u32, u32, u32),
    texts: u32,
    /// Logs that were rolled back, and how many entries they have got since, until the devices are told.
    rolled_back: BTreeMap<&'static str, u32>,
    /// Logs of which the device cannot know any more whether it saw what stands there.
    unsure: BTreeSet<&'static str>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut test = Harness::seeded(seed);
        test.core.handle_connect(test.now);
        Self {
            test,
            backend: Backend::new(),
            application: Application::default(),
            wire: VecDeque::new(),
            seen: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            faults: (10, 10, 20),
            texts: 0,
            rolled_back: BTreeMap::new(),
            unsure: BTreeSet::new(),
        }
    }

    fn roll_back(&mut self, channel: &'static str, by: u64) {
        self.backend.roll_back(channel, by);
        self.rolled_back.entry(channel).or_default();
    }

    /// The server that the device is connected to finds that logs may have been rolled back.
    fn tell_of_rollbacks(&mut self) {
        if !self.rolled_back.is_empty() && matches!(self.test.core.phase, Phase::Connected(_)) {
            // Seconds later: nothing of before is on its way any more.
            self.deliver(usize::MAX);
            self.test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: true }));
            self.rolled_back.clear();
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Puts a frame onto a faulty bus.
    fn route(&mut self, body: pb::frame::Body) {
        let (lost, doubled, overtaken) = self.faults;
        if self.chance(doubled) {
            self.wire.push_back(body.clone());
        }
        if self.chance(lost) {
            return;
        }
        let behind = if self.chance(overtaken) { self.rng.random_range(0..4_usize) } else { 0 };
        let at = self.wire.len().saturating_sub(behind);
        self.wire.insert(at, body);
    }

    /// Everything that the device sends, and the answers.
    fn serve(&mut self) {
        while let Some(body) = self.test.try_sent() {
            match body {
                pb::frame::Body::Hello(hello) => {
                    // On the connection itself nothing is lost.
                    self.test.receive(welcome());
                    self.answer(&hello.cursors);
                }
                pb::frame::Body::Sync(sync) => self.answer(&sync.cursors),
                pb::frame::Body::Publish(publish) => {
                    let result = self.backend.publish(&publish);
                    self.route(result);
                }
                pb::frame::Body::Ping(ping) => {
                    self.test.receive(pb::frame::Body::Pong(pb::Pong { echo: ping.echo }));
                }
                _ => {}
            }
        }
        self.keep_connected();
    }

    fn answer(&mut self, cursors: &[pb::Cursor]) {
        let page = self.rng.random_range(1..40);
        for frame in self.backend.sync(cursors, page) {
            self.route(frame);
        }
    }

    fn keep_connected(&mut self) {
        while let Some(action) = self.test.core.poll_action() {
            match action {
                Action::AskToken(_) => self.test.core.handle_token(self.test.now, Ok("token".to_owned())),
                Action::Connect(rounds) => {
                    let endpoint = rounds[0].websocket.clone().unwrap();
                    let via = Via { transport: Transport::WebSocket, endpoint };
                    self.test.core.handle_established(self.test.now, via, 0);
                    self.serve();
                }
                Action::Close(..) => self.wire.clear(),
                Action::AskEndpoints => {}
            }
        }
    }

    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some(body) = self.wire.pop_front() else { break };
            self.test.receive(body);
        }
        self.serve();
    }

    /// The application takes events, and acknowledges some of them.
    fn process(&mut self, acknowledge: u32) {
        for event in self.test.events() {
            self.application.see(&event);
            match event {
                Event::Message(message) => self.seen.extend(message.position),
                Event::Reset { reason: ResetReason::Left, .. } => {}
                Event::Reset { position, .. } => {
                    self.unsure.retain(|channel| *channel != position.log.as_str());
                    self.seen.push(position);
                }
                _ => {}
            }
        }
        if self.chance(acknowledge) {
            for position in std::mem::take(&mut self.seen) {
                self.application.settled.insert(position.log.as_str().to_owned(), position.clone());
                self.test.core.handle_ack(self.test.now, position);
            }
        }
        self.test.save();
        for (_, taken) in std::mem::take(&mut self.test.taken) {
            self.application.sent.insert(taken.unwrap().as_u64());
        }
    }

    /// What the back end has appended goes out, if the user is a member.
    fn append(&mut self, channel: &'static str) {
        let push = self.backend.append(channel);
        if let Some(since) = self.rolled_back.get_mut(channel) {
            *since += 1;
            if *since > REMEMBERED {
                self.unsure.insert(channel);
            }
        }
        if !self.backend.left.contains(channel) {
            self.route(push);
        }
    }

    fn leave(&mut self, channel: &'static str) {
        if self.backend.left.insert(channel) {
            self.route(left(channel));
        }
    }

    fn rejoin(&mut self, channel: &'static str) {
        if self.backend.left.remove(channel) {
            self.route(hint());
        }
    }

    fn send(&mut self) {
        self.texts += 1;
        let to = recipient(["bob", "carol", "#bob"][self.rng.random_range(0..3)]);
        self.test.core.handle_send(self.test.now, SEND, to, Content::text(self.texts.to_string()));
    }

    /// The process dies. The application goes on from what it had acknowledged.
    fn crash(&mut self) {
        // A new process remembers one id of each log.
        self.unsure.extend(CHANNELS);
        let test = std::mem::replace(&mut self.test, Harness::new());
        self.test = test.crash();
        self.wire.clear();
        self.seen.clear();
        let saved = self.test.store.load().unwrap().cursors;
        // A channel that was left: the process died before it could tell.
        self.application.settled.retain(|channel, _| saved.iter().any(|cursor| cursor.channel == *channel));
        let settled = self.application.settled.values();
        self.application.at =
            settled.map(|position| (position.log.as_str().to_owned(), position.seq)).collect();
        for cursor in saved {
            assert_eq!(self.application.at.get(&cursor.channel), Some(&cursor.seq));
        }
        self.test.core.handle_connect(self.test.now);
        self.serve();
    }

    /// Time passes, less than until the next check without a reason, and nothing goes wrong any more.
    ///
    /// Two entries more for each log: when the bus loses an old entry, the log is rolled back to before it, and the next
    /// entry takes the lost one's place, then it fills the gap and only the entry after it (or the check) shows the fork.
    fn heal(&mut self) {
        self.faults = (0, 0, 0);
        self.tell_of_rollbacks();
        // What a server sends when it finds that the bus has lost something.
        self.route(hint());
        for _ in 0..2 {
            CHANNELS.into_iter().for_each(|channel| self.append(channel));
            self.settle();
        }
    }

    fn settle(&mut self) {
        for _ in 0..500 {
            self.deliver(usize::MAX);
            self.process(100);
            self.test.pass(200 * MS);
            self.serve();
            self.tell_of_rollbacks();
        }
    }

    fn check(&self) {
        for (channel, log) in &self.backend.logs {
            let expected = (!self.backend.left.contains(channel)).then_some(&log.last);
            assert_eq!(self.application.at.get(*channel), expected, "{channel:?}");
            let followed = self.test.core.logs.position(&Log::parse(channel).unwrap());
            assert_eq!(followed, expected.copied().unwrap_or_default(), "{channel:?}");
            if let Some(ids) = self.application.ids.get(*channel).filter(|_| !self.unsure.contains(channel)) {
                let differs = |(seq, id): (&u64, &u64)| log.entries.get(seq).is_some_and(|found| found != id);
                assert!(!ids.iter().any(differs), "{channel:?}: {ids:?} and {:?}", log.entries);
            }
        }
        assert_eq!(self.test.core.queued(), []);
        for effects in self.backend.effects.values() {
            assert!(effects.is_sorted_by(|one, other| one < other), "once and in order: {effects:?}");
        }
        // What was taken by a process that died right after may have had its effect too, and the event of an end may
        // be lost with a process: then the send is not queued any more.
        let effects: usize = self.backend.effects.values().map(Vec::len).sum();
        assert!(effects >= self.application.sent.len() && effects >= self.application.ended.len());
        assert!(effects <= self.texts as usize);
    }
}

/// A device remembers a few more ids of a log.
const REMEMBERED: u32 = 200;

fn hint() -> pb::frame::Body {
    pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false })
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, u8),
    Trim(usize, usize),
    RollBack(usize, u64),
    Leave(usize),
    Rejoin(usize),
    Deliver(usize),
    Process(u32),
    Send,
    Pass(u32),
    Hint,
    Break,
    Reading(bool),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let log = 0..CHANNELS.len();
    prop_oneof![
        12 => (log.clone(), 1..20_u8).prop_map(|(log, count)| Step::Append(log, count)),
        1 => (log.clone(), 0..30_usize).prop_map(|(log, keep)| Step::Trim(log, keep)),
        1 => (1..CHANNELS.len()).prop_map(Step::Leave),
        2 => (1..CHANNELS.len()).prop_map(Step::Rejoin),
        1 => (log, 1..6_u64).prop_map(|(log, by)| Step::RollBack(log, by)),
        12 => (1..60_usize).prop_map(Step::Deliver),
        6 => (0..=100_u32).prop_map(Step::Process),
        4 => Just(Step::Send),
        6 => (0..2000_u32).prop_map(Step::Pass),
        1 => Just(Step::Hint),
        1 => Just(Step::Break),
        1 => any::<bool>().prop_map(Step::Reading),
        1 => Just(Step::Crash),
    ]
}

fn take(world: &mut World, step: Step) {
    let now = world.test.now;
    match step {
        Step::Append(log, count) => {
            for _ in 0..count {
                world.append(CHANNELS[log]);
            }
        }
        Step::Trim(log, keep) => world.backend.trim(CHANNELS[log], keep),
        Step::RollBack(log, by) => world.roll_back(CHANNELS[log], by),
        Step::Leave(log) => world.leave(CHANNELS[log]),
        Step::Rejoin(log) => world.rejoin(CHANNELS[log]),
        Step::Deliver(count) => world.deliver(count),
        Step::Process(acknowledge) => world.process(acknowledge),
        Step::Send => world.send(),
        Step::Pass(millis) => {
            world.tell_of_rollbacks();
            world.test.pass(MS * millis);
            world.serve();
        }
        Step::Hint => {
            world.test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 500, rolled_back: false }))
        }
        Step::Break => {
            world.test.broken();
            world.wire.clear();
        }
        Step::Reading(reading) => world.test.core.handle_reading(now, reading),
        Step::Crash => world.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_once_and_in_order_or_a_reset(seed: u64, steps in proptest::collection::vec(step(), 0..200)) {
        let mut world = World::new(seed);
        world.serve();
        for step in steps {
            take(&mut world, step);
        }
        world.test.core.handle_reading(world.test.now, true);
        world.heal();
        world.check();
    }
}
