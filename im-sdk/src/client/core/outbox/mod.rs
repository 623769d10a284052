//! Unsettled sends. Each gets a number, is saved, and is then published under that number until it is answered. At most one send
//! of each conversation is unanswered; the others wait in order.
//!
//! ```text
//!                             +-------------- number used -------------+
//!                             v                                        |
//!  push --> gets a number --> saved --> first of its conversation --> ready --> sent --> resolved
//!                               |                                      ^         |
//!                      taken <--+                                      +- retry -+
//! ```

mod entry;
mod numbering;
mod queues;
mod saving;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};

pub(super) use self::entry::Waiter;
use self::{
    entry::{Entry, FailedSend},
    numbering::{Numbering, distance},
    queues::Queues,
};
use crate::{
    Recipient,
    client::{
        Event, LocalId, MAX_FAILED_SENDS, MAX_QUEUED_PUBLISHES, PublishError, Published, RefusalKind,
        SendError, SendState,
        core::{backoff::random_within, origin, session::Limits},
        device_store::SavedState,
    },
    content::Content,
    proto::{frame, pb},
};

/// The outcome of a send.
pub(crate) type Outcome = Result<Published, PublishError>;

/// The local id of a send that was taken, or the reason why it was not.
pub(crate) type Taken = Result<LocalId, SendError>;

/// A send that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) local_id: LocalId,
    pub(crate) to: Recipient,
    pub(crate) content: Content,
    pub(crate) state: SendState,
    /// The error, if the send has failed.
    pub(crate) error: Option<PublishError>,
}

/// All unsettled sends. `T` is the ticket of the waiting caller.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    /// The time limit of a send whose outcome a caller waits for, unless the send has its own.
    timeout: Duration,
    /// Sends in the order in which the application made them.
    entries: BTreeMap<LocalId, Entry<T>>,
    failed: BTreeMap<LocalId, FailedSend>,
    queues: Queues,
    deadlines: BTreeSet<(Instant, LocalId)>,
    /// The sends to save, or to remove from the store.
    unsaved: BTreeSet<LocalId>,
    numbering: Numbering,
    /// Failed sends whose retry is not saved yet.
    retried: BTreeSet<LocalId>,
    resolved: VecDeque<(T, Outcome)>,
    settled: VecDeque<(LocalId, Outcome)>,
    taken: VecDeque<(T, Taken)>,
    events: VecDeque<Event>,
    next_local_id: u64,
}

impl<T> Outbox<T> {
    /// Continues with the sends of earlier processes.
    pub(super) fn new(timeout: Duration, saved: &SavedState, rng: &mut StdRng) -> Self {
        // Starts at a random distance, as numbers do: a local id identifies one send, even after the store was
        // restored from an old copy.
        let distance = if saved.next_local_id > 0 { distance(rng) } else { 0 };
        let mut outbox = Self {
            timeout,
            entries: BTreeMap::new(),
            failed: BTreeMap::new(),
            queues: Queues::new(),
            deadlines: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            numbering: Numbering::load(saved, StdRng::from_rng(rng)),
            retried: BTreeSet::new(),
            resolved: VecDeque::new(),
            settled: VecDeque::new(),
            taken: VecDeque::new(),
            events: VecDeque::new(),
            next_local_id: saved.next_local_id.max(1).saturating_add(distance),
        };
        saved.outbox.iter().for_each(|publish| outbox.load(publish));
        outbox
    }

    /// Handles that the next send is taken without a connection: a later process may have to send it.
    pub(super) fn handle_taking_offline(&mut self) {
        self.numbering.make_own();
    }

    /// Takes a send, or refuses it at once.
    pub(super) fn push(
        &mut self,
        now: Instant,
        waiter: Waiter<T>,
        to: Recipient,
        content: Content,
        within: Option<Duration>,
        limits: Limits,
    ) {
        match self.check(&to, content.into(), limits) {
            Ok(content) => {
                let waits = matches!(waiter, Waiter::Outcome(_));
                let within = within.or(waits.then_some(self.timeout));
                let deadline = within.map(|within| now + within);
                self.insert(Entry::new(waiter, to, content, deadline));
            }
            Err(error) => self.refuse(waiter, error),
        }
    }

