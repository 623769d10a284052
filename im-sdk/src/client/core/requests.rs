//! Requests to the backend. Each is sent as soon as there is a connection, and again over the next one, until it is answered or
//! its time is up. Sending one twice has the effect of one.

mod questions;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use rand::rngs::StdRng;

pub(super) use self::questions::{history, next, search};
use super::backoff::random_within;
use crate::{
    ConversationState, UserPresence,
    client::{
        ConversationPage, FoundPage, HistoryPage, JoinedRoom, MAX_QUEUED_REQUESTS, Readers, RequestError,
    },
    proto::{
        frame,
        pb::{self, request::Question, response::Outcome},
    },
};

/// The outcome of a request.
pub(crate) type Answer = Result<Reply, RequestError>;

/// A reply, of the kind that the question asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    History(HistoryPage),
    Found(FoundPage),
    JoinedRoom(JoinedRoom),
    Presences(Vec<UserPresence>),
    Conversations(Box<ConversationPage>),
    Readers(Readers),
    Marked(Vec<ConversationState>),
    Done,
}

/// All unanswered requests. `T` is the ticket of the waiting caller.
#[derive(Debug)]
pub(super) struct Requests<T> {
    timeout: Duration,
    waiting: BTreeMap<u64, Waiting<T>>,
    answered: VecDeque<(T, Answer)>,
    last_number: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    /// `None` for a request of the core itself, which has no time limit.
    ticket: Option<T>,
    question: Question,
    asked_at: Instant,
    deadline: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Waiting to be sent.
    Ready,
    Sent,
    /// Refused for now, to be sent again at this time.
    Delayed(Instant),
}

/// The most sent requests without an answer. Half of what servers allow, so that the late answer to an abandoned request does not
/// cause the refusal of another.
const MAX_SENT: usize = crate::proto::limits::MAX_INFLIGHT_REQUESTS / 2;

/// A settled question, and the ticket of its caller.
pub(super) type SettledQuestion<T> = (Option<T>, Question);

impl<T> Requests<T> {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: BTreeMap::new(), answered: VecDeque::new(), last_number: 0 }
    }

    /// Adds a request of the application. Returns `false` if it is refused at once.
    pub(super) fn ask(&mut self, now: Instant, ticket: T, question: Question) -> bool {
        if self.waiting.values().filter(|waiting| waiting.ticket.is_some()).count() >= MAX_QUEUED_REQUESTS {
            self.answer(Some(ticket), Err(RequestError::QueueFull));
            return false;
        }
        self.push(now, Some(ticket), question);
        true
    }

    /// Adds a request of the core, with a ticket by which it learns of a failure. Such requests are few, and their
    /// number is not limited.
    pub(super) fn ask_anyway(&mut self, now: Instant, ticket: T, question: Question) {
        self.push(now, Some(ticket), question);
    }

    /// Adds a request of the core, unless there is one about the same subject already.
    pub(super) fn ask_again(&mut self, now: Instant, question: Question) {
        let about = about(&question);
        if !self.waiting.values().any(|waiting| self::about(&waiting.question) == about) {
            self.push(now, None, question);
        }
    }

    fn push(&mut self, now: Instant, ticket: Option<T>, question: Question) {
        self.last_number += 1;
        let deadline = now + self.timeout;
        let waiting = Waiting { ticket, question, asked_at: now, deadline, state: State::Ready };
        self.waiting.insert(self.last_number, waiting);
    }

    /// Answers the application, if the request is its own.
    pub(super) fn answer(&mut self, ticket: Option<T>, answer: Answer) {
        self.answered.extend(ticket.map(|ticket| (ticket, answer)));
    }

    /// Returns the next frame to send, which counts as sent. Requests about one room are sent one after the other: the result
    /// of a join and a leave on two backends at the same time would be undefined.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let sent = self.waiting.values().filter(|waiting| waiting.state == State::Sent).count();
        if sent >= MAX_SENT {
            return None;
        }
        let mut earlier = HashSet::new();
        let next = self.waiting.iter().find(|(_, waiting)| {
            let first = about(&waiting.question).is_none_or(|about| earlier.insert(about));
            first && waiting.state == State::Ready
        });
        let number = *next?.0;
        let waiting = self.waiting.get_mut(&number)?;
        waiting.state = State::Sent;
        let mut question = waiting.question.clone();
        grow_older(&mut question, now.saturating_duration_since(waiting.asked_at));
        let question = Some(question);
        Some(frame::encode(pb::frame::Body::Request(pb::Request { number, question })))
    }

    /// Removes and returns an answered question, or `None` if nobody waits for it, or the answer is of
    /// another kind.
    pub(super) fn take_answered(&mut self, number: u64, outcome: &Outcome) -> Option<SettledQuestion<T>> {
        self.waiting.get(&number).filter(|waiting| is_answer(&waiting.question, outcome))?;
        self.take(number)
    }

    fn take(&mut self, number: u64) -> Option<SettledQuestion<T>> {
        self.waiting.remove(&number).map(|waiting| (waiting.ticket, waiting.question))
    }

    /// Handles a refusal. Waits after a temporary one while there is time, and returns the question
    /// otherwise.
    pub(super) fn handle_refused(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        number: u64,
        refused: pb::Refused,
    ) -> Option<(SettledQuestion<T>, RequestError)> {
        let waiting = self.waiting.get_mut(&number)?;
        let kind = refused.kind().into();
        let retry_after =
            (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms.into()));
        if let Some(delay) = retry_after {
            let at = now + delay + random_within(rng, delay);
            if waiting.ticket.is_none() || at < waiting.deadline {
                waiting.state = State::Delayed(at);
                return None;
            }
        }
        let pb::Refused { reason, code, .. } = refused;
        let error = RequestError::Refused { kind, reason, code, retry_after };
        self.take(number).map(|asked| (asked, error))
    }

    /// Handles the loss of the connection: unanswered requests are sent again.
    pub(super) fn handle_connection_lost(&mut self) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.state == State::Sent) {
            waiting.state = State::Ready;
        }
    }

    /// Returns the questions whose time is up.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Question> {
        for waiting in self.waiting.values_mut() {
            if matches!(waiting.state, State::Delayed(at) if at <= now) {
                waiting.state = State::Ready;
            }
        }
        self.fail(&RequestError::TimedOut, |waiting| waiting.ticket.is_some() && waiting.deadline <= now)
    }

    /// Fails all requests, and returns their questions.
    pub(super) fn fail_all(&mut self, error: &RequestError) -> Vec<Question> {
        self.fail(error, |_| true)
    }

    fn fail(&mut self, error: &RequestError, which: impl Fn(&Waiting<T>) -> bool) -> Vec<Question> {
        let failed: Vec<_> = self.waiting.extract_if(.., |_, waiting| which(waiting)).collect();
        let fail = |(_, waiting): (u64, Waiting<T>)| {
            self.answered.extend(waiting.ticket.map(|ticket| (ticket, Err(error.clone()))));
            waiting.question
        };
        failed.into_iter().map(fail).collect()
    }

    pub(super) fn poll_answered(&mut self) -> Option<(T, Answer)> {
        self.answered.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = |waiting: &Waiting<T>| {
            let delayed = if let State::Delayed(at) = waiting.state { Some(at) } else { None };
            let deadline = waiting.ticket.as_ref().map(|_| waiting.deadline);
            delayed.into_iter().chain(deadline).min()
        };
        self.waiting.values().filter_map(next).min()
    }
}

