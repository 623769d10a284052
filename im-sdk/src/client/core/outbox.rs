//! Publishes on their way: at most one per conversation is unanswered, the rest wait in order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    Content,
    client::{MAX_QUEUED_PUBLISHES, PublishError, Published, RefusalKind, core::session::Limits},
    id::{MessageId, UserId},
    proto::{frame, pb},
};

/// What became of a publish.
pub(crate) type Outcome = Result<Published, PublishError>;

/// A publish's place in the order in which the application made them.
type Place = u64;

/// All publishes that are not resolved yet. `T` is how the owner knows them again.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    /// How long each may take.
    timeout: Duration,
    /// In order of place, which is also the order of deadlines, since all have the same timeout.
    entries: BTreeMap<Place, Entry<T>>,
    /// The places of each conversation, first come first.
    conversations: HashMap<UserId, VecDeque<Place>>,
    /// First of their conversation, and neither sent nor delayed.
    ready: BTreeSet<Place>,
    /// First of their conversation, refused for now, with the time of the next try.
    delayed: BTreeSet<(Instant, Place)>,
    /// First of their conversation and unanswered, by publish number.
    sent: HashMap<u64, Place>,
    resolved: VecDeque<(T, Outcome)>,
    next_place: Place,
    next_number: u64,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: T,
    to: UserId,
    content: pb::Content,
    /// Given at the first try and kept for all others, so that a later server can tell that it is the same.
    number: Option<u64>,
    deadline: Instant,
}

impl<T> Outbox<T> {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            entries: BTreeMap::new(),
            conversations: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            sent: HashMap::new(),
            resolved: VecDeque::new(),
            next_place: 0,
            next_number: 1,
        }
    }

    /// Takes a publish, or resolves it at once if that cannot be.
    pub(super) fn push(&mut self, now: Instant, ticket: T, to: UserId, content: Content, limits: Limits) {
        match self.check(&to, content, limits) {
            Ok(content) => {
                self.insert(Entry { ticket, to, content, number: None, deadline: now + self.timeout })
            }
            Err(error) => self.refuse(ticket, error),
        }
    }

    /// Resolves a publish that was never taken.
    pub(super) fn refuse(&mut self, ticket: T, error: PublishError) {
        self.resolved.push_back((ticket, Err(error)));
    }

    /// The next frame to send, which counts as sent from here on.
    pub(super) fn poll_transmit(&mut self, limits: Limits) -> Option<Bytes> {
        while self.sent.len() < limits.max_inflight {
            let place = self.ready.pop_first()?;
            let number = self.number(place)?;
            let entry = self.entries.get(&place)?;
            match fit(publish(number, &entry.to, entry.content.clone()), limits) {
                Ok(body) => {
                    self.sent.insert(number, place);
                    return Some(frame::encode(body));
                }
                // The limit shrank with another server.
                Err(error) => self.resolve(place, Err(error)),
            }
        }
        None
    }

    /// The server's answer. One to a publish that is resolved already means nothing any more.
    pub(super) fn handle_result(&mut self, now: Instant, result: pb::PublishResult) {
        let Some(place) = self.sent.remove(&result.number) else { return };
        match outcome(result) {
            Err(error) => self.handle_error(now, place, error),
            accepted => self.resolve(place, accepted),
        }
    }

    /// Nothing will answer what was sent. (Logged delivery will put these back into `ready`, with their numbers.)
    pub(super) fn handle_connection_lost(&mut self) {
        let mut places: Vec<Place> = self.sent.drain().map(|(_, place)| place).collect();
        places.sort_unstable();
        for place in places {
            self.resolve(place, Err(PublishError::Unconfirmed));
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((&place, entry)) =
            self.entries.first_key_value().filter(|(_, entry)| entry.deadline <= now)
        {
            let number = entry.number.unwrap_or_default();
            let was_sent = self.sent.remove(&number).is_some();
            let error = if was_sent { PublishError::Unconfirmed } else { PublishError::TimedOut };
            self.resolve(place, Err(error));
        }
        while let Some(&(at, place)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, place));
            self.ready.insert(place);
        }
    }

    /// Resolves everything: what was sent as unconfirmed, the rest with `error`.
    pub(super) fn fail_all(&mut self, error: &PublishError) {
        self.handle_connection_lost();
        while let Some((&place, _)) = self.entries.first_key_value() {
            self.resolve(place, Err(error.clone()));
        }
    }

    pub(super) fn poll_resolved(&mut self) -> Option<(T, Outcome)> {
        self.resolved.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.entries.first_key_value().map(|(_, entry)| entry.deadline);
        let retry = self.delayed.first().map(|(at, _)| *at);
        [deadline, retry].into_iter().flatten().min()
    }

    /// Nothing waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Something was sent and not answered.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    fn check(&self, to: &UserId, content: Content, limits: Limits) -> Result<pb::Content, PublishError> {
        if self.entries.len() >= MAX_QUEUED_PUBLISHES {
            return Err(PublishError::QueueFull);
        }
        let content = pb::Content::from(content);
        if content.body.is_none() {
            return Err(PublishError::NoContent);
        }
        // The longest number, so that what is taken here fits later too.
        match fit(publish(u64::MAX, to, content), limits)? {
            pb::frame::Body::Publish(pb::Publish { content: Some(content), .. }) => Ok(content),
            _ => Err(PublishError::NoContent),
        }
    }

    fn insert(&mut self, entry: Entry<T>) {
        let place = self.next_place;
        self.next_place += 1;
        let conversation = self.conversations.entry(entry.to.clone()).or_default();
        conversation.push_back(place);
        if conversation.len() == 1 {
            self.ready.insert(place);
        }
        self.entries.insert(place, entry);
    }

    fn number(&mut self, place: Place) -> Option<u64> {
        let entry = self.entries.get_mut(&place)?;
        let number = *entry.number.get_or_insert(self.next_number);
        self.next_number = self.next_number.max(number + 1);
        Some(number)
    }

    fn handle_error(&mut self, now: Instant, place: Place, error: PublishError) {
        let deadline = self.entries.get(&place).map(|entry| entry.deadline);
        match retry_at(now, &error).filter(|at| Some(*at) < deadline) {
            Some(at) => _ = self.delayed.insert((at, place)),
            None => self.resolve(place, Err(error)),
        }
    }

    /// Takes a publish out and lets the next one of its conversation go. Only ever the first of its conversation.
    fn resolve(&mut self, place: Place, outcome: Outcome) {
        let Some(entry) = self.entries.remove(&place) else { return };
        self.ready.remove(&place);
        self.delayed.retain(|(_, delayed)| *delayed != place);
        self.advance(&entry.to);
        self.resolved.push_back((entry.ticket, outcome));
    }

    fn advance(&mut self, to: &UserId) {
        let Some(conversation) = self.conversations.get_mut(to) else { return };
        conversation.pop_front();
        match conversation.front() {
            Some(next) => _ = self.ready.insert(*next),
            None => _ = self.conversations.remove(to),
        }
    }
}

