//! Quotas of writers in a full log: which entries may be evicted, and whose append is refused.
//!
//! This is the rule for stores that can inspect each entry's writer. `redis/log/quota.rs` has the
//! same rule over blocks of entries.

use std::{collections::HashMap, time::Duration};

use crate::{
    cluster::{
        log_id::LogId,
        time::milliseconds,
        traits::{LogBounds, LogError, NewEntry},
    },
    id::{MessageId, UserId},
};

/// The size of an entry beside its payload: its ids, its writer, its part of the store's own
/// structures.
pub(in crate::cluster) const ENTRY_OVERHEAD: u64 = 128;

/// The multiple of its bounds to which a log may grow while its entries are protected.
pub(in crate::cluster) const GROWTH_LIMIT: u64 = 2;

/// The fraction by which the bounds grow for checked entries: a thousand concurrent publishes, or
/// the longest ones of 16 devices.
const CHECKED_PART: u64 = 8;

/// The pause before another attempt if only an acknowledgement makes room, whose time is unknown.
const RETRY_UNREAD: Duration = Duration::from_secs(30);

/// The longest pause. A device of the owner may connect at any time, and others trim.
const MAX_RETRY: Duration = Duration::from_secs(60 * 60);

/// The bounds of one kind of log.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Limits {
    pub(in crate::cluster) max_entries: u64,
    pub(in crate::cluster) max_bytes: u64,
    /// A writer's share, in cost.
    pub(in crate::cluster) share: u64,
    /// The minimum cost of an entry, so that shares count for `max_entries` as well.
    pub(in crate::cluster) min_cost: u64,
}

impl Limits {
    pub(in crate::cluster) fn of(log: &LogId, bounds: &LogBounds) -> Self {
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

    /// Returns the bounds for an entry. An entry for which room was found a moment ago is allowed
    /// some more, so that entries appended since do not refuse it.
    pub(in crate::cluster) fn for_entry(self, entry: &NewEntry) -> Self {
        if !entry.is_checked {
            return self;
        }
        let more = |bound: u64| bound.saturating_add(bound / CHECKED_PART);
        Self { max_entries: more(self.max_entries), max_bytes: more(self.max_bytes), ..self }
    }

    pub(in crate::cluster) fn cost(&self, bytes: u64) -> u64 {
        bytes.max(self.min_cost)
    }

    pub(in crate::cluster) fn is_full(&self, used: Usage, times: u64) -> bool {
        used.entries > self.max_entries.saturating_mul(times)
            || used.bytes > self.max_bytes.saturating_mul(times)
    }
}

/// Returns the size of an entry in bytes.
pub(in crate::cluster) fn size_of(entry: &NewEntry) -> u64 {
    entry.payload.len() as u64 + ENTRY_OVERHEAD
}

/// The contents of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Usage {
    pub(in crate::cluster) entries: u64,
    pub(in crate::cluster) bytes: u64,
}

impl Usage {
    pub(in crate::cluster) fn with(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    fn without(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// One of the oldest entries of a log.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct OldEntry {
    pub(in crate::cluster) seq: u64,
    pub(in crate::cluster) message_id: MessageId,
    pub(in crate::cluster) writer: Option<UserId>,
    pub(in crate::cluster) bytes: u64,
}

/// The ids below which messages are too old.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Cutoffs {
    /// By [`LogBounds::max_age`].
    pub(in crate::cluster) age: MessageId,
    /// By [`LogBounds::unread_grace`].
    pub(in crate::cluster) grace: MessageId,
    now_ms: u64,
    grace_ms: u64,
}

impl Cutoffs {
    /// Computes the cutoffs at a time. Without a trusted time, no entry is too old.
    pub(in crate::cluster) fn at(now_ms: Option<u64>, bounds: &LogBounds) -> Self {
        let now_ms = now_ms.unwrap_or_default();
        let grace_ms = milliseconds(bounds.unread_grace.min(bounds.max_age));
        let before = |age_ms: u64| MessageId::first_at(now_ms.saturating_sub(age_ms));
        Self { age: before(milliseconds(bounds.max_age)), grace: before(grace_ms), now_ms, grace_ms }
    }

