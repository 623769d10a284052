//! The client as a state machine without any I/O.
//!
//! Whatever happens is told by a `handle_*` method; whatever is to be done comes out of a `poll_*` method. The time
//! and the randomness are passed in. So every situation can be tested in no time, and any driver can carry it out.
//!
//! ```text
//!                 connect()            token             transport established          Welcome
//!  Disconnected ------------> Asking -----------> Racing ---------------------> Greeting -------> Connected
//!                               ^                   |                              |                  |
//!                               |   delay over      v    failed, lost, told to     v    leave         |
//!                               +--------------- Waiting <------------------------------------------+
//!                                                                 a close code that says never: Stopped
//! ```

mod backoff;
mod conversations;
mod heartbeat;
mod inbound;
mod logs;
mod order;
mod outbox;
mod poll;
mod requests;
mod rooms;
mod saving;
mod session;
#[cfg(test)]
mod tests;
mod transitions;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use prost::Message as _;
use rand::{RngExt as _, rngs::StdRng};

pub use self::rooms::MAX_ROOMS;
use self::{
    backoff::Backoff,
    conversations::{Asker, Conversations},
    logs::Logs,
    order::Order,
    outbox::{Outbox, Waiter},
    requests::Requests,
    rooms::Rooms,
    saving::Saving,
    session::{Greeting, Limits, Session},
};
pub(super) use self::{
    order::Round,
    outbox::{Outcome, Taken},
    requests::{Answer, Reply},
    session::{MAX_RECEIVED_FRAME_BYTES, Via},
};
use crate::{
    Content, Recipient,
    client::{
        ClientConfig, Endpoint, Event, LocalId, Position, PublishError, SendError, StopCause, TokenError,
        TokenRequest, store::Saved,
    },
    id::Device,
    proto::{close::CloseCode, frame, limits, pb},
};

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask the application for a token; the answer goes to [`Core::handle_token`].
    AskToken(TokenRequest),
    /// Before that: ask it where servers listen, since none of those that are known does. The answer goes to
    /// [`Core::handle_endpoints`].
    AskEndpoints,
    /// Race the endpoints; the outcome goes to [`Core::handle_established`] or [`Core::handle_unreachable`].
    Connect(Vec<Round>),
    /// Let go of whatever is under way: the question for a token, the race, or the connection, after it has sent what
    /// it has taken.
    Close(CloseCode, String),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server closed it.
    Closed {
        /// None if the server just hung up.
        code: Option<CloseCode>,
        /// What the server says.
        reason: String,
    },
    /// The network failed.
    Broken(String),
    /// What came is not the protocol.
    Protocol(String),
}

/// The state machine. `T` is how the driver knows a publish again.
pub(super) struct Core<T> {
    device: Device,
    client_name: String,
    phase: Phase,
    order: Order,
    backoff: Backoff,
    rng: StdRng,
    /// What the next question for a token says.
    request: TokenRequest,
    /// The next connection goes on with an earlier login.
    resumes: bool,
    outbox: Outbox<T>,
    requests: Requests<Asker<T>>,
    /// To the application's questions.
    answers: VecDeque<(T, Answer)>,
    conversations: Conversations,
    rooms: Rooms,
    logs: Logs,
    saving: Saving,
    limits: Limits,
    /// Whether the driver reads, which it does not while the application has enough to do.
    reading: bool,
    /// When to close at the latest, once the application said so.
    closing: Option<Instant>,
    skipped: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

enum Phase {
    Disconnected,
    Waiting {
        until: Instant,
    },
    Asking,
    Racing {
        token: String,
    },
    Greeting(Greeting),
    Connected(Session),
    /// Why.
    Stopped(String),
    Closed,
}

impl<T> Core<T> {
    /// Goes on from what was saved.
    pub(super) fn new(config: &ClientConfig, saved: Saved, mut rng: StdRng) -> Self {
        let installation = rng.random_range(1..=u64::MAX);
        // Times are added to now, and few clocks have that many years.
        let within = |time: Duration| time.min(LONGEST_WAIT);
        let check_every = within(config.cursor_check);
        let resumes = !saved.user.is_empty() && !config.new_login;
        Self {
            device: config.device.clone(),
            client_name: config.client_name.clone(),
            phase: Phase::Disconnected,
            order: Order::new(&config.endpoints),
            backoff: Backoff::default(),
            rng,
            request: if resumes { TokenRequest::Reopened } else { TokenRequest::First },
            resumes,
            outbox: Outbox::new(within(config.publish_timeout), &saved, installation),
            requests: Requests::new(within(config.request_timeout)),
            answers: VecDeque::new(),
            conversations: Conversations::load(&saved),
            rooms: Rooms::new(check_every),
            logs: Logs::new(&saved.cursors, check_every),
            saving: Saving::of(saved.user),
            limits: Limits::default(),
            reading: true,
            closing: None,
            skipped: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The application wants a connection; if one is awaited, now instead of later.
    pub(super) fn handle_connect(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Disconnected | Phase::Stopped(_) | Phase::Waiting { .. }) {
            self.start(now);
        }
    }

    /// The application wants no connection.
    pub(super) fn handle_disconnect(&mut self) {
        match self.phase {
            Phase::Disconnected | Phase::Stopped(_) | Phase::Closed => return,
            Phase::Connected(_) => self.events.push_back(disconnected_by_application()),
            _ => {}
        }
        self.drop_connection(CloseCode::ClientClosed, "");
        self.phase = Phase::Disconnected;
        // Without a connection there is nothing that a close could wait for.
        if self.closing.is_some() {
            self.close_now();
        }
    }

    /// The application wants to end it all. What it has published may take up to `grace` on an existing connection.
    pub(super) fn handle_close(&mut self, now: Instant, grace: Duration) {
        let by = now + grace;
        self.closing = Some(self.closing.map_or(by, |earlier| earlier.min(by)));
        self.logs.flush_acks();
        self.conversations.flush(now);
        self.close_if_done(now);
    }

    /// The application has another token: that the last one was refused says nothing of it.
    pub(super) fn handle_new_token(&mut self) {
        if matches!(self.request, TokenRequest::Rejected { .. }) {
            self.request = TokenRequest::Reconnect;
        }
    }

    /// The application knows where servers listen now, for the next attempt. Nothing says nothing.
    pub(super) fn handle_endpoints(&mut self, endpoints: &[Endpoint]) {
        if !endpoints.is_empty() {
            self.order.replace(endpoints);
        }
    }

    /// The provider answered an [`Action::AskToken`].
    pub(super) fn handle_token(&mut self, now: Instant, token: Result<String, TokenError>) {
        match token {
            _ if !matches!(self.phase, Phase::Asking) => {}
            Ok(token) => self.race(token),
            Err(TokenError::Denied(reason)) => self.stop(StopCause::Token, reason),
            Err(error) => self.retry(now, None, error.to_string()),
        }
    }

    /// A transport is established, before those of as many rounds as given, which are the last to be tried again.
    pub(super) fn handle_established(&mut self, now: Instant, via: Via, overtaken: usize) {
        let Phase::Racing { token } = &self.phase else { return };
        let mut hello = self.hello(token);
        hello.cursors = self.logs.hello(limits::MAX_HELLO_BYTES.saturating_sub(hello.encoded_len()));
        let hello = Some(frame::encode(pb::frame::Body::Hello(hello)));
        for round in self.order.rounds().into_iter().take(overtaken) {
            [round.quic, round.websocket].iter().flatten().for_each(|endpoint| self.order.demote(endpoint));
        }
        self.phase = Phase::Greeting(Greeting { via, hello, pong: None, deadline: now + WELCOME_TIMEOUT });
    }

    /// No endpoint could be reached.
    pub(super) fn handle_unreachable(&mut self, now: Instant, reason: String) {
        if matches!(self.phase, Phase::Racing { .. }) {
            self.order.handle_all_failed();
            self.retry(now, None, reason);
        }
    }

    /// The connection ended.
    pub(super) fn handle_ended(&mut self, now: Instant, ended: Ended) {
        match ended {
            _ if !matches!(self.phase, Phase::Greeting(_) | Phase::Connected(_)) => {}
            Ended::Closed { code, reason } => self.lose(now, code, reason),
            Ended::Broken(reason) => self.lose(now, None, reason),
            Ended::Protocol(reason) => self.fail(now, CloseCode::ProtocolError, reason),
        }
        self.close_if_done(now);
    }

    /// The driver stopped or started reading.
    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        if std::mem::replace(&mut self.reading, reading) == reading {
            return;
        }
        self.logs.handle_reading(now, reading);
        if let Phase::Connected(session) = &mut self.phase {
            session.heartbeat.handle_reading(now, reading);
        }
    }

