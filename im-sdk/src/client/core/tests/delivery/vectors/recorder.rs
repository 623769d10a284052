//! A core that records its inputs and outputs.

use prost::Message as _;
use serde_json::{Map, Value, json};

use super::*;
use crate::{ConversationChange, client::RequestError, id::MessageId};

/// An input from the driver of a client.
pub(super) enum Input {
    Connect,
    /// The attempt that the core requested led to a connection.
    Opened,
    /// The attempt failed.
    Unreachable,
    Frame(pb::frame::Body),
    /// The connection ended; `None` if it was lost without a close code.
    Ended(Option<u16>),
    /// Time passes, in milliseconds, and all timers on the way fire.
    Pass(u64),
    Send(Recipient, Content),
    Discard(u64),
    Ack(Position),
    Mark(Recipient, ConversationChange),
    Ask(u32, pb::request::Question),
    Signal(Recipient, crate::Signal),
    /// The store works from now on, or fails.
    Store(bool),
    /// The process dies, and a new one continues from its store.
    Crash,
    Close(u64),
}

/// The outputs of the core that the world around it needs.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) frames: Vec<pb::frame::Body>,
    pub(super) events: Vec<Event>,
    /// The local ids of the sends that were taken.
    pub(super) taken: Vec<u64>,
    /// Set if the core has requested a connection.
    pub(super) connects: bool,
    notes: Map<String, Value>,
}

impl Outputs {
    fn note(&mut self, kind: &str, value: Value) {
        if let Some(list) = self.notes.entry(kind).or_insert_with(|| json!([])).as_array_mut() {
            list.push(value);
        }
    }
}

pub(super) struct Recorder {
    pub(super) core: Core<u32>,
    pub(super) store: MemoryStore,
    pub(super) now: Instant,
    begun: Instant,
    broken_store: bool,
    /// The local ids of the published sends, by number.
    numbers: BTreeMap<u64, u64>,
    saved: Value,
    pub(super) steps: Vec<String>,
}

impl Recorder {
    pub(super) fn new(installation: u64) -> Self {
        let state = SavedState { installation, ..SavedState::default() };
        let (store, now) = (MemoryStore::with(state), Instant::now());
        let (core, saved) = (new_core(&store), describe_store(&store));
        let broken_store = false;
        let steps = vec![json!({ "installation": installation.to_string() }).to_string()];
        let numbers = BTreeMap::new();
        Self { core, store, now, begun: now, broken_store, numbers, saved, steps }
    }

    /// Takes an input, and records it with its outputs.
    pub(super) fn step(&mut self, input: Input) -> Outputs {
        let mut outputs = Outputs::default();
        let described = self.describe(&input);
        self.core.rng = self.rng();
        self.take(input, &mut outputs);
        self.drain(&mut outputs);
        self.record(described, &mut outputs);
        outputs
    }