    /// Returns the pause before another append to a log that begins with this message.
    pub(in crate::cluster) fn retry_after(&self, oldest: MessageId, is_acknowledged: bool) -> Duration {
        if is_acknowledged {
            return RETRY_UNREAD;
        }
        let ends_ms = oldest.unix_ms().saturating_add(self.grace_ms);
        Duration::from_millis(ends_ms.saturating_sub(self.now_ms)).clamp(Duration::from_secs(1), MAX_RETRY)
    }
}

/// A log whose oldest entries can be inspected.
pub(in crate::cluster) trait LogHead {
    type Error;

    fn used(&self) -> Usage;

    /// Returns the entry behind `index` older ones.
    fn entry(&mut self, index: u64) -> Result<Option<OldEntry>, Self::Error>;

    /// Returns the cost of a writer's entries.
    fn held_by(&mut self, writer: &UserId) -> Result<u64, Self::Error>;
}

/// A request for room for an append.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct SpaceRequest<'a> {
    pub(in crate::cluster) bytes: u64,
    /// The writer; `None` for the backend and the owner of the inbox, who are never refused.
    writer: Option<&'a UserId>,
    /// The furthest acknowledgement of an inbox by a device of its owner.
    acknowledged: Option<u64>,
    cutoffs: Cutoffs,
    limits: Limits,
}

impl<'a> SpaceRequest<'a> {
    pub(in crate::cluster) fn new(
        log: &LogId,
        entry: &'a NewEntry,
        bounds: &LogBounds,
        cutoffs: Cutoffs,
        acknowledged: Option<u64>,
    ) -> Self {
        Self {
            bytes: size_of(entry),
            writer: foreign_writer(log, entry),
            acknowledged,
            cutoffs,
            limits: Limits::of(log, bounds).for_entry(entry),
        }
    }

    /// Returns how many of the oldest entries must be evicted for the append.
    pub(in crate::cluster) fn make_room<L: LogHead>(
        &self,
        log: &mut L,
    ) -> Result<Result<u64, LogError>, L::Error> {
        let used = log.used().with(self.bytes);
        let mut left = Remaining { log, used, gone: 0, taken: HashMap::new() };
        while self.limits.is_full(left.used, 1)
            && let Some(oldest) = left.oldest()?
            && self.may_evict(&mut left, &oldest)?
        {
            left.drop_oldest(&oldest, &self.limits);
        }
        if let Some(error) = self.refusal(&mut left)? {
            return Ok(Err(error));
        }
        while self.limits.is_full(left.used, GROWTH_LIMIT)
            && let Some(oldest) = left.oldest()?
        {
            left.drop_oldest(&oldest, &self.limits);
        }
        Ok(Ok(left.gone))
    }

    /// Returns whether an entry may be evicted: it was delivered, is too old, or its writer has
    /// used up its share. Entries of backends are evicted only for backends.
    fn may_evict<L: LogHead>(
        &self,
        left: &mut Remaining<'_, L>,
        oldest: &OldEntry,
    ) -> Result<bool, L::Error> {
        let was_delivered = match self.acknowledged {
            Some(acknowledged) => oldest.seq <= acknowledged,
            None => oldest.message_id < self.cutoffs.grace,
        };
        if was_delivered || oldest.message_id < self.cutoffs.age {
            return Ok(true);
        }
        match &oldest.writer {
            Some(writer) => Ok(left.held_by(writer)? >= self.limits.share),
            None => Ok(self.writer.is_none()),
        }
    }