/// Adds the waiting time of marks to their age.
fn grow_older(question: &mut Question, by: Duration) {
    if let Question::Mark(request) = question {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        for age_ms in request.marks.iter_mut().filter_map(|mark| mark.age_ms.as_mut()) {
            *age_ms = age_ms.saturating_add(by);
        }
    }
}

/// Returns the question if its frame is not too large, whatever its number will be.
pub(super) fn fit(question: Question, limit: usize) -> Result<Question, RequestError> {
    let request = pb::Request { number: u64::MAX, question: Some(question) };
    let frame = pb::Frame { body: Some(pb::frame::Body::Request(request)) };
    let bytes = frame.encoded_len();
    match frame.body {
        Some(pb::frame::Body::Request(pb::Request { question: Some(question), .. })) if bytes <= limit => {
            Ok(question)
        }
        _ => Err(RequestError::TooLarge { bytes, limit }),
    }
}

/// The subject of questions whose order matters.
#[derive(PartialEq, Eq, Hash)]
enum About {
    Room(String),
    Presence,
}

fn about(question: &Question) -> Option<About> {
    match question {
        Question::History(_) | Question::Search(_) => None,
        // The core sends one request with marks at a time.
        Question::Conversations(_) | Question::Mark(_) | Question::Readers(_) => None,
        Question::JoinRoom(join) => Some(About::Room(join.channel.clone())),
        Question::LeaveRoom(leave) => Some(About::Room(leave.channel.clone())),
        Question::Watch(_) => Some(About::Presence),
    }
}

pub(super) fn is_answer(question: &Question, outcome: &Outcome) -> bool {
    matches!(
        (question, outcome),
        (Question::History(_), Outcome::History(_))
            | (Question::Search(_), Outcome::Found(_))
            | (Question::JoinRoom(_), Outcome::JoinedRoom(_))
            | (Question::LeaveRoom(_), Outcome::Done(_))
            | (Question::Watch(_), Outcome::Presences(_))
            | (Question::Conversations(_), Outcome::Conversations(_))
            | (Question::Mark(_), Outcome::Marked(_))
            | (Question::Readers(_), Outcome::Readers(_))
    )
}
