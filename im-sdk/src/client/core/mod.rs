//! The client as a state machine without I/O.
//!
//! A driver reports events to [`Core`] by its `handle_*` methods, and carries out what its `poll_*` methods return. Time and
//! randomness are passed in, so every situation can be tested in no time, and with any driver.
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
mod endpoint_list;
mod heartbeat;
mod inbound;
mod lifecycle;
mod logs;
mod origin;
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
use rand::rngs::StdRng;

use self::{
    backoff::Backoff,
    conversations::{Conversations, Requester},
    endpoint_list::EndpointList,
    lifecycle::Background,
    logs::Logs,
    outbox::{Outbox, Waiter},
    requests::Requests,
    rooms::Rooms,
    saving::Saving,
    session::{Greeting, Limits, Session},
};
pub(super) use self::{
    endpoint_list::Round,
    outbox::{Outcome, Taken, Unsettled},
    requests::{Answer, Reply},
    session::{MAX_RECEIVED_FRAME_BYTES, Via},
};
pub use self::{lifecycle::PROBE_TIMEOUT, rooms::MAX_ROOMS};
use crate::{
    Endpoint, Recipient,
    client::{
        ClientConfig, Event, LocalId, Position, PublishError, SendError, StopCause, TokenError, TokenRequest,
        device_store::SavedState,
    },
    content::Content,
    id::Device,
    proto::{close::CloseCode, frame, limits, pb},
};

/// An action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Asks the application for a token; the answer goes to [`Core::handle_token`].
    AskToken(TokenRequest),
    /// Asks for endpoints together with the next token, since all known ones have failed. The answer goes to
    /// [`Core::handle_endpoints`].
    AskEndpoints,
    /// Races the endpoints; the outcome goes to [`Core::handle_established`] or [`Core::handle_unreachable`].
    Connect(Vec<Round>),
    /// Ends the current activity: the question for a token, the race, or the connection, which first sends the frames that it
    /// has taken.
    Close(CloseCode, String),
}

/// The way in which a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// The server closed it.
    Closed {
        /// `None` if the server gave none.
        code: Option<CloseCode>,
        /// The server's reason.
        reason: String,
    },
    /// The network failed.
    Broken(String),
    /// The server violates the protocol.
    Protocol(String),
}

/// The state machine. `T` is a ticket by which the driver knows who waits for an answer.
///
/// # Contract
///
/// The methods do no I/O and never block. A driver keeps to this:
///
/// 1. It calls a `handle_*` method for each thing that happens: an input of the application, a frame, the end of a connection, the outcome of an
///    [`Action`] or of a save, the time that [`Core::poll_timeout`] has named. They may come in any order, and any of them may come too
///    late: what no longer fits the state is ignored.
/// 2. After any of them, all `poll_*` methods may have something to return, so the driver calls each until it returns `None`, in this order:
///    [`Core::poll_transmit`] while the connection takes frames; [`Core::poll_action`], which may close the connection and so comes after the
///    frames; [`Core::poll_save`], at most one batch at a time; the answers, [`Core::poll_resolved`], [`Core::poll_answered`],
///    [`Core::poll_taken`] and then [`Core::poll_settled`]; [`Core::poll_event`] while the application takes events; and last
///    [`Core::poll_timeout`].
/// 3. What a `poll_*` method has returned counts as done. A frame counts as sent, and is sent again only over the next connection; a batch as
///    saved, unless [`Core::handle_saved`] says otherwise.
/// 4. It tells by [`Core::handle_reading`] when it stops reading, because the application takes no events, and when it goes on.
/// 5. It ends when [`Core::is_closed`]; before that it saves what is left.
pub(super) struct Core<T> {
    device: Device,
    client_name: String,
    phase: Phase,
    endpoints: EndpointList,
    backoff: Backoff,
    rng: StdRng,
    /// The next request for a token.
    request: TokenRequest,
    /// Set if the next connection continues an earlier login.
    resumes: bool,
    outbox: Outbox<T>,
    requests: Requests<Requester<T>>,
    /// Answers to the application's requests.
    answers: VecDeque<(T, Answer)>,
    conversations: Conversations,
    rooms: Rooms,
    logs: Logs,
    saving: Saving,
    limits: Limits,
    /// Set while the driver reads, which it does not while the application takes no events.
    reading: bool,
    /// The latest time to close, once the application has requested it.
    closing: Option<Instant>,
    background: Background,
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
    /// The reason.
    Stopped(String),
    Closed,
}