fn publish(number: u64, to: &UserId, content: pb::Content) -> pb::frame::Body {
    pb::frame::Body::Publish(pb::Publish { number, to: to.to_string(), content: Some(content) })
}

/// The frame back, if the server takes its size.
fn fit(body: pb::frame::Body, limits: Limits) -> Result<pb::frame::Body, PublishError> {
    let frame = pb::Frame { body: Some(body) };
    let bytes = frame.encoded_len();
    match frame.body {
        Some(body) if bytes <= limits.max_frame_bytes => Ok(body),
        _ => Err(PublishError::TooLarge { bytes, limit: limits.max_frame_bytes }),
    }
}

fn outcome(result: pb::PublishResult) -> Outcome {
    match result.outcome {
        Some(pb::publish_result::Outcome::Accepted(accepted)) => {
            Ok(Published { message_id: MessageId::from_u64(accepted.message_id), answer: accepted.answer })
        }
        Some(pb::publish_result::Outcome::Refused(refused)) => Err(refusal(refused)),
        None => Err(PublishError::Unconfirmed),
    }
}

fn refusal(refused: pb::Refused) -> PublishError {
    let kind = pb::RefusalKind::try_from(refused.kind).map_or(RefusalKind::Unknown, RefusalKind::from);
    let retry_after =
        (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms.into()));
    PublishError::Refused { kind, reason: refused.reason, code: refused.code, retry_after }
}

/// When to try again without asking the application.
fn retry_at(now: Instant, error: &PublishError) -> Option<Instant> {
    match error {
        PublishError::Refused { kind, retry_after, .. } if kind.is_passing() => {
            retry_after.map(|delay| now + delay)
        }
        _ => None,
    }
}
