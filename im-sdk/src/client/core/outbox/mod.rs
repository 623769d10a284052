//! Publishes on their way: saved first, then sent under a number that never changes, until they are answered. At most one
//! per conversation is unanswered, the rest wait in order.
//!
//! ```text
//!  push --> first of its conversation? -- yes --> gets a number --> saved --> ready --> sent --> resolved
//!                     | no                            ^               |         ^         |
//!                     +--> waits for the one before --+      taken <--+         +- retry -+
//! ```

mod entry;
mod queues;
mod saving;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::rngs::StdRng;

pub(super) use self::entry::Waiter;
use self::{
    entry::{Entry, Failed},
    queues::Queues,
};
use crate::{
    Content, Recipient,
    client::{
        Event, LocalId, MAX_FAILED_SENDS, MAX_QUEUED_PUBLISHES, PublishError, Published, QueuedSend,
        SendError, SendState,
        core::{backoff::random_within, session::Limits},
        store::Saved,
    },
    proto::{frame, pb},
};

/// What became of a publish.
pub(crate) type Outcome = Result<Published, PublishError>;

/// Whether a send was taken.
pub(crate) type Taken = Result<LocalId, SendError>;

/// All publishes that are not settled yet. `T` is how the owner knows again who waits.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    /// How long a publish may take that someone waits for.
    timeout: Duration,
    /// In the order in which the application made them.
    entries: BTreeMap<LocalId, Entry<T>>,
    failed: BTreeMap<LocalId, Failed>,
    queues: Queues,
    deadlines: BTreeSet<(Instant, LocalId)>,
    /// What changed since it was saved last.
    unsaved: BTreeSet<LocalId>,
    /// What every publish says of the store; 0: nothing.
    installation: u64,
    resolved: VecDeque<(T, Outcome)>,
    taken: VecDeque<(T, Taken)>,
    events: VecDeque<Event>,
    next_local_id: u64,
}

impl<T> Outbox<T> {
    /// What an earlier process left behind goes on. `installation` is for a new store, whose numbers begin at 1: no clock is
    /// asked, so a wrong one costs nothing. A store of an earlier version goes on without one.
    pub(super) fn new(timeout: Duration, saved: &Saved, installation: u64) -> Self {
        let is_new = saved.next_number == 0 && saved.installation == 0;
        let installation = if is_new { installation } else { saved.installation };
        let next_number = saved.next_number.max(1);
        let mut outbox = Self {
            timeout,
            entries: BTreeMap::new(),
            failed: BTreeMap::new(),
            queues: Queues::new(next_number),
            deadlines: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            installation,
            resolved: VecDeque::new(),
            taken: VecDeque::new(),
            events: VecDeque::new(),
            next_local_id: saved.next_local_id.max(1),
        };
        saved.outbox.iter().for_each(|publish| outbox.load(publish));
        outbox
    }

    /// Takes a publish, or says at once why that cannot be.
    pub(super) fn push(
        &mut self,
        now: Instant,
        waiter: Waiter<T>,
        to: Recipient,
        content: Content,
        limits: Limits,
    ) {
        if self.entries.len() >= MAX_QUEUED_PUBLISHES {
            return self.refuse(waiter, SendError::QueueFull);
        }
        match wire::check(&to, content.into(), limits) {
            Ok(content) => self.insert(now, waiter, to, content),
            Err(error) => self.refuse(waiter, error),
        }
    }

    /// Answers for a publish that was never taken.
    pub(super) fn refuse(&mut self, waiter: Waiter<T>, error: SendError) {
        match waiter {
            Waiter::Outcome(ticket) => self.resolved.push_back((ticket, Err(error.into()))),
            Waiter::Taken(ticket) => self.taken.push_back((ticket, Err(error))),
            Waiter::Nobody => {}
        }
    }

    /// Answers for a publish while the client is stopped.
    pub(super) fn refuse_stopped(&mut self, ticket: T, reason: String) {
        self.resolved.push_back((ticket, Err(PublishError::Stopped { reason })));
    }

    /// The next frame to send, which counts as sent from here on.
    pub(super) fn poll_transmit(&mut self, now: Instant, limits: Limits) -> Option<Bytes> {
        while let Some((number, local_id)) = self.queues.next_ready(limits.max_inflight) {
            let entry = self.entries.get_mut(&local_id)?;
            match wire::fit(
                wire::publish(number, self.installation, &entry.to, entry.content.clone()),
                limits,
            ) {
                Ok(body) => {
                    entry.handle_sent();
                    self.queues.sent(now, number);
                    return Some(frame::encode(body));
                }
                // The limit shrank with another server.
                Err(error) => self.give_up(local_id, &error.into()),
            }
        }
        None
    }

    /// The server's answer. One to a publish that is settled already means nothing any more.
    pub(super) fn handle_result(&mut self, now: Instant, rng: &mut StdRng, result: pb::PublishResult) {
        let number = result.number;
        let Some(local_id) = self.queues.answered(number) else { return };
        let refused = match wire::outcome(result) {
            Ok(published) => return self.resolve(local_id, Ok(published)),
            Err(refused) => refused,
        };
        let Some(entry) = self.entries.get_mut(&local_id) else { return };
        entry.handle_refused(&refused);
        let retry = wire::retry_delay(&refused, entry.refusals);
        let at = retry.map(|delay| now + delay + random_within(rng, delay));
        match at.filter(|at| entry.deadline.is_none_or(|deadline| *at < deadline)) {
            Some(at) => {
                entry.refusals += 1;
                self.queues.delay(number, at);
            }
            None => {
                let error = entry.refused(wire::refusal(refused));
                self.resolve(local_id, Err(error));
            }
        }
    }

