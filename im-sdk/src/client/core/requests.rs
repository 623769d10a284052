//! Questions to the back ends: sent as soon as there is a connection, and again over the next one, until they are answered
//! or their time is up. Asking twice does no harm.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::rngs::StdRng;

use super::backoff::random_within;
use crate::{
    Conversation, ConversationState, HistoryRange,
    client::{ConversationPage, HistoryError, HistoryPage, MAX_QUEUED_REQUESTS, Readers},
    proto::{frame, pb},
};

/// What became of a question.
pub(crate) type Answer = Result<Reply, HistoryError>;

/// An answer, of the kind that the question asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    History(HistoryPage),
    Conversations(Box<ConversationPage>),
    Readers(Readers),
    Marked(Vec<ConversationState>),
}

/// All questions that are not answered yet. `T` is how the owner knows again who waits.
#[derive(Debug)]
pub(super) struct Requests<T> {
    timeout: Duration,
    waiting: BTreeMap<u64, Waiting<T>>,
    answered: VecDeque<(T, Answer)>,
    last_number: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: T,
    question: pb::request::Question,
    deadline: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// To be sent.
    Ready,
    Sent,
    /// Refused for now: to be sent again then.
    Delayed(Instant),
}

/// How many are sent and not answered: half of what servers allow, so that one that was given up and is answered late
/// gets no other refused.
const MAX_SENT: usize = crate::proto::limits::MAX_INFLIGHT_REQUESTS / 2;

impl<T> Requests<T> {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: BTreeMap::new(), answered: VecDeque::new(), last_number: 0 }
    }

    pub(super) fn ask(&mut self, now: Instant, ticket: T, question: pb::request::Question) {
        if self.waiting.len() >= MAX_QUEUED_REQUESTS {
            return self.refuse(ticket, HistoryError::QueueFull);
        }
        self.ask_anyway(now, ticket, question);
    }

    /// The core's own questions, of which there are few.
    pub(super) fn ask_anyway(&mut self, now: Instant, ticket: T, question: pb::request::Question) {
        self.last_number += 1;
        let waiting = Waiting { ticket, question, deadline: now + self.timeout, state: State::Ready };
        self.waiting.insert(self.last_number, waiting);
    }

    /// Answers for a question that was never taken.
    pub(super) fn refuse(&mut self, ticket: T, error: HistoryError) {
        self.answered.push_back((ticket, Err(error)));
    }

    /// The next frame to send, which counts as sent from here on.
    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        let sent = self.waiting.values().filter(|waiting| waiting.state == State::Sent).count();
        if sent >= MAX_SENT {
            return None;
        }
        let (number, waiting) = self.waiting.iter_mut().find(|(_, waiting)| waiting.state == State::Ready)?;
        waiting.state = State::Sent;
        let question = Some(waiting.question.clone());
        Some(frame::encode(pb::frame::Body::Request(pb::Request { number: *number, question })))
    }

    /// An answer that is no refusal, unless nobody waits for it any more.
    pub(super) fn handle_reply(&mut self, number: u64, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.answered.push_back((waiting.ticket, Ok(reply)));
        }
    }

    /// A refusal that passes is waited for, as long as there is time.
    pub(super) fn handle_refused(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        number: u64,
        refused: pb::Refused,
    ) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        let kind = refused.kind().into();
        let retry_after =
            (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms.into()));
        if let Some(delay) = retry_after {
            let at = now + delay + random_within(rng, delay);
            if at < waiting.deadline {
                waiting.state = State::Delayed(at);
                return;
            }
        }
        if let Some(waiting) = self.waiting.remove(&number) {
            let error = HistoryError::Refused { kind, reason: refused.reason, retry_after };
            self.answered.push_back((waiting.ticket, Err(error)));
        }
    }

    /// Nothing will answer what was sent: it is sent again.
    pub(super) fn handle_connection_lost(&mut self) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.state == State::Sent) {
            waiting.state = State::Ready;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.fail(&HistoryError::TimedOut, |waiting| waiting.deadline <= now);
        for waiting in self.waiting.values_mut() {
            if matches!(waiting.state, State::Delayed(at) if at <= now) {
                waiting.state = State::Ready;
            }
        }
    }

    /// Gives all of them up.
    pub(super) fn fail_all(&mut self, error: &HistoryError) {
        self.fail(error, |_| true);
    }

    fn fail(&mut self, error: &HistoryError, which: impl Fn(&Waiting<T>) -> bool) {
        let failed = self.waiting.extract_if(.., |_, waiting| which(waiting));
        self.answered.extend(failed.map(|(_, waiting)| (waiting.ticket, Err(error.clone()))));
    }

    pub(super) fn poll_answered(&mut self) -> Option<(T, Answer)> {
        self.answered.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = |waiting: &Waiting<T>| match waiting.state {
            State::Delayed(at) => at.min(waiting.deadline),
            State::Ready | State::Sent => waiting.deadline,
        };
        self.waiting.values().map(next).min()
    }
}

/// The question as it travels.
pub(super) fn question(conversation: Conversation, range: HistoryRange, limit: u32) -> pb::HistoryRequest {
    use pb::history_request::Conversation as Asked;
    let conversation = match conversation {
        Conversation::User(user) => Asked::User(user.to_string()),
        Conversation::Channel(channel) => Asked::Channel(channel.to_string()),
        Conversation::Inbox => Asked::Inbox(true),
    };
    let (before, after) = match range {
        HistoryRange::Newest => (0, None),
        // Nothing is before the first one, and 0 would mean the newest.
        HistoryRange::Before(seq) => (seq.max(1), None),
        HistoryRange::After(seq) => (0, Some(seq)),
    };
    pb::HistoryRequest { conversation: Some(conversation), before, after, limit }
}
