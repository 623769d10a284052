//! The tables of the file.

use redb::{Database, Table, TableDefinition};

use super::clock::CLOCK;
use crate::{
    cluster::{
        disk::{conversations, last_seen, members},
        traits::{LogEnds, idempotency::Record},
    },
    id::MessageId,
};

/// Log -> its number, its first and its last seq. A log's name is stored only here, and its number
/// everywhere else.
pub(super) const LOGS: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("logs");

/// Log and seq -> message id and payload.
pub(super) const ENTRIES: TableDefinition<(u64, u64), (u64, &[u8])> = TableDefinition::new("entries");

/// Log and record name -> the record, and its end (Unix, milliseconds).
pub(super) const RECORDS: TableDefinition<(u64, &str), StoredRecord> = TableDefinition::new("records");

/// Number, digest, seq, message id, end.
pub(super) type StoredRecord = (u64, [u8; 16], u64, u64, u64);

pub(super) type Entries<'a> = Table<'a, (u64, u64), (u64, &'static [u8])>;
pub(super) type Records<'a> = Table<'a, (u64, &'static str), StoredRecord>;

/// User and member -> seq, and the time at which it was recorded (Unix, milliseconds).
pub(super) const ACKS: TableDefinition<(&str, &str), (u64, u64)> = TableDefinition::new("acks");

pub(super) type Acks<'a> = Table<'a, (&'static str, &'static str), (u64, u64)>;

/// Log and seq -> the writer of an entry that a device published, and its cost.
pub(super) const WRITERS: TableDefinition<(u64, u64), (&str, u64)> = TableDefinition::new("writers");

pub(super) type Writers<'a> = Table<'a, (u64, u64), (&'static str, u64)>;

/// A log as stored in [`LOGS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Log {
    pub(super) fn from_stored((number, first, last): (u64, u64, u64)) -> Self {
        Self { number, first, last }
    }

    /// Returns a log before its first append.
    pub(super) fn empty(number: u64) -> Self {
        let LogEnds { first, last } = LogEnds::EMPTY;
        Self { number, first, last }
    }

    pub(super) fn stored(self) -> (u64, u64, u64) {
        (self.number, self.first, self.last)
    }

    pub(super) fn ends(self) -> LogEnds {
        LogEnds { first: self.first, last: self.last }
    }
}

pub(super) fn store_record(record: &Record, ends_ms: u64) -> StoredRecord {
    (record.number, record.digest, record.seq, record.message_id.as_u64(), ends_ms)
}

/// Decodes a record, or returns `None` if it has expired.
pub(super) fn load_record(stored: StoredRecord, now_ms: u64) -> Result<Option<Record>, redb::Error> {
    let (number, digest, seq, id, ends_ms) = stored;
    let record = Record { number, digest, seq, message_id: message_id(id)? };
    Ok((ends_ms > now_ms).then_some(record))
}

pub(super) fn message_id(number: u64) -> Result<MessageId, redb::Error> {
    let malformed = || redb::Error::Corrupted(format!("{number} is not a message id"));
    MessageId::from_u64(number).ok_or_else(malformed)
}

/// Creates the tables, so that a reader finds them. Fails for a file with other tables of these
/// names.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LOGS)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(RECORDS)?;
    members::create(&transaction)?;
    conversations::create(&transaction)?;
    last_seen::create(&transaction)?;
    transaction.open_table(ACKS)?;
    transaction.open_table(WRITERS)?;
    transaction.open_table(CLOCK)?;
    transaction.commit()?;
    Ok(())
}
