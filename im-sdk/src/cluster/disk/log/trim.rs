//! Removal of entries beyond the bounds.

use redb::ReadableTable;

use super::tables::{Entries, Log, Records, message_id};
use crate::{
    cluster::quota::{Limits, Usage},
    id::MessageId,
};

/// The number of entries beyond the bounds at which a log is trimmed: adjacent entries share pages
/// of the file, so removing them together is cheaper. Also the number of appends between two checks
/// of the oldest entry's age.
const BLOCK: u64 = 64;

/// The number of records inspected for each one that is written.
const SWEPT_PER_RECORD: usize = 4;

/// Returns whether the append of this seq checks the age of the oldest entry.
pub(super) fn is_due(seq: u64) -> bool {
    seq.is_multiple_of(BLOCK)
}

/// Returns whether a log exceeds its bounds by enough to make trimming worthwhile.
pub(super) fn is_full(used: Usage, limits: &Limits) -> bool {
    used.entries >= limits.max_entries.saturating_add(BLOCK) || used.bytes > limits.max_bytes
}

/// Returns the seq behind the first entries of a log that are too old.
pub(super) fn first_young(entries: &Entries<'_>, log: Log, oldest: MessageId) -> Result<u64, redb::Error> {
    let mut first = log.first;
    for entry in entries.range((log.number, log.first)..=(log.number, log.last))? {
        if message_id(entry?.1.value().0)? >= oldest {
            break;
        }
        first += 1;
    }
    Ok(first)
}

/// Log and record name.
type RecordKey = (u64, String);

/// Walks round all records, a few steps with each transaction, and removes expired ones. It takes
/// several steps for each new record, so expired records stay fewer than live ones.
#[derive(Default)]
pub(super) struct Sweep {
    next: RecordKey,
}

impl Sweep {
    pub(super) fn run(
        &mut self,
        records: &mut Records<'_>,
        new_records: usize,
        now_ms: u64,
    ) -> Result<(), redb::Error> {
        let steps = new_records.saturating_mul(SWEPT_PER_RECORD);
        if steps == 0 {
            return Ok(());
        }
        let (ran_out, next) = self.look(records, steps, now_ms)?;
        for (log, name) in ran_out {
            records.remove((log, &*name))?;
        }
        self.next = next;
        Ok(())
    }

    /// Returns the names of expired records, and where to continue.
    fn look(
        &self,
        records: &Records<'_>,
        steps: usize,
        now_ms: u64,
    ) -> Result<(Vec<RecordKey>, RecordKey), redb::Error> {
        let mut ran_out = Vec::new();
        let mut range = records.range((self.next.0, &*self.next.1)..)?;
        for entry in range.by_ref().take(steps) {
            let (key, record) = entry?;
            if record.value().4 <= now_ms {
                ran_out.push((key.value().0, key.value().1.to_owned()));
            }
        }
        let next = match range.next() {
            Some(entry) => {
                let (key, _) = entry?;
                (key.value().0, key.value().1.to_owned())
            }
            None => (0, String::new()),
        };
        Ok((ran_out, next))
    }
}