    /// Nothing will answer what was sent: it is sent again.
    pub(super) fn handle_connection_lost(&mut self) {
        self.queues.handle_connection_lost();
    }

    /// `error` is what is told of one that was never sent.
    pub(super) fn handle_timeout(&mut self, now: Instant, error: &PublishError) {
        while let Some(&(at, local_id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, local_id));
            self.give_up(local_id, error);
        }
        self.queues.handle_timeout(now);
    }

    /// Gives up what someone waits for. The rest stays and waits for a later connection, or a later process.
    pub(super) fn fail_waiting(&mut self, error: &PublishError) {
        let waits = |entry: &Entry<T>| matches!(entry.waiter, Waiter::Outcome(_));
        let waiting: Vec<LocalId> =
            self.entries.iter().filter(|(_, entry)| waits(entry)).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|local_id| self.give_up(local_id, error));
    }

    /// The application wants nothing to do with it any more. False: it is on its way, or unknown.
    pub(super) fn discard(&mut self, local_id: LocalId) -> bool {
        let waits = |entry: &Entry<T>| matches!(entry.waiter, Waiter::Nobody) && !entry.travelled;
        if self.entries.get(&local_id).is_some_and(waits) {
            self.remove(local_id);
        } else if self.failed.remove(&local_id).is_none() {
            return false;
        }
        self.unsaved.insert(local_id);
        true
    }

    /// What was sent without waiting for the outcome and is not settled.
    pub(super) fn list(&self) -> Vec<QueuedSend> {
        let queued = |local_id: &LocalId, to: &Recipient, content: &pb::Content, state| QueuedSend {
            local_id: *local_id,
            to: to.clone(),
            content: Some(content.clone()).into(),
            state,
        };
        let failed = self.failed.iter().map(|(id, one)| queued(id, &one.to, &one.content, SendState::Failed));
        let waits = |(_, entry): &(&LocalId, &Entry<T>)| !matches!(entry.waiter, Waiter::Outcome(_));
        let waiting = self.entries.iter().filter(waits);
        let mut list: Vec<_> =
            failed.chain(waiting.map(|(id, one)| queued(id, &one.to, &one.content, one.state()))).collect();
        list.sort_by_key(|queued| queued.local_id);
        list
    }

    pub(super) fn poll_resolved(&mut self) -> Option<(T, Outcome)> {
        self.resolved.pop_front()
    }

    pub(super) fn poll_taken(&mut self) -> Option<(T, Taken)> {
        self.taken.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        [deadline, self.queues.poll_timeout()].into_iter().flatten().min()
    }

    /// Nothing waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Something was sent and not answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.queues.is_unanswered()
    }

    pub(super) fn next_local_id(&self) -> u64 {
        self.next_local_id
    }

    pub(super) fn next_number(&self) -> u64 {
        self.queues.next_number()
    }

    pub(super) fn installation(&self) -> u64 {
        self.installation
    }

    fn insert(&mut self, now: Instant, waiter: Waiter<T>, to: Recipient, content: pb::Content) {
        let local_id = LocalId::from_u64(self.next_local_id);
        self.next_local_id += 1;
        let deadline = matches!(waiter, Waiter::Outcome(_)).then(|| now + self.timeout);
        self.deadlines.extend(deadline.map(|at| (at, local_id)));
        self.unsaved.insert(local_id);
        self.enqueue(local_id, Entry::new(waiter, to, content, deadline));
    }

    fn enqueue(&mut self, local_id: LocalId, entry: Entry<T>) {
        let is_first = self.queues.push(&entry.to, local_id);
        self.entries.insert(local_id, entry);
        if is_first {
            self.number(local_id);
        }
    }

    /// The first of a conversation gets its number, unless it has one.
    fn number(&mut self, local_id: LocalId) {
        if let Some(entry) = self.entries.get_mut(&local_id)
            && entry.number.is_none()
        {
            entry.number = Some(self.queues.number(local_id));
            self.unsaved.insert(local_id);
        }
    }

    fn give_up(&mut self, local_id: LocalId, error: &PublishError) {
        if let Some(entry) = self.entries.get(&local_id) {
            let error = entry.given_up(error);
            self.resolve(local_id, Err(error));
        }
    }

    fn resolve(&mut self, local_id: LocalId, outcome: Outcome) {
        let Some(entry) = self.remove(local_id) else { return };
        match entry.waiter {
            Waiter::Outcome(ticket) => self.resolved.push_back((ticket, outcome)),
            Waiter::Taken(_) | Waiter::Nobody => self.settle(local_id, entry.to, entry.content, outcome),
        }
    }

    /// Tells the application what became of a send. A failure stays until it is discarded.
    fn settle(&mut self, local_id: LocalId, to: Recipient, content: pb::Content, outcome: Outcome) {
        match outcome {
            Ok(Published { message_id, answer }) => {
                self.events.push_back(Event::Published { local_id, message_id, answer });
            }
            Err(error) => {
                self.events.push_back(failure(local_id, &error));
                self.failed.insert(local_id, Failed { to, content, error });
                if self.failed.len() > MAX_FAILED_SENDS {
                    self.unsaved.extend(self.failed.pop_first().map(|(oldest, _)| oldest));
                }
            }
        }
    }

    /// Takes a publish out and lets the next one of its conversation go.
    fn remove(&mut self, local_id: LocalId) -> Option<Entry<T>> {
        let entry = self.entries.remove(&local_id)?;
        self.unsaved.insert(local_id);
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, local_id));
        }
        if let Some(next) = self.queues.remove(&entry.to, local_id, entry.number) {
            self.number(next);
        }
        Some(entry)
    }
}

fn failure(local_id: LocalId, error: &PublishError) -> Event {
    Event::PublishFailed { local_id, error: error.clone(), retryable: error.is_retryable() }
}
