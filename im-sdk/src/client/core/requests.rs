//! Questions to the back ends: sent as soon as there is a connection, and again over the next one, until they are answered
//! or their time is up. They change nothing, so that asking twice does no harm.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::rngs::StdRng;

use super::backoff::random_within;
use crate::{
    Conversation, HistoryQuery, HistoryRange, Search,
    client::{FoundPage, HistoryError, HistoryPage, MAX_QUEUED_REQUESTS},
    history::HistoryStart,
    proto::{frame, pb, pb::request::Question},
};

/// What became of a question.
pub(crate) type Answer = Result<Answered, HistoryError>;

/// An answer that is no refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answered {
    History(HistoryPage),
    Found(FoundPage),
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
    question: Question,
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

    pub(super) fn ask(&mut self, now: Instant, ticket: T, question: Question) {
        if self.waiting.len() >= MAX_QUEUED_REQUESTS {
            return self.refuse(ticket, HistoryError::QueueFull);
        }
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
    pub(super) fn handle_answer(&mut self, number: u64, answer: Answered) {
        let is_it = |waiting: &Waiting<T>| {
            matches!(
                (&waiting.question, &answer),
                (Question::History(_), Answered::History(_)) | (Question::Search(_), Answered::Found(_))
            )
        };
        if self.waiting.get(&number).is_some_and(is_it)
            && let Some(waiting) = self.waiting.remove(&number)
        {
            self.answered.push_back((waiting.ticket, Ok(answer)));
        }
    }

    /// Where the page after this one begins, in the direction that was asked for. `next` is 0 where an older back end did not
    /// say it.
    pub(super) fn next(&self, number: u64, history: &pb::History) -> Option<HistoryRange> {
        let Question::History(asked) = &self.waiting.get(&number)?.question else { return None };
        if !history.more {
            return None;
        }
        let is_forward =
            asked.before == 0 && asked.before_id == 0 && (asked.after.is_some() || asked.after_id != 0);
        let edge = if is_forward { history.entries.last() } else { history.entries.first() };
        let seq = if history.next == 0 { edge?.seq } else { history.next };
        Some(if is_forward { HistoryRange::After(seq) } else { HistoryRange::Before(seq) })
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
pub(super) fn history(conversation: Conversation, query: HistoryQuery, limit: u32) -> Question {
    use pb::history_request::Conversation as Asked;
    let conversation = match conversation {
        Conversation::User(user) => Asked::User(user.to_string()),
        Conversation::Channel(channel) => Asked::Channel(channel.to_string()),
        Conversation::Inbox => Asked::Inbox(true),
    };
    let mut asked = pb::HistoryRequest {
        conversation: Some(conversation),
        limit,
        since_ms: query.since_ms.unwrap_or_default(),
        until_ms: until(query.until_ms),
        kinds: query.kinds.iter().map(pb::ContentKind::from).collect(),
        ..Default::default()
    };
    match query.start {
        HistoryStart::Range(HistoryRange::Newest) => {}
        // Nothing is before the first one, and 0 would mean the newest.
        HistoryStart::Range(HistoryRange::Before(seq)) => asked.before = seq.max(1),
        HistoryStart::Range(HistoryRange::After(seq)) => asked.after = Some(seq),
        HistoryStart::BeforeMessage(id) => asked.before_id = id.as_u64(),
        HistoryStart::AfterMessage(id) => asked.after_id = id.as_u64(),
    }
    Question::History(asked)
}

/// The same for a search.
pub(super) fn search(search: Search, limit: u32) -> Question {
    use pb::search_request::Conversation as Asked;
    let conversation = search.conversation.map(|conversation| match conversation {
        Conversation::User(user) => Asked::User(user.to_string()),
        Conversation::Channel(channel) => Asked::Channel(channel.to_string()),
        Conversation::Inbox => Asked::Inbox(true),
    });
    let before = search.before.map(|place| pb::Cursor {
        channel: place.channel.map(|channel| channel.to_string()).unwrap_or_default(),
        seq: 0,
        id: place.message_id.as_u64(),
    });
    Question::Search(pb::SearchRequest {
        text: search.text,
        conversation,
        kinds: search.kinds.iter().map(pb::ContentKind::from).collect(),
        from: search.from.map(|user| user.to_string()).unwrap_or_default(),
        since_ms: search.since_ms.unwrap_or_default(),
        until_ms: until(search.until_ms),
        before,
        limit,
    })
}

/// Nothing was sent in 1970, and 0 would mean up to now.
fn until(unix_ms: Option<u64>) -> u64 {
    unix_ms.map_or(0, |until| until.max(1))
}
