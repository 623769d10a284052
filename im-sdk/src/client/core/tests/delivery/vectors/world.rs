//! The world around the recorded core: a back end, a network that loses, repeats and reorders frames, and an application.

use super::{
    recorder::{Input, Outputs},
    *,
};
use crate::{ConversationChange, ReadMark, Signal};

pub(super) struct World {
    core: Recorder,
    backend: Backend,
    /// Frames on their way to the device.
    wire: VecDeque<pb::frame::Body>,
    /// The positions that the application has received and not acknowledged.
    seen: Vec<Position>,
    rng: StdRng,
    is_open: bool,
    store_works: bool,
    /// The local ids of all sends.
    sent: Vec<u64>,
    texts: u32,
    tickets: u32,
    version: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let core = Recorder::new(rng.random_range(1..=u64::MAX));
        Self {
            core,
            backend: Backend::new(),
            wire: VecDeque::new(),
            seen: Vec::new(),
            rng,
            is_open: false,
            store_works: true,
            sent: Vec::new(),
            texts: 0,
            tickets: 0,
            version: 0,
        }
    }

    /// Returns the recorded steps.
    pub(super) fn run(mut self, steps: u32) -> Vec<String> {
        self.input(Input::Connect);
        for _ in 0..steps {
            self.step();
        }
        // No more faults: the store works, and the client is closed.
        self.store_works = true;
        self.input(Input::Store(true));
        for _ in 0..20 {
            self.deliver(usize::MAX, false);
            self.acknowledge();
            self.input(Input::Pass(1500));
        }
        self.input(Input::Close(1000));
        self.deliver(usize::MAX, false);
        self.input(Input::Pass(2000));
        self.core.steps
    }

    fn step(&mut self) {
        let channel = CHANNELS[self.rng.random_range(0..CHANNELS.len())];
        let group = CHANNELS[self.rng.random_range(1..CHANNELS.len())];
        match self.rng.random_range(0..100_u32) {
            0..20 => {
                for _ in 0..self.rng.random_range(1..5_u32) {
                    let push = self.backend.append(channel);
                    if !self.backend.left.contains(channel) {
                        self.route(push);
                    }
                }
            }
            20..40 => {
                let count = self.rng.random_range(1..20);
                self.deliver(count, true);
            }
            40..52 => self.send(),
            52..60 => self.acknowledge(),
            60..75 => {
                let ms = [20, 90, 230, 700, 2500, 12_000][self.rng.random_range(0..6)];
                self.input(Input::Pass(ms));
            }
            75..78 => self.mark(),
            78..82 => self.ask(group),
            82 => {
                let keep = self.rng.random_range(0..6);
                self.backend.trim(channel, keep);
            }
            83 => {
                let by = self.rng.random_range(1..4);
                self.backend.roll_back(channel, by);
                self.wire.push_back(hint(0, true));
            }
            84 => {
                if self.backend.left.insert(group) {
                    self.wire.push_back(left(group));
                }
            }
            85 => {
                if self.backend.left.remove(group) {
                    self.wire.push_back(hint(0, false));
                }
            }
            86 => self.wire.push_back(hint(500, false)),
            87 => self.end(None),
            88 => {
                let code = [4000, 4001, 4100, 4200, 4201, 1001][self.rng.random_range(0..6)];
                self.end(Some(code));
            }
            89 => {
                self.wire.clear();
                self.seen.clear();
                self.is_open = false;
                self.input(Input::Crash);
                self.input(Input::Connect);
            }
            90 => {
                let reconnect_within_ms = [0, 400, 3000][self.rng.random_range(0..3)];
                self.wire.push_back(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms }));
            }
            91 => {
                self.wire.push_back(pb::frame::Body::Ping(pb::Ping { echo: self.rng.random_range(1..1000) }))
            }
            92 => {
                self.store_works = self.chance(60);
                self.input(Input::Store(self.store_works));
            }
            93 => {
                // The id of one of the last sends, or an unknown id.
                let place = self.rng.random_range(0..4_usize);
                let local_id = self.sent.iter().rev().nth(place).copied().unwrap_or(u64::from(u32::MAX));
                self.input(Input::Discard(local_id));
            }
            94 => {
                let stopped = self.chance(50);
                self.input(Input::Signal(recipient("bob"), Signal::Typing { stopped }));
            }
            95 => self.wire.push_back(signalled()),
            96 => self.wire.push_back(presence()),
            97 => self.wire.push_back(room_left(group)),
            _ => self.conversations_changed(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Puts a frame onto a faulty bus.
    fn route(&mut self, body: pb::frame::Body) {
        if self.chance(10) {
            self.wire.push_back(body.clone());
        }
        if self.chance(10) {
            return;
        }
        let behind = if self.chance(20) { self.rng.random_range(0..4_usize) } else { 0 };
        let at = self.wire.len().saturating_sub(behind);
        self.wire.insert(at, body);
    }

    /// Passes an input to the core, and answers the frames that it sends.
    fn input(&mut self, input: Input) {
        let outputs = self.core.step(input);
        self.sent.extend(&outputs.taken);
        self.see(&outputs);
        self.answer(outputs);
    }

    fn see(&mut self, outputs: &Outputs) {
        for event in &outputs.events {
            match event {
                Event::Message(message) => self.seen.extend(message.position.clone()),
                Event::Reset { reason: ResetReason::Left, .. } => {}
                Event::Reset { position, .. } => self.seen.push(position.clone()),
                Event::Connected { .. } => self.is_open = true,
                Event::Disconnected { .. } | Event::Stopped { .. } => {
                    self.is_open = false;
                    self.wire.clear();
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, outputs: Outputs) {
        for body in outputs.frames {
            match body {
                pb::frame::Body::Hello(hello) => {
                    // The connection itself loses nothing.
                    self.wire.push_back(welcome());
                    self.sync(&hello.cursors);
                }
                pb::frame::Body::Sync(sync) => self.sync(&sync.cursors),
                pb::frame::Body::Publish(publish) => self.publish(&publish),
                pb::frame::Body::Ping(ping) => {
                    self.wire.push_back(pb::frame::Body::Pong(pb::Pong { echo: ping.echo }));
                }
                pb::frame::Body::Request(request) => self.request(request),
                _ => {}
            }
        }
        if outputs.connects {
            let opens = self.chance(80);
            self.input(if opens { Input::Opened } else { Input::Unreachable });
        }
    }

    fn sync(&mut self, cursors: &[pb::Cursor]) {
        let page = self.rng.random_range(1..40);
        for frame in self.backend.sync(cursors, page) {
            if self.wire.front().is_some_and(|first| matches!(first, pb::frame::Body::Welcome(_))) {
                self.wire.push_back(frame);
            } else {
                self.route(frame);
            }
        }
    }

    fn publish(&mut self, publish: &pb::Publish) {
        let (kind, retry_after_ms) = match self.rng.random_range(0..20_u32) {
            0 => (pb::RefusalKind::Rule, 0),
            1 => (pb::RefusalKind::TooMany, 300),
            2 => (pb::RefusalKind::Unavailable, 500),
            3 => (pb::RefusalKind::Internal, 0),
            _ => {
                let result = self.backend.publish(publish);
                if let pb::frame::Body::PublishResult(pb::PublishResult {
                    outcome: Some(pb::publish_result::Outcome::Accepted(accepted)),
                    ..
                }) = &result
                {
                    self.echo(publish, accepted.message_id);
                }
                return self.route(result);
            }
        };
        self.route(refused(publish.number, kind, retry_after_ms));
    }

    /// Pushes the message to the user's own devices, too, with its origin.
    fn echo(&mut self, publish: &pb::Publish, id: u64) {
        let pb::frame::Body::Push(push) = push(id, "alice") else { return };
        let message = push.message.map(|message| pb::Message { origin: publish.origin, ..message });
        self.route(pb::frame::Body::Push(pb::Push { message, ..push }));
    }

    fn request(&mut self, request: pb::Request) {
        use pb::{request::Question, response::Outcome};
        let Some(question) = request.question else { return };
        let outcome = match question {
            _ if self.chance(8) => Outcome::Refused(pb::Refused {
                kind: pb::RefusalKind::TooMany.into(),
                reason: "test".to_owned(),
                code: 0,
                retry_after_ms: 200,
            }),
            _ if self.chance(5) => Outcome::Refused(pb::Refused {
                kind: pb::RefusalKind::Rule.into(),
                reason: "test".to_owned(),
                code: 0,
                retry_after_ms: 0,
            }),
            Question::History(_) => Outcome::History(pb::History::default()),
            Question::Search(_) => Outcome::Found(pb::Found::default()),
            Question::JoinRoom(join) => {
                let id = 1_000_000 + u64::from(self.tickets);
                let recent = match push(id, "bob") {
                    pb::frame::Body::Push(push) => vec![pb::Push { channel: join.channel, seq: 1, ..push }],
                    _ => Vec::new(),
                };
                Outcome::JoinedRoom(pb::JoinedRoom { online: 1, recent, ..Default::default() })
            }
            Question::LeaveRoom(_) => Outcome::Done(pb::Done::default()),
            Question::Watch(_) => Outcome::Presences(pb::Presences::default()),
            Question::Readers(_) => Outcome::Readers(pb::Readers::default()),
            Question::Conversations(asked) => Outcome::Conversations(self.conversations(asked.since)),
            Question::Mark(mark) => {
                let mut states = Vec::new();
                for mark in mark.marks {
                    self.version += 1;
                    states.push(state(mark.user, mark.channel, self.version));
                }
                Outcome::Marked(pb::Marked { states })
            }
        };
        let response = pb::Response { number: request.number, outcome: Some(outcome) };
        self.route(pb::frame::Body::Response(response));
    }

    fn conversations(&mut self, since: Option<u64>) -> pb::Conversations {
        let changed = since.is_some_and(|since| since < self.version);
        let listed = changed.then(|| pb::Conversation {
            state: Some(state("bob".to_owned(), String::new(), self.version)),
            ..Default::default()
        });
        pb::Conversations {
            conversations: listed.into_iter().collect(),
            version: self.version,
            ..Default::default()
        }
    }

    fn conversations_changed(&mut self) {
        self.version += 1;
        let states = vec![state("bob".to_owned(), String::new(), self.version)];
        self.route(pb::frame::Body::ConversationsChanged(pb::ConversationsChanged {
            states,
            ..Default::default()
        }));
    }

    fn deliver(&mut self, count: usize, may_fail: bool) {
        for _ in 0..count.min(200) {
            let Some(body) = self.wire.pop_front() else { break };
            // A server sends nothing before its welcome, and nothing to a disconnected device.
            let is_welcome = matches!(body, pb::frame::Body::Welcome(_));
            if self.is_open || is_welcome {
                self.input(Input::Frame(body));
            }
            if may_fail && self.chance(2) {
                self.input(Input::Pass(50));
            }
        }
    }

    fn end(&mut self, code: Option<u16>) {
        if self.is_open {
            self.wire.clear();
            self.input(Input::Ended(code));
        }
    }

    /// Sends a message, unless the store fails: some clients save a send before they pass it to the core, and never pass one that was
    /// not saved.
    fn send(&mut self) {
        if !self.store_works {
            return;
        }
        self.texts += 1;
        let to = recipient(["bob", "carol", "#bob"][self.rng.random_range(0..3)]);
        self.input(Input::Send(to, Content::text(self.texts.to_string())));
    }

    fn acknowledge(&mut self) {
        for position in std::mem::take(&mut self.seen) {
            if self.chance(40) {
                self.input(Input::Ack(position));
            }
        }
    }

    fn mark(&mut self) {
        let change = match self.rng.random_range(0..4_u32) {
            0 => ConversationChange::new().pin(self.chance(50)),
            1 => ConversationChange::new().draft(format!("draft {}", self.texts)),
            2 => ConversationChange::new().mark_unread(true),
            _ => ConversationChange::new()
                .read(ReadMark { seq: self.rng.random_range(1..50), ..ReadMark::default() }),
        };
        let to = recipient(["bob", "#red"][self.rng.random_range(0..2)]);
        self.input(Input::Mark(to, change));
    }

    fn ask(&mut self, group: &str) {
        use pb::request::Question;
        self.tickets += 1;
        let channel = format!("room-{group}");
        let question = match self.rng.random_range(0..5_u32) {
            0 => Question::JoinRoom(pb::JoinRoom { channel, data: Bytes::new() }),
            1 => Question::LeaveRoom(pb::LeaveRoom { channel }),
            2 => Question::Watch(pb::Watch { users: vec!["bob".to_owned()] }),
            3 => Question::Conversations(pb::ConversationsRequest::default()),
            _ => Question::Readers(pb::ReadersRequest { channel, seq: 1, limit: 10 }),
        };
        self.input(Input::Ask(self.tickets, question));
    }
}

fn hint(within_ms: u32, rolled_back: bool) -> pb::frame::Body {
    pb::frame::Body::SyncHint(pb::SyncHint { within_ms, rolled_back })
}

fn signalled() -> pb::frame::Body {
    pb::frame::Body::Signalled(pb::Signalled {
        from: "bob".to_owned(),
        device: Some((&"desktop/d2".parse::<Device>().unwrap()).into()),
        channel: String::new(),
        body: Some(pb::signalled::Body::Typing(pb::Typing::default())),
    })
}

fn presence() -> pb::frame::Body {
    pb::frame::Body::Presence(pb::Presence { user: "bob".to_owned(), ..Default::default() })
}

fn room_left(group: &str) -> pb::frame::Body {
    let cause = pb::RoomLeftCause::Kicked.into();
    pb::frame::Body::RoomLeft(pb::RoomLeft {
        channel: format!("room-{group}"),
        cause,
        reason: "test".to_owned(),
    })
}

fn state(user: String, channel: String, version: u64) -> pb::ConversationState {
    pb::ConversationState { user, channel, version, ..Default::default() }
}
