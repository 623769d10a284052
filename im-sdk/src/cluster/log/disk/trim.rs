//! Removing what is beyond the bounds.

use redb::ReadableTable;

use super::tables::{Entries, Log, Records, message_id};
use crate::{
    cluster::log::room::{Limits, Used},
    id::MessageId,
};

/// How many entries too many a log gets before they are removed: neighbours share pages of the file, so together is
/// cheaper. Also how many appends there are between two looks at the age of the oldest entry.
const BLOCK: u64 = 64;

/// How many records are looked at for each one that is written.
const SWEPT_PER_RECORD: usize = 4;

/// Whether the age of the oldest entry is looked at with the append of this seq.
pub(super) fn is_due(seq: u64) -> bool {
    seq.is_multiple_of(BLOCK)
}

/// Whether a log has so much more than it should that making room is worth it.
pub(super) fn is_full(used: Used, limits: &Limits) -> bool {
    used.entries >= limits.max_entries.saturating_add(BLOCK) || used.bytes > limits.max_bytes
}

/// The seq behind the entries at the beginning of a log that are too old.
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

/// Walks round all records, a few steps with each transaction, and removes those that ran out. As it takes several steps
/// for each new record, those that ran out stay fewer than those that last.
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

    /// The names of records that ran out, and where to go on.
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