    /// Returns the random numbers of the present step.
    fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.steps.len() as u64)
    }

    /// Returns the fractions that were drawn in this step.
    fn draws(&mut self) -> Vec<f64> {
        let (mut numbers, mut fractions) = (self.rng(), self.rng());
        let next: u64 = self.core.rng.random();
        let count =
            std::iter::repeat_with(|| numbers.random::<u64>()).take(64).position(|number| number == next);
        let count = count.expect("the core draws something else than fractions");
        std::iter::repeat_with(|| fractions.random_range(0.0..=1.0)).take(count).collect()
    }

    fn take(&mut self, input: Input, outputs: &mut Outputs) {
        let now = self.now;
        match input {
            Input::Connect => self.core.handle_connect(now),
            Input::Opened => {
                let via = Via { transport: Transport::WebSocket, endpoint: endpoint() };
                self.core.handle_established(now, via, 0);
            }
            Input::Unreachable => self.core.handle_unreachable(now, "test".to_owned()),
            Input::Frame(body) => {
                let frame = frame::split(frame::encode(body), usize::MAX).next().unwrap().unwrap();
                self.core.handle_frame(now, frame);
            }
            Input::Ended(None) => self.core.handle_ended(now, ConnectionEnd::Broken("test".to_owned())),
            Input::Ended(Some(code)) => {
                let ended = ConnectionEnd::Closed { code: Some(code.into()), reason: "test".to_owned() };
                self.core.handle_ended(now, ended);
            }
            Input::Pass(ms) => self.pass(Duration::from_millis(ms), outputs),
            Input::Send(to, content) => self.core.handle_send(now, SEND, to, content, None),
            Input::Discard(local_id) => {
                let discarded = self.core.handle_discard(LocalId::from_u64(local_id));
                outputs.notes.insert("discarded".to_owned(), discarded.into());
            }
            Input::Ack(position) => self.core.handle_ack(now, position),
            Input::Mark(to, change) => {
                let marked = self.core.handle_mark(now, to, change).is_ok();
                outputs.notes.insert("marked".to_owned(), marked.into());
            }
            Input::Ask(ticket, question) => match question {
                pb::request::Question::JoinRoom(join) => {
                    let channel = ChannelId::parse(&join.channel).unwrap();
                    self.core.handle_join_room(now, ticket, channel, join.data);
                }
                pb::request::Question::LeaveRoom(leave) => {
                    self.core.handle_leave_room(now, ticket, &ChannelId::parse(&leave.channel).unwrap());
                }
                question => self.core.handle_ask(now, ticket, question),
            },
            Input::Signal(to, signal) => {
                let goes = self.core.handle_signal(&to, None, signal);
                outputs.notes.insert("signalled".to_owned(), goes.into());
            }
            Input::Store(works) => self.broken_store = !works,
            Input::Crash => {
                self.core = new_core(&self.store);
                self.core.rng = self.rng();
            }
            Input::Close(grace) => self.core.handle_close(now, Duration::from_millis(grace)),
        }
    }

    fn pass(&mut self, time: Duration, outputs: &mut Outputs) {
        let end = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain(outputs);
            // The world decides what follows for the connection.
            if outputs.connects {
                return;
            }
        }
        self.now = end;
    }

    /// Acts as a driver until no output is left.
    fn drain(&mut self, outputs: &mut Outputs) {
        loop {
            let mut is_done = true;
            while let Some(bytes) = self.core.poll_transmit(self.now) {
                let frame = frame::split(bytes, usize::MAX).next().unwrap().unwrap();
                let body = frame::decode(frame).unwrap().unwrap();
                if let pb::frame::Body::Publish(publish) = &body {
                    self.numbers.insert(publish.number, self.local_id(publish.origin));
                }
                outputs.note("frames", self.hex(body.clone()).into());
                outputs.frames.push(body);
                is_done = false;
            }
            while let Some(action) = self.core.poll_action() {
                is_done = false;
                match action {
                    Action::AskToken(_) => self.core.handle_token(self.now, Ok("token".to_owned())),
                    Action::AskEndpoints => {}
                    Action::Connect(_) => {
                        outputs.connects = true;
                        outputs.note("actions", json!("connect"));
                    }
                    Action::Close(code, _) => outputs.note("actions", code.code().into()),
                }
            }
            while let Some(batch) = self.core.poll_save(self.now) {
                is_done = false;
                let failure = StoreError::Failed("test".to_owned());
                let outcome = if self.broken_store { Err(failure) } else { self.store.save(&batch) };
                self.core.handle_saved(self.now, outcome);
            }
            while self.core.poll_resolved().is_some() || self.core.poll_settled().is_some() {}
            while let Some((ticket, answer)) = self.core.poll_answered(self.now) {
                outputs.note("answers", describe_answer(ticket, &answer));
            }
            while let Some((_, taken)) = self.core.poll_taken() {
                outputs.taken.extend(taken.as_ref().ok().map(|id| id.as_u64()));
                outputs
                    .note("taken", taken.map_or_else(|error| json!(error.code()), |id| json!(id.as_u64())));
            }
            while let Some(event) = self.core.poll_event() {
                outputs.note("events", describe_event(&event));
                outputs.events.push(event);
            }
            if is_done {
                return;
            }
        }
    }

    fn record(&mut self, described: Value, outputs: &mut Outputs) {
        let mut step = Map::new();
        step.insert("at".to_owned(), json!(self.at()));
        step.insert("do".to_owned(), described);
        let draws = self.draws();
        if !draws.is_empty() {
            step.insert("random".to_owned(), draws.into());
        }
        step.append(&mut outputs.notes);
        step.insert("state".to_owned(), json!(self.core.state().as_str()));
        let saved = describe_store(&self.store);
        if saved != self.saved {
            step.insert("store".to_owned(), saved.clone());
            self.saved = saved;
        }
        self.steps.push(Value::Object(step).to_string());
    }

    fn at(&self) -> f64 {
        (self.now - self.begun).as_secs_f64() * 1000.0
    }

    fn describe(&self, input: &Input) -> Value {
        match input {
            Input::Connect => json!("connect"),
            Input::Opened => json!("opened"),
            Input::Unreachable => json!("unreachable"),
            Input::Crash => json!("crash"),
            Input::Frame(body) => json!({ "frame": self.hex(body.clone()) }),
            Input::Ended(code) => json!({ "ended": code }),
            Input::Pass(ms) => json!({ "pass": ms }),
            Input::Send(to, content) => {
                let content = pb::Content::from(content.clone()).encode_to_vec();
                json!({ "send": to_hex(&content), "to": name(to) })
            }
            Input::Discard(local_id) => json!({ "discard": local_id }),
            Input::Ack(Position { log, seq, id }) => {
                json!({ "ack": seq, "log": log.as_str(), "id": id.map_or(0, MessageId::as_u64).to_string() })
            }
            Input::Mark(to, change) => {
                json!({ "mark": to_hex(&change.mark(to).encode_to_vec()), "to": name(to) })
            }
            Input::Ask(ticket, question) => {
                let request = pb::Request { number: 0, question: Some(question.clone()) };
                json!({ "ask": to_hex(&request.encode_to_vec()), "ticket": ticket })
            }
            Input::Signal(to, signal) => {
                let signal = pb::Signal {
                    to: to.as_user().map(ToString::to_string).unwrap_or_default(),
                    channel: to.as_channel().map(ToString::to_string).unwrap_or_default(),
                    device: None,
                    body: signal.clone().into(),
                };
                json!({ "signal": to_hex(&signal.encode_to_vec()) })
            }
            Input::Store(works) => json!({ "store_works": works }),
            Input::Close(grace) => json!({ "close": grace }),
        }
    }

    fn local_id(&self, origin: u64) -> u64 {
        self.core.outbox.sent_with(origin).map_or(0, LocalId::as_u64)
    }

    /// Encodes a frame as hex, without the values that differ between languages by their nature.
    fn hex(&self, body: pb::frame::Body) -> String {
        let local_id = |origin| self.local_id(origin);
        let body = match body {
            pb::frame::Body::Publish(publish) => {
                let number = local_id(publish.origin);
                pb::frame::Body::Publish(pb::Publish { number, origin: number, installation: 0, ..publish })
            }
            pb::frame::Body::PublishResult(result) => {
                let number = self.numbers.get(&result.number).copied().unwrap_or_default();
                pb::frame::Body::PublishResult(pb::PublishResult { number, ..result })
            }
            pb::frame::Body::Push(pb::Push { message: Some(message), channel, seq }) => {
                let message = Some(pb::Message { origin: local_id(message.origin), ..message });
                pb::frame::Body::Push(pb::Push { message, channel, seq })
            }
            pb::frame::Body::Request(pb::Request {
                number,
                question: Some(pb::request::Question::Mark(mut request)),
            }) => {
                request.marks.iter_mut().for_each(|mark| mark.age_ms = None);
                let question = Some(pb::request::Question::Mark(request));
                pb::frame::Body::Request(pb::Request { number, question })
            }
            other => other,
        };
        to_hex(&frame::encode(body))
    }
}

