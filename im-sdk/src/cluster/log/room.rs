//! Room in a full log: which entries may go, and whose append is refused.
//!
//! Written for stores that can look at each entry's writer. `redis/room.rs` has the same rule over blocks of entries.

use std::time::Duration;

use super::{LogBounds, LogError, LogId, NewEntry, entry::milliseconds};
use crate::id::{MessageId, UserId};

/// What an entry takes beside its payload: its ids, its writer, its part of the store's own structures.
pub(super) const OVERHEAD: u64 = 128;

/// How many times its bounds a log may grow to while what is in it is protected.
pub(super) const STRETCH: u64 = 2;

/// The pause before another attempt where only an acknowledgement makes room: nobody knows when it comes.
const RETRY_UNREAD: Duration = Duration::from_secs(30);

/// The longest pause. Devices of the owner may come at any time, and others trim.
const MAX_RETRY: Duration = Duration::from_secs(60 * 60);

/// The bounds of one kind of log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_entries: u64,
    pub(super) max_bytes: u64,
    /// What a writer may hold, in cost.
    pub(super) share: u64,
    /// The least that an entry costs, so that shares count for `max_entries` as well.
    pub(super) min_cost: u64,
}

impl Limits {
    pub(super) fn of(log: &LogId, bounds: &LogBounds) -> Self {
        let shares = match log {
            LogId::Inbox(_) => bounds.inbox_shares,
            LogId::Channel(_) => bounds.channel_shares,
        };
        let (max_entries, max_bytes) = (bounds.max_entries.max(1), bounds.max_bytes.max(1));
        Self {
            max_entries,
            max_bytes,
            share: (max_bytes / u64::from(shares.max(1))).max(1),
            min_cost: max_bytes.div_ceil(max_entries),
        }
    }

    pub(super) fn cost(&self, bytes: u64) -> u64 {
        bytes.max(self.min_cost)
    }

    pub(super) fn is_full(&self, used: Used, times: u64) -> bool {
        used.entries > self.max_entries.saturating_mul(times)
            || used.bytes > self.max_bytes.saturating_mul(times)
    }
}

/// The bytes that an entry counts for.
pub(super) fn size_of(entry: &NewEntry) -> u64 {
    entry.payload.len() as u64 + OVERHEAD
}

/// What is in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl Used {
    pub(super) fn with(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }
}

/// The entry at the old end of a log.
#[derive(Clone, Debug)]
pub(super) struct Oldest {
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
    pub(super) writer: Option<UserId>,
}

/// Ids before which messages are too old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutoffs {
    /// By [`LogBounds::max_age`].
    pub(super) age: MessageId,
    /// By [`LogBounds::unread_grace`].
    pub(super) grace: MessageId,
    now_ms: u64,
    grace_ms: u64,
}

impl Cutoffs {
    /// Without a time that can be trusted nothing is too old.
    pub(super) fn at(now_ms: Option<u64>, bounds: &LogBounds) -> Self {
        let now_ms = now_ms.unwrap_or_default();
        let grace_ms = milliseconds(bounds.unread_grace.min(bounds.max_age));
        let before = |age_ms: u64| MessageId::first_at(now_ms.saturating_sub(age_ms));
        Self { age: before(milliseconds(bounds.max_age)), grace: before(grace_ms), now_ms, grace_ms }
    }

    /// When to try again to append to a log that begins with this message.
    pub(super) fn retry_after(&self, oldest: MessageId, is_acknowledged: bool) -> Duration {
        if is_acknowledged {
            return RETRY_UNREAD;
        }
        let ends_ms = oldest.unix_ms().saturating_add(self.grace_ms);
        Duration::from_millis(ends_ms.saturating_sub(self.now_ms)).clamp(Duration::from_secs(1), MAX_RETRY)
    }
}

/// A log whose old end can be looked at and trimmed.
pub(super) trait OldEnd {
    type Error;

    fn used(&self) -> Used;

    fn oldest(&mut self) -> Result<Option<Oldest>, Self::Error>;

    fn remove_oldest(&mut self) -> Result<(), Self::Error>;

    /// What a writer holds, in cost.
    fn held_by(&mut self, writer: &UserId) -> Result<u64, Self::Error>;
}