    /// The application publishes; the outcome comes out of [`Core::poll_resolved`].
    pub(super) fn handle_publish(&mut self, now: Instant, ticket: T, to: Recipient, content: Content) {
        self.save_at_once();
        match &self.phase {
            _ if self.closing.is_some() => self.outbox.refuse(Waiter::Outcome(ticket), SendError::Closed),
            Phase::Stopped(reason) => self.outbox.refuse_stopped(ticket, reason.clone()),
            _ => self.outbox.push(now, Waiter::Outcome(ticket), to, content, self.limits),
        }
    }

    /// The application sends and does not wait: whether it is taken comes out of [`Core::poll_taken`], its end is an
    /// event.
    pub(super) fn handle_send(&mut self, now: Instant, ticket: T, to: Recipient, content: Content) {
        // Whoever waits is told at once how the store is by now.
        self.save_at_once();
        match self.closing {
            Some(_) => self.outbox.refuse(Waiter::Taken(ticket), SendError::Closed),
            None => self.outbox.push(now, Waiter::Taken(ticket), to, content, self.limits),
        }
    }

    /// The application has no further use for a send. False: it is on its way, or unknown.
    pub(super) fn handle_discard(&mut self, local_id: LocalId) -> bool {
        self.outbox.discard(local_id)
    }

    /// The application has dealt with everything up to a position.
    pub(super) fn handle_ack(&mut self, now: Instant, position: Position) {
        self.logs.handle_ack(now, position);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let in_vain = match self.phase {
            Phase::Disconnected => PublishError::NotConnected,
            _ => PublishError::TimedOut,
        };
        self.outbox.handle_timeout(now, &in_vain);
        let unanswered = self.requests.handle_timeout(now);
        self.handle_unanswered(unanswered);
        self.handle_rooms_timeout(now);
        self.sort_answers(now);
        self.ask_for_conversations(now);
        self.logs.handle_timeout(now, &mut self.rng);
        self.handle_save_timeout(now);
        match &mut self.phase {
            Phase::Waiting { until } if *until <= now => self.start(now),
            Phase::Greeting(greeting) if greeting.deadline <= now => {
                self.fail(now, CloseCode::IdleTimeout, "the server does not say welcome".to_owned());
            }
            Phase::Connected(session) => {
                session.handle_timeout(now);
                self.check_session(now);
            }
            _ => {}
        }
        self.close_if_done(now);
    }
}

fn disconnected_by_application() -> Event {
    let reason = "the application disconnected".to_owned();
    Event::Disconnected { code: Some(CloseCode::ClientClosed), reason, retry_in: None }
}

/// Whoever wants to wait for longer than a year does not mind.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long the server may take to check the token.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