impl<T> Core<T> {
    /// Creates a state machine that continues from a saved state.
    pub(super) fn new(config: &ClientConfig, saved: SavedState, mut rng: StdRng) -> Self {
        let outbox = Outbox::new(config.publish_timeout.min(LONGEST_WAIT), &saved, &mut rng);
        let check_every = config.cursor_check.min(LONGEST_WAIT);
        let resumes = !saved.user.is_empty() && !config.new_login;
        Self {
            device: config.device.clone(),
            client_name: config.client_name.clone(),
            phase: Phase::Disconnected,
            endpoints: EndpointList::new(&config.endpoints),
            backoff: Backoff::default(),
            rng,
            request: if resumes { TokenRequest::Reopened } else { TokenRequest::First },
            resumes,
            outbox,
            requests: Requests::new(config.request_timeout.min(LONGEST_WAIT)),
            answers: VecDeque::new(),
            conversations: Conversations::load(&saved),
            rooms: Rooms::new(check_every),
            logs: Logs::new(&saved.cursors, check_every),
            saving: Saving::of(saved.user),
            limits: Limits::default(),
            reading: true,
            closing: None,
            background: Background::No,
            skipped: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Handles a request for a connection. Starts an attempt at once if the next one was waiting.
    pub(super) fn handle_connect(&mut self, now: Instant) {
        self.background = Background::No;
        if matches!(self.phase, Phase::Disconnected | Phase::Stopped(_) | Phase::Waiting { .. }) {
            self.start(now);
        }
    }

    /// Handles a request to disconnect.
    pub(super) fn handle_disconnect(&mut self) {
        // Returning to the foreground does not reconnect.
        if self.background != Background::No {
            self.background = Background::Away { online: false };
        }
        match self.phase {
            Phase::Disconnected | Phase::Stopped(_) | Phase::Closed => return,
            Phase::Connected(_) => self.events.push_back(disconnected_by_application()),
            _ => {}
        }
        self.drop_connection(CloseCode::ClientClosed, "");
        self.phase = Phase::Disconnected;
        // Without a connection a close has nothing to wait for.
        if self.closing.is_some() {
            self.close_now();
        }
    }

    /// Handles the end of the client. Its sends may take up to `grace` on an existing connection.
    pub(super) fn handle_close(&mut self, now: Instant, grace: Duration) {
        let by = now + grace;
        self.background = Background::No;
        self.closing = Some(self.closing.map_or(by, |earlier| earlier.min(by)));
        self.logs.flush_acks();
        self.conversations.flush(now);
        self.close_if_done(now);
    }

    /// Handles a new token. The refusal of the last one says nothing about it.
    pub(super) fn handle_new_token(&mut self) {
        if matches!(self.request, TokenRequest::Rejected { .. }) {
            self.request = TokenRequest::Reconnect;
        }
    }

    /// Handles new endpoints, for the next attempt. An empty list is ignored.
    pub(super) fn handle_endpoints(&mut self, endpoints: &[Endpoint]) {
        if !endpoints.is_empty() {
            self.endpoints.replace(endpoints);
        }
    }

    /// Handles the provider's answer to an [`Action::AskToken`].
    pub(super) fn handle_token(&mut self, now: Instant, token: Result<String, TokenError>) {
        match token {
            _ if !matches!(self.phase, Phase::Asking) => {}
            Ok(token) => self.race(token),
            Err(TokenError::Denied(reason)) => self.stop(StopCause::Token, reason),
            Err(error) => self.retry(now, None, error.to_string()),
        }
    }

    /// Handles an established transport. The `overtaken` rounds before it have failed or are slower: they move to the end of
    /// the list.
    pub(super) fn handle_established(&mut self, now: Instant, via: Via, overtaken: usize) {
        let Phase::Racing { token } = &self.phase else { return };
        let mut hello = self.hello(token);
        hello.cursors = self.logs.hello(limits::MAX_HELLO_BYTES.saturating_sub(hello.encoded_len()));
        let hello = Some(frame::encode(pb::frame::Body::Hello(hello)));
        for round in self.endpoints.rounds().into_iter().take(overtaken) {
            [round.quic, round.websocket]
                .iter()
                .flatten()
                .for_each(|endpoint| self.endpoints.move_to_end(endpoint));
        }
        self.phase = Phase::Greeting(Greeting { via, hello, pong: None, deadline: now + WELCOME_TIMEOUT });
    }

    /// Handles that no endpoint could be reached.
    pub(super) fn handle_unreachable(&mut self, now: Instant, reason: String) {
        if matches!(self.phase, Phase::Racing { .. }) {
            self.endpoints.handle_all_failed();
            self.retry(now, None, reason);
        }
    }

    /// Handles the end of the connection.
    pub(super) fn handle_ended(&mut self, now: Instant, ended: ConnectionEnd) {
        match ended {
            _ if !matches!(self.phase, Phase::Greeting(_) | Phase::Connected(_)) => {}
            ConnectionEnd::Closed { code, reason } => self.lose(now, code, reason),
            ConnectionEnd::Broken(reason) => self.lose(now, None, reason),
            ConnectionEnd::Protocol(reason) => self.fail(now, CloseCode::ProtocolError, reason),
        }
        self.close_if_done(now);
    }

    /// Handles that the driver stopped or started reading.
    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        if std::mem::replace(&mut self.reading, reading) == reading {
            return;
        }
        self.logs.handle_reading(now, reading);
        if let Phase::Connected(session) = &mut self.phase {
            session.heartbeat.handle_reading(now, reading);
        }
    }

    /// Sends a message whose outcome the application waits for: [`Core::poll_resolved`] returns it. Gives up after
    /// `within`, or after the configured time.
    pub(super) fn handle_publish(
        &mut self,
        now: Instant,
        ticket: T,
        to: Recipient,
        content: Content,
        within: Option<Duration>,
    ) {
        self.prepare_send();
        match &self.phase {
            _ if self.closing.is_some() => self.outbox.refuse(Waiter::Outcome(ticket), SendError::Closed),
            Phase::Stopped(reason) => self.outbox.refuse_stopped(ticket, reason.clone()),
            _ => self.outbox.push(now, Waiter::Outcome(ticket), to, content, capped(within), self.limits),
        }
    }

    /// Sends a message for an application that waits only until it is saved, which [`Core::poll_taken`] reports. The
    /// outcome is an event, and also comes from [`Core::poll_settled`]. With `within`, the client gives up after that
    /// time.
    pub(super) fn handle_send(
        &mut self,
        now: Instant,
        ticket: T,
        to: Recipient,
        content: Content,
        within: Option<Duration>,
    ) {
        self.prepare_send();
        match self.closing {
            Some(_) => self.outbox.refuse(Waiter::Taken(ticket), SendError::Closed),
            None => self.outbox.push(now, Waiter::Taken(ticket), to, content, capped(within), self.limits),
        }
    }

    /// Sends a failed message again, as [`Core::handle_send`] does, under a new id. Gives the ticket back if that send has not
    /// failed.
    pub(super) fn handle_retry(&mut self, ticket: T, local_id: LocalId) -> Result<(), T> {
        self.prepare_send();
        match self.closing {
            Some(_) => self.outbox.refuse(Waiter::Taken(ticket), SendError::Closed),
            None => return self.outbox.retry(ticket, local_id, self.limits),
        }
        Ok(())
    }

    fn prepare_send(&mut self) {
        // Saves at once, so that the application learns whether the store works by now.
        self.save_at_once();
        if !matches!(self.phase, Phase::Connected(_)) {
            self.outbox.handle_taking_offline();
        }
    }

    /// Forgets a send that the application does not need any more. Returns `false` if it is on its way, or unknown.
    pub(super) fn handle_discard(&mut self, local_id: LocalId) -> bool {
        self.outbox.discard(local_id)
    }

    /// Handles an acknowledgement of the application.
    pub(super) fn handle_ack(&mut self, now: Instant, position: Position) {
        self.logs.handle_ack(now, position);
    }

    /// Handles the passing of time.
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

/// Caps a time limit, so that it can be added to any clock.
fn capped(within: Option<Duration>) -> Option<Duration> {
    within.map(|time| time.min(LONGEST_WAIT))
}

/// The longest time limit. Limits are added to the present time, and few clocks reach much further.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time that the server may take to check the token.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
