//! Reads of committed data.

use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::tables::{ENTRIES, LOGS, Log, message_id};
use crate::{
    cluster::{
        log_id::LogId,
        traits::{Entry, LogEnds, Page, ReadLimit},
    },
    id::MessageId,
};

/// A snapshot of the file.
pub(super) struct Reader {
    logs: ReadOnlyTable<&'static str, (u64, u64, u64)>,
    entries: ReadOnlyTable<(u64, u64), (u64, &'static [u8])>,
    /// The id below which messages are too old.
    oldest: MessageId,
}

/// The result of a read of logs.
pub(super) enum Found<T> {
    Fresh(T),
    /// Logs that begin with entries that are too old.
    TooOld(Vec<LogId>),
}

impl Reader {
    pub(super) fn new(database: &Database, oldest: MessageId) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let (logs, entries) = (transaction.open_table(LOGS)?, transaction.open_table(ENTRIES)?);
        Ok(Self { logs, entries, oldest })
    }

    pub(super) fn read(&self, id: &LogId, after: u64, limit: ReadLimit) -> Result<Found<Page>, redb::Error> {
        self.in_log(id, |log| {
            let from = after.saturating_add(1).max(log.first);
            // The last possible seq is in no key: a log cannot get that far.
            let range = self.entries.range((log.number, from)..(log.number, u64::MAX))?;
            Ok(Page::new(limit.take(range.map(|entry| load(entry?)))?, log.ends()))
        })
    }

    pub(super) fn read_back(
        &self,
        id: &LogId,
        before: Option<u64>,
        limit: ReadLimit,
    ) -> Result<Found<Page>, redb::Error> {
        self.in_log(id, |log| {
            let before = before.unwrap_or(u64::MAX);
            let range = self.entries.range((log.number, 0)..(log.number, before))?;
            Ok(Page::new(limit.take(range.rev().map(|entry| load(entry?)))?, log.ends()))
        })
    }

    pub(super) fn id_at(&self, id: &LogId, seq: u64) -> Result<Found<Option<MessageId>>, redb::Error> {
        self.in_log(id, |log| self.id_of(log, seq))
    }

    pub(super) fn ends(&self, ids: &[LogId]) -> Result<Found<Vec<LogEnds>>, redb::Error> {
        let mut ends = Vec::with_capacity(ids.len());
        let mut too_old = Vec::new();
        for id in ids {
            match self.in_log(id, |log| Ok(log.ends()))? {
                Found::Fresh(found) => ends.push(found),
                Found::TooOld(mut logs) => too_old.append(&mut logs),
            }
        }
        Ok(if too_old.is_empty() { Found::Fresh(ends) } else { Found::TooOld(too_old) })
    }

    /// Runs `look` on a log, unless it begins with an entry that is too old.
    fn in_log<T>(
        &self,
        id: &LogId,
        look: impl FnOnce(Log) -> Result<T, redb::Error>,
    ) -> Result<Found<T>, redb::Error> {
        let stored = self.logs.get(&*id.to_string())?;
        let Some(log) = stored.map(|log| Log::from_stored(log.value())) else {
            // No log has the number 0.
            return look(Log::empty(0)).map(Found::Fresh);
        };
        let first = self.id_of(log, log.first)?;
        if first.is_some_and(|id| id < self.oldest) {
            return Ok(Found::TooOld(vec![id.clone()]));
        }
        look(log).map(Found::Fresh)
    }

    fn id_of(&self, log: Log, seq: u64) -> Result<Option<MessageId>, redb::Error> {
        let entry = self.entries.get((log.number, seq))?;
        entry.map(|entry| message_id(entry.value().0)).transpose()
    }
}

type Stored<'a> = (redb::AccessGuard<'a, (u64, u64)>, redb::AccessGuard<'a, (u64, &'static [u8])>);

fn load((key, value): Stored<'_>) -> Result<Entry, redb::Error> {
    let ((_, seq), (id, payload)) = (key.value(), value.value());
    Ok(Entry { seq, message_id: message_id(id)?, payload: payload.to_vec().into() })
}
