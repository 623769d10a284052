//! Room in a full log: which entries may go, and whose append is refused.
//!
//! Written for stores that can look at each entry's writer. `redis/room.rs` has the same rule over blocks of entries.

use std::{collections::HashMap, time::Duration};

use super::{LogBounds, LogError, LogId, NewEntry, entry::milliseconds};
use crate::id::{MessageId, UserId};

/// What an entry takes beside its payload: its ids, its writer, its part of the store's own structures.
pub(super) const OVERHEAD: u64 = 128;

/// How many times its bounds a log may grow to while what is in it is protected.
pub(super) const STRETCH: u64 = 2;

/// The part of its bounds that a log has more for what was checked: a thousand publishes at once, or the longest ones of 16 devices.
const CHECKED_PART: u64 = 8;

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

    /// The bounds for an entry: one for which room was found a moment ago finds some more, so that what others appended since does
    /// not refuse it.
    pub(super) fn for_entry(self, entry: &NewEntry) -> Self {
        if !entry.is_checked {
            return self;
        }
        let more = |bound: u64| bound.saturating_add(bound / CHECKED_PART);
        Self { max_entries: more(self.max_entries), max_bytes: more(self.max_bytes), ..self }
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

    fn without(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// One of the oldest entries of a log.
#[derive(Clone, Debug)]
pub(super) struct OldEntry {
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
    pub(super) writer: Option<UserId>,
    pub(super) bytes: u64,
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

/// A log whose old end can be looked at.
pub(super) trait OldEnd {
    type Error;

    fn used(&self) -> Used;

    /// The entry behind so many older ones.
    fn entry(&mut self, index: u64) -> Result<Option<OldEntry>, Self::Error>;

    /// What a writer holds, in cost.
    fn held_by(&mut self, writer: &UserId) -> Result<u64, Self::Error>;
}

/// An append that wants room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) bytes: u64,
    /// `None`: the back end, or the owner of the inbox, who are never refused.
    writer: Option<&'a UserId>,
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
            acknowledged,
            cutoffs,
            limits: Limits::of(log, bounds).for_entry(entry),
        }
    }

    /// How many of the oldest entries are to go, so that the entry may be appended.
    pub(super) fn make_room<L: OldEnd>(&self, log: &mut L) -> Result<Result<u64, LogError>, L::Error> {
        let used = log.used().with(self.bytes);
        let mut left = Left { log, used, gone: 0, taken: HashMap::new() };
        while self.limits.is_full(left.used, 1)
            && let Some(oldest) = left.oldest()?
            && self.may_go(&mut left, &oldest)?
        {
            left.drop_oldest(&oldest, &self.limits);
        }
        if let Some(error) = self.refusal(&mut left)? {
            return Ok(Err(error));
        }
        while self.limits.is_full(left.used, STRETCH)
            && let Some(oldest) = left.oldest()?
        {
            left.drop_oldest(&oldest, &self.limits);
        }
        Ok(Ok(left.gone))
    }

    /// Whether nobody is wronged when the entry goes: it was had, is too old, or its writer holds a share. What back ends appended
    /// gives way to back ends alone.
    fn may_go<L: OldEnd>(&self, left: &mut Left<'_, L>, oldest: &OldEntry) -> Result<bool, L::Error> {
        let was_had = match self.acknowledged {
            Some(acknowledged) => oldest.seq <= acknowledged,
            None => oldest.message_id < self.cutoffs.grace,
        };
        if was_had || oldest.message_id < self.cutoffs.age {
            return Ok(true);
        }
        match &oldest.writer {
            Some(writer) => Ok(left.held_by(writer)? >= self.limits.share),
            None => Ok(self.writer.is_none()),
        }
    }

    /// Why a log that is still full does not take the entry. `None`: it grows, or loses its old end.
    fn refusal<L: OldEnd>(&self, left: &mut Left<'_, L>) -> Result<Option<LogError>, L::Error> {
        let Some(writer) = self.writer else { return Ok(None) };
        if !self.limits.is_full(left.used, 1) {
            return Ok(None);
        }
        let Some(oldest) = left.oldest()? else { return Ok(None) };
        let has_its_share = left.held_by(writer)? >= self.limits.share;
        // An inbox that is read keeps what is not read yet; any other has to stay reachable.
        let is_kept = self.acknowledged.is_some() && self.limits.is_full(left.used, STRETCH);
        let retry_after = self.cutoffs.retry_after(oldest.message_id, self.acknowledged.is_some());
        Ok((has_its_share || is_kept).then_some(LogError::Full { retry_after }))
    }
}

/// A log without some of its oldest entries.
struct Left<'l, L> {
    log: &'l mut L,
    /// With the entry that is to be appended.
    used: Used,
    gone: u64,
    /// What writers would hold less, in cost.
    taken: HashMap<UserId, u64>,
}

impl<L: OldEnd> Left<'_, L> {
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

/// The writer, unless it is the owner of the inbox.
pub(super) fn stranger<'a>(log: &LogId, entry: &'a NewEntry) -> Option<&'a UserId> {
    let is_stranger = |writer: &&UserId| !matches!(log, LogId::Inbox(owner) if owner == *writer);
    entry.writer.as_ref().filter(is_stranger)
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

    /// A time at which an id has some bits to tell it.
    const NOW_MS: u64 = 1_800_000_000_000;

    /// A log that says everything by looking at all entries.
    #[derive(Clone, Debug, Default)]
    struct Simple {
        entries: VecDeque<OldEntry>,
        min_cost: u64,
        last: u64,
    }

    impl OldEnd for Simple {
        type Error = Infallible;

        fn used(&self) -> Used {
            let bytes = self.entries.iter().map(|entry| entry.bytes).sum();
            Used { entries: self.entries.len() as u64, bytes }
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
        /// By one of some writers, `None` a back end; how old the message is.
        Append { writer: Option<usize>, bytes: usize, age_s: u64 },
        /// Up to so many entries from the end.
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
                let stranger = stranger(&id, &entry).cloned();
                let size = size_of(&entry);
                let was_beyond_twice = limits.is_full(log.used().with(size), STRETCH);
                let wanted = Wanted::new(&id, &entry, &BOUNDS, cutoffs, acknowledged);
                let Ok(result) = wanted.make_room(&mut log);
                for _ in 0..result.as_ref().map_or(0, |gone| *gone) {
                    let gone = log.entries.front().cloned().unwrap();
                    let was_had = match acknowledged {
                        Some(place) => gone.seq <= place,
                        None => gone.message_id < cutoffs.grace || was_beyond_twice,
                    };
                    let has_its_share = gone.writer.as_ref().is_some_and(|writer| {
                        let Ok(held) = log.held_by(writer);
                        held >= limits.share
                    });
                    let fair = was_had || gone.message_id < cutoffs.age || has_its_share;
                    prop_assert!(fair || stranger.is_none(), "{:?} pushed out {:?}", stranger, gone);
                    log.entries.pop_front();
                }
                match (result, &stranger) {
                    (Err(LogError::Full { retry_after }), Some(writer)) => {
                        let Ok(held) = log.held_by(writer);
                        // Before what may go went, it may have held more.
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
                prop_assert!(is_alone || !limits.is_full(used, STRETCH), "{:?}", used);
            }
        }
    }
}
