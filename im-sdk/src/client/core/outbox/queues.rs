//! The order of publishes: the first of each conversation may be sent, in the order of their numbers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{Recipient, client::LocalId};

/// The order of publishes. All numbers here belong to the first send of a conversation.
#[derive(Debug)]
pub(super) struct Queues {
    /// The publishes of each conversation, oldest first.
    conversations: HashMap<Recipient, VecDeque<LocalId>>,
    /// The first send of each conversation, by its number.
    numbered: BTreeMap<u64, LocalId>,
    /// Numbers that are saved, and neither sent nor delayed.
    ready: BTreeSet<u64>,
    /// Numbers that were refused for now, with the time of the next try.
    delayed: BTreeSet<(Instant, u64)>,
    /// Numbers that were sent and not answered, with the time of the next try.
    sent: BTreeMap<u64, Instant>,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            conversations: HashMap::new(),
            numbered: BTreeMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Adds a send that was the first of its conversation in an earlier process.
    pub(super) fn load(&mut self, number: u64, local_id: LocalId) {
        self.numbered.insert(number, local_id);
        self.ready.insert(number);
    }

    /// Adds a send. Returns `true` if it is the first of its conversation.
    pub(super) fn push(&mut self, to: &Recipient, local_id: LocalId) -> bool {
        let conversation = self.conversations.entry(to.clone()).or_default();
        conversation.push_back(local_id);
        conversation.len() == 1
    }

    /// Notes that a send is the first of its conversation now. Its number must not be used before that is saved.
    pub(super) fn release(&mut self, number: u64, local_id: LocalId) {
        self.numbered.insert(number, local_id);
    }

    /// Replaces a number that turned out to be used. The new one must not be used before it is saved.
    pub(super) fn renumber(&mut self, used: u64, number: u64, local_id: LocalId) {
        self.forget(used);
        self.release(number, local_id);
    }

    /// Notes that the first send of a conversation was saved under its number. May be called more than once.
    pub(super) fn saved(&mut self, number: u64) {
        let waits =
            self.sent.contains_key(&number) || self.delayed.iter().any(|(_, delayed)| *delayed == number);
        if self.numbered.contains_key(&number) && !waits {
            self.ready.insert(number);
        }
    }

    /// Returns the next send to publish, while fewer than `max_inflight` are unanswered.
    pub(super) fn next_ready(&self, max_inflight: usize) -> Option<(u64, LocalId)> {
        let number = self.ready.first().filter(|_| self.sent.len() < max_inflight)?;
        Some((*number, *self.numbered.get(number)?))
    }

    pub(super) fn sent(&mut self, now: Instant, number: u64) {
        self.ready.remove(&number);
        self.sent.insert(number, now + REPEAT_AFTER);
    }

    /// Notes an answer. Returns the send that it is for, if there is one.
    pub(super) fn answered(&mut self, number: u64) -> Option<LocalId> {
        self.sent.remove(&number)?;
        self.numbered.get(&number).copied()
    }

    pub(super) fn delay(&mut self, number: u64, until: Instant) {
        self.delayed.insert((until, number));
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.ready.extend(std::mem::take(&mut self.sent).into_keys());
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, number)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.pop_first();
            self.ready.insert(number);
        }
        if self.repeat_at().is_some_and(|at| at <= now) {
            self.ready.extend(self.sent.extract_if(.., |_, at| *at <= now).map(|(number, _)| number));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.delayed.first().map(|(at, _)| *at), self.repeat_at()].into_iter().flatten().min()
    }

    pub(super) fn is_unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Removes a send. Returns the first remaining send of its conversation.
    pub(super) fn remove(&mut self, to: &Recipient, local_id: LocalId, number: u64) -> Option<LocalId> {
        if self.numbered.get(&number) == Some(&local_id) {
            self.forget(number);
        }
        let conversation = self.conversations.get_mut(to)?;
        conversation.retain(|other| *other != local_id);
        let first = conversation.front().copied();
        if first.is_none() {
            self.conversations.remove(to);
        }
        first
    }

    fn forget(&mut self, number: u64) {
        self.numbered.remove(&number);
        self.ready.remove(&number);
        self.sent.remove(&number);
        self.delayed.retain(|(_, delayed)| *delayed != number);
    }

    /// Returns the time of the next repetition. Scans all sent publishes: servers allow few at once.
    fn repeat_at(&self) -> Option<Instant> {
        self.sent.values().min().copied()
    }
}

/// The time without an answer after which a publish is sent again. A server answers each publish within its own time limit, if only
/// with a refusal, so this is for servers that fail to. The number stays the same, so a repetition does no harm.
const REPEAT_AFTER: Duration = Duration::from_secs(60);
