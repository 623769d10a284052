//! The clock that decides which entries of a file are too old.

use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, TableDefinition, TableError};

use crate::cluster::{
    time::{milliseconds, unix_ms},
    trim_clock::SteadyClock,
};

/// `()` -> the time of the last write to the file (Unix, milliseconds).
pub(super) const CLOCK: TableDefinition<(), u64> = TableDefinition::new("clock");

/// The longest time for which a file may have been closed if the clock is to be trusted at once.
const SHORT_ABSENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that the process has to run before a clock far ahead of the file is trusted. A machine
/// that starts with a wrong clock has corrected it by then.
const SETTLING: Duration = Duration::from_secs(10 * 60);

/// The interval at which the time is written to the file.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// A [`SteadyClock`] that is not trusted for a while if it is far ahead of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileClock {
    steady: SteadyClock,
    /// The time from which on the clock is trusted; `None` if it already is.
    believed_from: Option<Instant>,
}

impl FileClock {
    pub(super) fn open(database: &Database) -> Result<Self, redb::Error> {
        let written_ms = match database.begin_read()?.open_table(CLOCK) {
            Ok(table) => table.get(())?.map(|written| written.value()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self::after(written_ms, unix_ms()))
    }

    fn after(written_ms: Option<u64>, now_ms: u64) -> Self {
        let absence = written_ms.map_or(0, |written| now_ms.saturating_sub(written));
        let is_short = absence <= milliseconds(SHORT_ABSENCE);
        let believed_from = if is_short { None } else { Instant::now().checked_add(SETTLING) };
        Self { steady: SteadyClock::default(), believed_from }
    }

    /// Returns milliseconds since the Unix epoch, or `None` while the clock is not trusted.
    pub(super) fn now_ms(&self) -> Option<u64> {
        let is_believed = self.believed_from.is_none_or(|from| Instant::now() >= from);
        is_believed.then(|| self.steady.now_ms())
    }

    /// Returns the time to be written to the file, if that is due.
    pub(super) fn due_note(&self, noted: &mut Option<Instant>) -> Option<u64> {
        let now_ms = self.now_ms()?;
        let is_due = noted.is_none_or(|noted| noted.elapsed() >= NOTE_INTERVAL);
        is_due.then(|| {
            *noted = Some(Instant::now());
            now_ms
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_ahead_of_the_file_is_not_believed_at_once() {
        const NOW: u64 = 1_800_000_000_000;
        let (hour, month) = (60 * 60 * 1000, 31 * 24 * 60 * 60 * 1000);
        assert!(FileClock::after(None, NOW).now_ms().is_some(), "a new file");
        assert!(FileClock::after(Some(NOW - hour), NOW).now_ms().is_some());
        assert!(
            FileClock::after(Some(NOW + month), NOW).now_ms().is_some(),
            "one that is behind deletes nothing"
        );
        assert_eq!(FileClock::after(Some(NOW - month), NOW).now_ms(), None);
    }
}