fn endpoint() -> Endpoint {
    "ws://a:2".parse().unwrap()
}

fn new_core(store: &MemoryStore) -> Core<u32> {
    let mut config = ClientConfig::new(vec![endpoint()], "desktop/d1".parse().unwrap(), Arc::new("token"));
    config.client_name = "vectors".to_owned();
    config.request_timeout = 15 * SECOND;
    config.cursor_check = 300 * SECOND;
    Core::new(&config, store.load().unwrap(), StdRng::seed_from_u64(1))
}

pub(super) fn name(to: &Recipient) -> String {
    to.as_user().map_or_else(|| format!("#{}", to.as_channel().unwrap()), |user| format!("@{user}"))
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_answer(ticket: u32, answer: &Answer) -> Value {
    match answer {
        Ok(_) => json!([ticket, true]),
        Err(RequestError::TimedOut) => json!([ticket, "timeout"]),
        Err(error) => json!([ticket, error.code()]),
    }
}

fn describe_event(event: &Event) -> Value {
    let place = |position: &Position| {
        json!([position.log.as_str(), position.seq, position.id.map_or(0, MessageId::as_u64).to_string()])
    };
    match event {
        Event::Connected { user, .. } => json!({ "connected": user.as_str() }),
        Event::Disconnected { code, retry_in, .. } => json!({
            "disconnected": code.map(CloseCode::code),
            "retry_ms": retry_in.map(|delay| delay.as_secs_f64() * 1000.0),
        }),
        Event::Stopped { cause, code, .. } => {
            json!({ "stopped": cause.code(), "code": code.map(CloseCode::code) })
        }
        Event::UpToDate => json!("up_to_date"),
        Event::Message(message) => {
            let content = pb::Content::from(message.content.clone()).encode_to_vec();
            json!({
                "message": message.id.as_u64().to_string(),
                "from": message.from.as_ref().map(UserId::as_str),
                "content": to_hex(&content),
                "at": message.position.as_ref().map(place),
                "own": message.local_id.map(LocalId::as_u64),
            })
        }
        Event::Reset { position, reason } => json!({ "reset": reason.as_str(), "at": place(position) }),
        Event::Published { local_id, message_id, .. } => {
            json!({ "sent": local_id.as_u64(), "id": message_id.map_or(0, MessageId::as_u64).to_string() })
        }
        Event::PublishFailed { local_id, error, .. } => {
            json!({ "failed": local_id.as_u64(), "code": error.code() })
        }
        Event::ConversationsChanged(states) => {
            let state = |state: &crate::ConversationState| json!([name(&state.conversation), state.version]);
            json!({ "conversations": states.iter().map(state).collect::<Vec<_>>() })
        }
        Event::ChannelRead(receipt) => json!({ "channel_read": receipt.user.as_str() }),
        Event::Signal(signal) => json!({ "signal": signal.from.as_str() }),
        Event::Presence(presence) => json!({ "presence": presence.user.as_str() }),
        Event::RoomLeft { channel, cause, .. } => {
            json!({ "room_left": channel.as_str(), "cause": cause.as_str() })
        }
    }
}

fn describe_store(store: &MemoryStore) -> Value {
    let SavedState { user, mut cursors, outbox, mut marks, .. } = store.load().unwrap();
    cursors.sort_by(|one, other| one.channel.cmp(&other.channel));
    marks.sort_by(|one, other| (&one.channel, &one.to).cmp(&(&other.channel, &other.to)));
    let cursors: Vec<Value> =
        cursors.iter().map(|cursor| json!([cursor.channel, cursor.seq, cursor.id.to_string()])).collect();
    let outbox: Vec<Value> = outbox
        .iter()
        .map(|saved| {
            let failed = u8::from(!saved.failure.is_empty());
            json!([saved.local_id, name(&saved.recipient().unwrap()), failed])
        })
        .collect();
    let marks: Vec<Value> = marks
        .iter()
        .map(|saved| {
            let marks = saved.marks.iter().map(|mark| to_hex(&mark.mark));
            json!([name(&saved.conversation().unwrap()), marks.collect::<Vec<_>>()])
        })
        .collect();
    json!({ "user": user, "cursors": cursors, "outbox": outbox, "marks": marks })
}