    /// Retries a failed send under a new id, which replaces the old one once it is saved. Gives the ticket back if no send has
    /// failed under this id, or if its retry is under way.
    pub(super) fn retry(&mut self, ticket: T, failed: LocalId, limits: Limits) -> Result<(), T> {
        let Some(old) = self.failed.get(&failed).filter(|_| !self.retried.contains(&failed)) else {
            return Err(ticket);
        };
        let (to, content, retry) = (old.to.clone(), old.content.clone(), old.retry);
        match self.check(&to, content, limits) {
            Ok(content) => {
                self.retried.insert(failed);
                let mut entry = Entry::new(Waiter::Taken(ticket), to, content, None);
                entry.replaces = Some(failed);
                (entry.installation, entry.number) = retry;
                self.insert(entry);
            }
            Err(error) => self.refuse(Waiter::Taken(ticket), error),
        }
        Ok(())
    }

    fn check(&self, to: &Recipient, content: pb::Content, limits: Limits) -> Result<pb::Content, SendError> {
        if self.entries.len() >= MAX_QUEUED_PUBLISHES {
            return Err(SendError::QueueFull);
        }
        wire::check(to, content, limits)
    }

    /// Answers the caller of a send that was never taken.
    pub(super) fn refuse(&mut self, waiter: Waiter<T>, error: SendError) {
        match waiter {
            Waiter::Outcome(ticket) => self.resolved.push_back((ticket, Err(error.into()))),
            Waiter::Taken(ticket) => self.taken.push_back((ticket, Err(error))),
            Waiter::Nobody => {}
        }
    }

    /// Answers the caller of a send while the client is stopped.
    pub(super) fn refuse_stopped(&mut self, ticket: T, reason: String) {
        self.resolved.push_back((ticket, Err(PublishError::Stopped { reason })));
    }

    /// Returns the next frame to send, which counts as sent.
    pub(super) fn poll_transmit(&mut self, now: Instant, limits: Limits) -> Option<Bytes> {
        while let Some((number, local_id)) = self.queues.next_ready(limits.max_inflight) {
            let entry = self.entries.get_mut(&local_id)?;
            let origin = match self.numbering.origin_key() {
                0 => 0,
                key => origin::seal(key, local_id),
            };
            let publish = wire::publish(number, entry.installation, origin, &entry.to, entry.content.clone());
            match wire::fit(publish, limits) {
                Ok(body) => {
                    entry.handle_sent();
                    self.queues.sent(now, number);
                    return Some(frame::encode(body));
                }
                // This server has a lower limit than the one before.
                Err(error) => self.give_up(local_id, &error.into()),
            }
        }
        None
    }

    /// Handles an answer of the server. Ignores answers to settled publishes.
    pub(super) fn handle_result(&mut self, now: Instant, rng: &mut StdRng, result: pb::PublishResult) {
        let number = result.number;
        let Some(local_id) = self.queues.answered(number) else { return };
        let refused = match wire::outcome(result) {
            Ok(published) => return self.resolve(local_id, Ok(published)),
            Err(refused) => refused,
        };
        let Some(entry) = self.entries.get_mut(&local_id) else { return };
        entry.handle_refused(&refused);
        if wire::kind(&refused) == RefusalKind::NumberUsed {
            return self.handle_number_used(local_id, refused);
        }
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

    /// Handles that the number of a send was used, for another message or for this one before the store was restored from a copy.
    fn handle_number_used(&mut self, local_id: LocalId, refused: pb::Refused) {
        let Some(entry) = self.entries.get_mut(&local_id) else { return };
        let used = entry.number;
        self.numbering.handle_used(entry.installation);
        if entry.renumber(self.numbering.take()) {
            self.queues.renumber(used, entry.number, local_id);
            self.unsaved.insert(local_id);
        } else {
            let error = entry.number_used(wire::refusal(refused));
            self.resolve(local_id, Err(error));
        }
    }

    /// Handles the loss of the connection: unanswered publishes are sent again.
    pub(super) fn handle_connection_lost(&mut self) {
        self.queues.handle_connection_lost();
    }

    /// Handles the passage of time. `error` is for sends that were never handed to a connection.
    pub(super) fn handle_timeout(&mut self, now: Instant, error: &PublishError) {
        while let Some(&(at, local_id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, local_id));
            self.give_up(local_id, error);
        }
        self.queues.handle_timeout(now);
    }

