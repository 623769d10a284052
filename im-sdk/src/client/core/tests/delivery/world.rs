//! The world around the core: frames on their way, faults, and checks.

use super::*;

pub(super) struct World {
    pub(super) test: Harness,
    pub(super) backend: Backend,
    pub(super) application: Application,
    /// Frames on their way to the device.
    pub(super) wire: VecDeque<pb::frame::Body>,
    /// The positions that the application has seen and not acknowledged.
    pub(super) seen: Vec<Position>,
    pub(super) rng: StdRng,
    /// The percentages of frames that are lost, doubled, and overtaken.
    pub(super) faults: (u32, u32, u32),
    pub(super) texts: u32,
    /// Logs that were rolled back, with the number of entries since, until the device is notified.
    pub(super) rolled_back: BTreeMap<&'static str, u32>,
    /// Logs for which the device can no longer tell whether it has seen the present entries.
    pub(super) unsure: BTreeSet<&'static str>,
    /// The contents of the device's store at an earlier time, and the application at that time.
    backup: (SavedState, Application),
    /// The first text that was sent after the last restore.
    since: u32,
    /// The texts that were in the store when a process started.
    loaded: BTreeSet<u32>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut test = Harness::seeded(seed);
        test.core.handle_connect(test.now);
        let mut backend = Backend::new();
        backend.looks_up = seed.is_multiple_of(2);
        Self {
            test,
            backend,
            application: Application::default(),
            wire: VecDeque::new(),
            seen: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            faults: (10, 10, 20),
            texts: 0,
            rolled_back: BTreeMap::new(),
            unsure: BTreeSet::new(),
            backup: Default::default(),
            since: 0,
            loaded: BTreeSet::new(),
        }
    }

    pub(super) fn back_up(&mut self) {
        self.process(0);
        self.backup = (self.test.store.load().unwrap(), self.application.clone());
    }

    /// Replaces the device's store by the backup, and the application's, too.
    pub(super) fn restore(&mut self) {
        let (saved, application) = self.backup.clone();
        self.test.store = MemoryStore::with(saved);
        self.application = application;
        self.backend.was_restored = true;
        self.since = self.texts + 1;
        self.crash();
    }

    pub(super) fn roll_back(&mut self, channel: &'static str, by: u64) {
        self.backend.roll_back(channel, by);
        self.rolled_back.entry(channel).or_default();
    }

    /// Lets the device's server notice that logs may have been rolled back.
    pub(super) fn tell_of_rollbacks(&mut self) {
        if !self.rolled_back.is_empty() && matches!(self.test.core.phase, Phase::Connected(_)) {
            // The server notices seconds later, when no earlier frame is on its way.
            self.deliver(usize::MAX);
            self.test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: true }));
            self.rolled_back.clear();
        }
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Puts a frame onto a faulty bus.
    pub(super) fn route(&mut self, body: pb::frame::Body) {
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

    /// Takes everything that the device sends, and answers it.
    pub(super) fn serve(&mut self) {
        while let Some(body) = self.test.try_sent() {
            match body {
                pb::frame::Body::Hello(hello) => {
                    // The connection itself loses nothing.
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

    pub(super) fn answer(&mut self, cursors: &[pb::Cursor]) {
        let page = self.rng.random_range(1..40);
        for frame in self.backend.sync(cursors, page) {
            self.route(frame);
        }
    }

    pub(super) fn keep_connected(&mut self) {
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

    pub(super) fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some(body) = self.wire.pop_front() else { break };
            self.test.receive(body);
        }
        self.serve();
    }

    /// Lets the application take its events, and acknowledge some of them.
    pub(super) fn process(&mut self, acknowledge: u32) {
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
        for (ticket, taken) in std::mem::take(&mut self.test.taken) {
            let text = ticket & !SEND;
            let known = self.application.sent.insert(taken.unwrap().as_u64(), text);
            assert!(known.is_none(), "a local id means one message");
        }
    }

    /// Appends an entry in the back end, and pushes it if the user is a member.
    pub(super) fn append(&mut self, channel: &'static str) {
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

    pub(super) fn leave(&mut self, channel: &'static str) {
        if self.backend.left.insert(channel) {
            self.route(left(channel));
        }
    }

    pub(super) fn rejoin(&mut self, channel: &'static str) {
        if self.backend.left.remove(channel) {
            self.route(hint());
        }
    }

    pub(super) fn send(&mut self) {
        self.texts += 1;
        let to = recipient(["bob", "carol", "#bob"][self.rng.random_range(0..3)]);
        self.test.core.handle_send(
            self.test.now,
            SEND | self.texts,
            to,
            Content::text(self.texts.to_string()),
            None,
        );
    }

    /// Kills the process. The application continues from its last acknowledgements.
    pub(super) fn crash(&mut self) {
        // A new process remembers one id of each log.
        self.unsure.extend(CHANNELS);
        let test = std::mem::replace(&mut self.test, Harness::new());
        self.test = test.crash_seeded(self.rng.random_range(0..u64::MAX));
        let saved = self.test.core.unsettled().into_iter();
        self.loaded.extend(saved.map(|send| send.content.as_text().unwrap().parse::<u32>().unwrap()));
        self.wire.clear();
        self.seen.clear();
        let saved = self.test.store.load().unwrap().cursors;
        // The process died before it could report that a channel was left.
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

    /// Lets time pass without further faults, for less than the interval of routine checks.
    ///
    /// Appends two more entries to each log. If the bus loses an old entry, the log is rolled back to before it, and the next
    /// entry takes its position, then that entry fills the gap. Only the entry after it (or the check) shows the fork.
    pub(super) fn heal(&mut self) {
        self.faults = (0, 0, 0);
        self.tell_of_rollbacks();
        // The hint that a server sends when it notices that the bus has lost messages.
        self.route(hint());
        for _ in 0..2 {
            CHANNELS.into_iter().for_each(|channel| self.append(channel));
            self.settle();
        }
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..500 {
            self.deliver(usize::MAX);
            self.process(100);
            self.test.pass(200 * MS);
            self.serve();
            self.tell_of_rollbacks();
        }
    }

    pub(super) fn check(&self) {
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
        self.check_sends();
    }

    fn check_sends(&self) {
        // Sends with an unknown outcome stay until the application discards them.
        for send in self.test.core.unsettled() {
            assert!(self.application.open.contains(&send.local_id.as_u64()), "{send:?}");
        }
        let mut all = BTreeSet::new();
        for effects in self.backend.effects.values() {
            assert!(effects.iter().all(|text| all.insert(*text)), "once: {effects:?}");
            let is_sorted = effects.is_sorted_by(|one, other| one < other);
            assert!(is_sorted || self.backend.was_restored, "in order: {effects:?}");
        }
        let Application { sent, ended, open, .. } = &self.application;
        for (local_id, text) in sent {
            if all.contains(text) {
                continue;
            }
            assert!(!ended.contains(local_id), "{text} did not arrive, and was called published");
            // A message from before the restore may be lost with it. A later one arrives, or was in doubt.
            let in_doubt =
                self.loaded.contains(text) || self.backend.tries.get(text).is_some_and(|tries| *tries > 1);
            assert!(*text < self.since || (open.contains(local_id) && in_doubt), "{text} is gone");
        }
        // A send may have had its effect although its process died right after it took it. The event of an outcome
        // may also be lost with a process: then the send is no longer queued.
        assert!(self.backend.was_restored || all.len() >= sent.len().max(ended.len()));
        assert!(all.len() <= self.texts as usize);
    }
}

/// The number of entries since a rollback after which a device may not notice it. It remembers a few more ids.
const REMEMBERED: u32 = 200;

pub(super) fn hint() -> pb::frame::Body {
    pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 0, rolled_back: false })
}