/// An append that wants room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) bytes: u64,
    /// `None`: the back end, or the owner of the inbox, who are never refused.
    writer: Option<&'a UserId>,
    /// The room was checked before: only a writer that went far beyond its share since is refused.
    is_checked: bool,
    /// How far the devices of an inbox's owner have come.
    acknowledged: Option<u64>,
    cutoffs: Cutoffs,
    limits: Limits,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        log: &LogId,
        entry: &'a NewEntry,
        bounds: &LogBounds,
        cutoffs: Cutoffs,
        acknowledged: Option<u64>,
    ) -> Self {
        Self {
            bytes: size_of(entry),
            writer: stranger(log, entry),
            is_checked: entry.is_checked,
            acknowledged,
            cutoffs,
            limits: Limits::of(log, bounds),
        }
    }

    /// Trims what is in the way and may go, and tells whether the entry may be appended.
    pub(super) fn make_room<L: OldEnd>(&self, log: &mut L) -> Result<Result<(), LogError>, L::Error> {
        while let Some(oldest) = self.in_the_way(log, 1)?
            && self.may_go(log, &oldest)?
        {
            log.remove_oldest()?;
        }
        if let Some(error) = self.refusal(log)? {
            return Ok(Err(error));
        }
        while self.in_the_way(log, STRETCH + u64::from(self.is_checked))?.is_some() {
            log.remove_oldest()?;
        }
        Ok(Ok(()))
    }

    /// Whether the entry could be appended now.
    pub(super) fn check_room<L: OldEnd>(&self, log: &mut L) -> Result<Result<(), LogError>, L::Error> {
        match self.in_the_way(log, 1)? {
            Some(oldest) if !self.may_go(log, &oldest)? => Ok(self.refusal(log)?.map_or(Ok(()), Err)),
            _ => Ok(Ok(())),
        }
    }

    /// The oldest entry of a log that has no room within its bounds, or some times of them.
    fn in_the_way<L: OldEnd>(&self, log: &mut L, times: u64) -> Result<Option<Oldest>, L::Error> {
        if self.limits.is_full(log.used().with(self.bytes), times) { log.oldest() } else { Ok(None) }
    }

    /// Whether nobody is wronged when the entry goes: it was had, is too old, or is the writer's own; or its writer holds more
    /// than a share.
    fn may_go<L: OldEnd>(&self, log: &mut L, oldest: &Oldest) -> Result<bool, L::Error> {
        let was_had = match self.acknowledged {
            Some(acknowledged) => oldest.seq <= acknowledged,
            None => oldest.message_id < self.cutoffs.grace,
        };
        if was_had || oldest.message_id < self.cutoffs.age {
            return Ok(true);
        }
        match &oldest.writer {
            Some(writer) => Ok(self.writer == Some(writer) || log.held_by(writer)? > self.limits.share),
            None => Ok(self.writer.is_none()),
        }
    }

    /// Why a log that is still full does not take the entry. `None`: it grows, or loses its old end.
    fn refusal<L: OldEnd>(&self, log: &mut L) -> Result<Option<LogError>, L::Error> {
        let (Some(writer), Some(oldest)) = (self.writer, self.in_the_way(log, 1)?) else { return Ok(None) };
        let more = u64::from(self.is_checked);
        let share = self.limits.share.saturating_mul(1 + more);
        let has_its_share = log.held_by(writer)? >= share;
        // An inbox that is read keeps what is not read yet; any other has to stay reachable.
        let is_kept =
            self.acknowledged.is_some() && self.limits.is_full(log.used().with(self.bytes), STRETCH + more);
        let retry_after = self.cutoffs.retry_after(oldest.message_id, self.acknowledged.is_some());
        Ok((has_its_share || is_kept).then_some(LogError::Full { retry_after }))
    }
}

/// The writer, unless it is the owner of the inbox.
pub(super) fn stranger<'a>(log: &LogId, entry: &'a NewEntry) -> Option<&'a UserId> {
    let is_stranger = |writer: &&UserId| !matches!(log, LogId::Inbox(owner) if owner == *writer);
    entry.writer.as_ref().filter(is_stranger)
}