    /// Gives up the sends whose outcome a caller waits for. The others wait for a later connection, or a later process.
    pub(super) fn fail_waiting(&mut self, error: &PublishError) {
        let waits = |entry: &Entry<T>| matches!(entry.waiter, Waiter::Outcome(_));
        let waiting: Vec<LocalId> =
            self.entries.iter().filter(|(_, entry)| waits(entry)).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|local_id| self.give_up(local_id, error));
    }

    /// Forgets a send that has failed or was never handed to a connection. Returns `false` for any other send.
    pub(super) fn discard(&mut self, local_id: LocalId) -> bool {
        let waits = |entry: &Entry<T>| matches!(entry.waiter, Waiter::Nobody) && !entry.travelled;
        if self.entries.get(&local_id).is_some_and(waits) {
            self.remove(local_id);
            self.settled.push_back((local_id, Err(PublishError::Discarded)));
        } else if self.failed.remove(&local_id).is_none() {
            return false;
        }
        self.unsaved.insert(local_id);
        true
    }

    /// Returns the unsettled sends, without those whose outcome a caller waits for.
    pub(super) fn list(&self) -> Vec<Unsettled> {
        let failed = self.failed.iter().map(|(local_id, failed)| failed.unsettled(*local_id));
        let waits = |(_, entry): &(&LocalId, &Entry<T>)| !matches!(entry.waiter, Waiter::Outcome(_));
        let waiting = self.entries.iter().filter(waits);
        let mut list: Vec<_> =
            failed.chain(waiting.map(|(local_id, entry)| entry.unsettled(*local_id))).collect();
        list.sort_by_key(|unsettled| unsettled.local_id);
        list
    }

    pub(super) fn poll_resolved(&mut self) -> Option<(T, Outcome)> {
        self.resolved.pop_front()
    }

    pub(super) fn poll_settled(&mut self) -> Option<(LocalId, Outcome)> {
        self.settled.pop_front()
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

    /// Returns `true` if all sends are settled.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns `true` if a publish is unanswered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.queues.is_unanswered()
    }

    /// Returns the send whose publish has this origin, if it is one of this store.
    pub(super) fn sent_with(&self, origin: u64) -> Option<LocalId> {
        origin::open(self.numbering.origin_key(), origin, self.next_local_id)
    }

    pub(super) fn next_local_id(&self) -> u64 {
        self.next_local_id
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbering.next_number()
    }

    pub(super) fn installation(&self) -> u64 {
        self.numbering.installation()
    }

    pub(super) fn origin_key(&self) -> u64 {
        self.numbering.origin_key()
    }

    fn insert(&mut self, mut entry: Entry<T>) {
        let local_id = LocalId::from_u64(self.next_local_id);
        self.next_local_id = self.next_local_id.saturating_add(1);
        if entry.number == 0 {
            (entry.installation, entry.number) = self.numbering.take();
        }
        self.deadlines.extend(entry.deadline.map(|at| (at, local_id)));
        self.unsaved.insert(local_id);
        self.enqueue(local_id, entry);
    }

    fn enqueue(&mut self, local_id: LocalId, entry: Entry<T>) {
        let is_first = self.queues.push(&entry.to, local_id);
        self.entries.insert(local_id, entry);
        if is_first {
            self.release(local_id);
        }
    }

    /// Allows the first send of a conversation to be sent once that is saved, unless it is allowed already.
    fn release(&mut self, local_id: LocalId) {
        if let Some(entry) = self.entries.get_mut(&local_id)
            && !entry.released
        {
            entry.released = true;
            self.queues.release(entry.number, local_id);
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
            Waiter::Taken(ticket) => {
                self.taken.push_back((ticket, Ok(local_id)));
                self.settle(local_id, entry.to, entry.content, outcome);
            }
            Waiter::Nobody => self.settle(local_id, entry.to, entry.content, outcome),
        }
    }

    /// Reports the outcome of a send to the application. A failure is kept until it is discarded or retried.
    fn settle(&mut self, local_id: LocalId, to: Recipient, content: pb::Content, outcome: Outcome) {
        self.settled.push_back((local_id, outcome.clone()));
        match outcome {
            Ok(Published { message_id, answer }) => {
                self.events.push_back(Event::Published { local_id, message_id, answer });
            }
            Err(error) => {
                self.events.push_back(failure(local_id, &error));
                let retry = self.numbering.take_alone();
                self.failed.insert(local_id, FailedSend { to, content, error, retry });
                if self.failed.len() > MAX_FAILED_SENDS {
                    self.unsaved.extend(self.failed.pop_first().map(|(oldest, _)| oldest));
                }
            }
        }
    }

    /// Removes a send, and releases the next one of its conversation.
    fn remove(&mut self, local_id: LocalId) -> Option<Entry<T>> {
        let entry = self.entries.remove(&local_id)?;
        self.unsaved.insert(local_id);
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, local_id));
        }
        if let Some(next) = self.queues.remove(&entry.to, local_id, entry.number) {
            self.release(next);
        }
        Some(entry)
    }
}

fn failure(local_id: LocalId, error: &PublishError) -> Event {
    Event::PublishFailed { local_id, error: error.clone(), retryable: error.is_retryable() }
}