    /// Returns why a log that is still full refuses the entry, or `None` if it grows, or loses its
    /// oldest entries.
    fn refusal<L: LogHead>(&self, left: &mut Remaining<'_, L>) -> Result<Option<LogError>, L::Error> {
        let Some(writer) = self.writer else { return Ok(None) };
        if !self.limits.is_full(left.used, 1) {
            return Ok(None);
        }
        let Some(oldest) = left.oldest()? else { return Ok(None) };
        let has_its_share = left.held_by(writer)? >= self.limits.share;
        // An inbox with a reader keeps unread entries; any other has to stay reachable.
        let is_kept = self.acknowledged.is_some() && self.limits.is_full(left.used, GROWTH_LIMIT);
        let retry_after = self.cutoffs.retry_after(oldest.message_id, self.acknowledged.is_some());
        Ok((has_its_share || is_kept).then_some(LogError::Full { retry_after }))
    }
}

/// A log without some of its oldest entries.
struct Remaining<'l, L> {
    log: &'l mut L,
    /// The usage including the entry to be appended.
    used: Usage,
    gone: u64,
    /// The cost by which each writer's entries have shrunk.
    taken: HashMap<UserId, u64>,
}

impl<L: LogHead> Remaining<'_, L> {
    fn oldest(&mut self) -> Result<Option<OldEntry>, L::Error> {
        self.log.entry(self.gone)
    }

    fn drop_oldest(&mut self, oldest: &OldEntry, limits: &Limits) {
        self.used = self.used.without(oldest.bytes);
        self.gone += 1;
        if let Some(writer) = &oldest.writer {
            *self.taken.entry(writer.clone()).or_default() += limits.cost(oldest.bytes);
        }
    }

    fn held_by(&mut self, writer: &UserId) -> Result<u64, L::Error> {
        let taken = self.taken.get(writer).copied().unwrap_or_default();
        Ok(self.log.held_by(writer)?.saturating_sub(taken))
    }
}

