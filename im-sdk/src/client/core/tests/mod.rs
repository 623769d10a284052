//! Tests of the core with a clock that they control.

mod changes;
mod connection;
mod conversations;
mod delivery;
mod golden_frames;
mod hostile;
mod lifecycle;
mod logs;
mod publish;
mod random_inputs;
mod requests;
mod restores;
mod retryable_failures;
mod rooms;
mod send;
mod server_frames;

use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng as _;

use super::*;
use crate::{
    Transport,
    client::{
        Log, PublishError, Published, ResetReason, SendState, State,
        config::STABLE_AFTER,
        device_store::{DeviceStore as _, MemoryStore, SavedCursor, StoreError},
    },
    id::{ChannelId, UserId},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HEARTBEAT_MS: u32 = 10_000;

/// The bit that distinguishes the ticket of a send from that of a publish.
const SEND: u32 = 1 << 31;

struct Harness {
    core: Core<u32>,
    now: Instant,
    store: MemoryStore,
    /// The error with which the store fails, if it does.
    broken_store: Option<StoreError>,
    taken: Vec<(u32, Taken)>,
}

impl Harness {
    fn new() -> Self {
        Self::seeded(1)
    }

    fn seeded(seed: u64) -> Self {
        Self::with_store(seed, MemoryStore::new(), Instant::now())
    }

    fn with_store(seed: u64, store: MemoryStore, now: Instant) -> Self {
        let endpoints =
            ["quic://a:1", "ws://a:2", "quic://b:1", "ws://b:2"].map(|text| text.parse().unwrap());
        let device = "desktop/d1".parse().unwrap();
        let config = ClientConfig::new(endpoints.to_vec(), device, Arc::new("token"));
        let core = Core::new(&config, store.load().unwrap(), StdRng::seed_from_u64(seed));
        Self { core, now, store, broken_store: None, taken: Vec::new() }
    }

    /// Ends the process without a warning, and starts a new one.
    fn crash(self) -> Self {
        self.crash_seeded(7)
    }

    fn crash_seeded(self, seed: u64) -> Self {
        Self::with_store(seed, self.store, self.now)
    }

    /// Starts a process with an earlier copy of a store.
    fn restored(backup: &SavedState, seed: u64) -> Self {
        Self::with_store(seed, MemoryStore::with(backup.clone()), Instant::now())
    }

    /// Saves everything unsaved, as a driver does all the time.
    fn save(&mut self) {
        while let Some(batch) = self.core.poll_save(self.now) {
            let outcome = self.broken_store.clone().map_or_else(|| self.store.save(&batch), Err);
            self.core.handle_saved(self.now, outcome);
        }
        self.taken.extend(std::iter::from_fn(|| self.core.poll_taken()));
    }

    /// Connects over the first WebSocket endpoint, with nothing left to send.
    fn connected() -> Self {
        let mut harness = Self::new();
        harness.core.handle_connect(harness.now);
        harness.connect_all_the_way();
        harness.receive(sync_done(&[]));
        harness.drain();
        harness
    }

    /// Connects, from the request for a token to the welcome.
    fn connect_all_the_way(&mut self) -> pb::Hello {
        assert!(matches!(self.action(), Action::AskToken(_)));
        self.core.handle_token(self.now, Ok("token".to_owned()));
        let Action::Connect(rounds) = self.action() else { panic!("no race") };
        let endpoint = rounds[0].websocket.clone().unwrap();
        self.core.handle_established(self.now, Via { transport: Transport::WebSocket, endpoint }, 0);
        let pb::frame::Body::Hello(hello) = self.sent() else { panic!("no hello") };
        self.receive(welcome());
        assert_eq!(self.core.state(), State::Connected);
        hello
    }

    /// Returns the next action other than closing something or asking for endpoints.
    fn action(&mut self) -> Action {
        loop {
            match self.core.poll_action().expect("an action") {
                Action::Close(..) | Action::AskEndpoints => {}
                action => return action,
            }
        }
    }

    fn close_code(&mut self) -> CloseCode {
        match self.core.poll_action().expect("an action") {
            Action::Close(code, _) => code,
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self) -> pb::frame::Body {
        self.try_sent().expect("a frame")
    }

    fn try_sent(&mut self) -> Option<pb::frame::Body> {
        self.save();
        let bytes = self.core.poll_transmit(self.now).or_else(|| {
            // A send that was resolved instead may have released another one.
            self.save();
            self.core.poll_transmit(self.now)
        })?;
        let frame = frame::split(bytes, usize::MAX).next().unwrap().unwrap();
        Some(frame::decode(frame).unwrap().unwrap())
    }

    fn sent_publish(&mut self) -> pb::Publish {
        match self.sent() {
            pb::frame::Body::Publish(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, body: pb::frame::Body) {
        let frame = frame::split(frame::encode(body), usize::MAX).next().unwrap().unwrap();
        self.core.handle_frame(self.now, frame);
    }

    fn closed_by_server(&mut self, code: CloseCode) {
        self.core
            .handle_ended(self.now, ConnectionEnd::Closed { code: Some(code), reason: "test".to_owned() });
    }

    fn broken(&mut self) {
        self.core.handle_ended(self.now, ConnectionEnd::Broken("test".to_owned()));
    }

    /// Lets time pass, with every timer on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 4, "a timer that fires for ever");
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn publish(&mut self, ticket: u32, to: &str) {
        self.core.handle_publish(self.now, ticket, recipient(to), Content::text("hi"), None);
    }

    fn send(&mut self, ticket: u32, to: &str) {
        self.core.handle_send(self.now, ticket | SEND, recipient(to), Content::text("hi"), None);
    }

    /// Sends a message, and returns its id.
    fn taken(&mut self, to: &str) -> LocalId {
        self.send(0, to);
        self.save();
        self.taken.pop().expect("an answer").1.expect("taken")
    }

    fn resolved(&mut self) -> Vec<(u32, Result<Published, &'static str>)> {
        let outcomes = std::iter::from_fn(|| self.core.poll_resolved());
        outcomes.map(|(ticket, outcome)| (ticket, outcome.map_err(|error| error.code()))).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn drain(&mut self) {
        while self.core.poll_action().is_some() {}
        while self.try_sent().is_some() {}
        self.events();
        self.resolved();
    }
}

fn welcome() -> pb::frame::Body {
    pb::frame::Body::Welcome(pb::Welcome {
        version: 1,
        user: "alice".to_owned(),
        heartbeat_ms: HEARTBEAT_MS,
        limits: Some(pb::Limits { max_frame_bytes: 1000, max_inflight_publishes: 3 }),
        ..Default::default()
    })
}

fn cursor(channel: &str, seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: channel.to_owned(), seq, id }
}

fn sync_done(ends: &[pb::Cursor]) -> pb::frame::Body {
    pb::frame::Body::SyncDone(pb::SyncDone { ends: ends.to_vec(), more: false })
}

fn accepted(number: u64) -> pb::frame::Body {
    let outcome = pb::Accepted { message_id: number, answer: Bytes::new() };
    let outcome = Some(pb::publish_result::Outcome::Accepted(outcome));
    pb::frame::Body::PublishResult(pb::PublishResult { number, outcome })
}

fn refused(number: u64, kind: pb::RefusalKind, retry_after_ms: u32) -> pb::frame::Body {
    let outcome = pb::Refused { kind: kind.into(), reason: "test".to_owned(), code: 7, retry_after_ms };
    let outcome = Some(pb::publish_result::Outcome::Refused(outcome));
    pb::frame::Body::PublishResult(pb::PublishResult { number, outcome })
}

fn push(id: u64, from: &str) -> pb::frame::Body {
    let content = Some(Content::text("hello").into());
    let message =
        pb::Message { id, from: from.to_owned(), to: "alice".to_owned(), content, ..Default::default() };
    pb::frame::Body::Push(pb::Push { message: Some(message), ..Default::default() })
}

/// Parses a user, or a channel after a `#`.
fn recipient(name: &str) -> Recipient {
    match name.strip_prefix('#') {
        Some(channel) => ChannelId::parse(channel).unwrap().into(),
        None => UserId::parse(name).unwrap().into(),
    }
}