/// Returns the writer, unless it is the owner of the inbox.
pub(in crate::cluster) fn foreign_writer<'a>(log: &LogId, entry: &'a NewEntry) -> Option<&'a UserId> {
    let is_foreign = |writer: &&UserId| !matches!(log, LogId::Inbox(owner) if owner == *writer);
    entry.writer.as_ref().filter(is_foreign)
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: LogBounds = LogBounds {
        max_entries: 16,
        max_bytes: 16 * 1024,
        max_age: Duration::from_secs(30),
        inbox_shares: 4,
        channel_shares: 2,
        unread_grace: Duration::from_secs(7),
    };

    /// A time for which an id has some bits.
    const NOW_MS: u64 = 1_800_000_000_000;

    /// A log that answers everything by inspecting all entries.
    #[derive(Clone, Debug, Default)]
    struct Simple {
        entries: VecDeque<OldEntry>,
        min_cost: u64,
        last: u64,
    }

    impl LogHead for Simple {
        type Error = Infallible;

        fn used(&self) -> Usage {
            let bytes = self.entries.iter().map(|entry| entry.bytes).sum();
            Usage { entries: self.entries.len() as u64, bytes }
        }

        fn entry(&mut self, index: u64) -> Result<Option<OldEntry>, Infallible> {
            Ok(self.entries.get(index as usize).cloned())
        }

        fn held_by(&mut self, writer: &UserId) -> Result<u64, Infallible> {
            let own = self.entries.iter().filter(|entry| entry.writer.as_ref() == Some(writer));
            Ok(own.map(|entry| entry.bytes.max(self.min_cost)).sum())
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// An append by one of some writers, `None` for a backend, of a message of this age.
        Append { writer: Option<usize>, bytes: usize, age_s: u64 },
        /// An acknowledgement up to so many entries from the end.
        Acknowledge { behind: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let append = |writers| {
            let sizes = prop_oneof![4 => Just(10_usize), 1 => Just(1_500), 1 => Just(5_000)];
            let ages = prop_oneof![6 => Just(0_u64), 1 => Just(10), 1 => Just(40)];
            (writers, sizes, ages).prop_map(|(writer, bytes, age_s)| Step::Append { writer, bytes, age_s })
        };
        prop_oneof![
            20 => append((1_usize..5).prop_map(Some).boxed()),
            20 => append(Just(Some(1)).boxed()),
            2 => append(Just(Some(0)).boxed()),
            3 => append(Just(None).boxed()),
            1 => (0_u64..30).prop_map(|behind| Step::Acknowledge { behind }),
        ]
    }

    fn writer(number: usize) -> UserId {
        ["owner", "a", "b", "c", "d"][number].parse().unwrap()
    }

    proptest! {
        #[test]
        fn nobody_pushes_out_what_another_wrote_and_the_reader_has_not_had(
            is_inbox: bool,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let id = if is_inbox { LogId::Inbox(writer(0)) } else { LogId::Channel("team".parse().unwrap()) };
            let limits = Limits::of(&id, &BOUNDS);
            let mut log = Simple { min_cost: limits.min_cost, ..Simple::default() };
            let (mut acknowledged, cutoffs) = (None, Cutoffs::at(Some(NOW_MS), &BOUNDS));
            for step in steps {
                let (number, bytes, age_s) = match step {
                    Step::Append { writer, bytes, age_s } => (writer, bytes, age_s),
                    Step::Acknowledge { behind } => {
                        let place = log.last.saturating_sub(behind);
                        acknowledged = if is_inbox { acknowledged.max(Some(place)) } else { None };
                        continue;
                    }
                };
                let message_id = MessageId::first_at(NOW_MS - age_s * 1000);
                let mut entry = NewEntry::new(message_id, Bytes::from(vec![0; bytes]));
                entry.writer = number.map(writer);
                let foreign = foreign_writer(&id, &entry).cloned();
                let size = size_of(&entry);
                let was_beyond_twice = limits.is_full(log.used().with(size), GROWTH_LIMIT);
                let wanted = SpaceRequest::new(&id, &entry, &BOUNDS, cutoffs, acknowledged);
                let Ok(result) = wanted.make_room(&mut log);
                for _ in 0..result.as_ref().map_or(0, |gone| *gone) {
                    let gone = log.entries.front().cloned().unwrap();
                    let was_delivered = match acknowledged {
                        Some(place) => gone.seq <= place,
                        None => gone.message_id < cutoffs.grace || was_beyond_twice,
                    };
                    let has_its_share = gone.writer.as_ref().is_some_and(|writer| {
                        let Ok(held) = log.held_by(writer);
                        held >= limits.share
                    });
                    let fair = was_delivered || gone.message_id < cutoffs.age || has_its_share;
                    prop_assert!(fair || foreign.is_none(), "{:?} pushed out {:?}", foreign, gone);
                    log.entries.pop_front();
                }
                match (result, &foreign) {
                    (Err(LogError::Full { retry_after }), Some(writer)) => {
                        let Ok(held) = log.held_by(writer);
                        // Before entries were evicted, the writer may have had more.
                        prop_assert!(limits.is_full(log.used().with(size), 1), "{:?}", log.used());
                        prop_assert!(held >= limits.share || acknowledged.is_some(), "{} of {:?}", held, limits);
                        prop_assert!(retry_after >= Duration::from_secs(1));
                        let is_alone = log.entries.iter().all(|entry| entry.writer.as_ref() == Some(writer));
                        prop_assert!(!is_alone || size > limits.max_bytes, "its own are never in its way");
                        continue;
                    }
                    (Err(error), _) => prop_assert!(false, "{}", error),
                    (Ok(_), _) => {}
                }
                log.last += 1;
                log.entries.push_back(OldEntry { seq: log.last, message_id, writer: entry.writer, bytes: size });
                let used = log.used();
                let is_alone = log.entries.len() == 1;
                prop_assert!(is_alone || !limits.is_full(used, GROWTH_LIMIT), "{:?}", used);
            }
        }
    }
}
