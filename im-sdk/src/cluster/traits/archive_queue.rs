//! The queue of the archive: messages on their way from the bounded logs to a database. The
//! conformance suite states what an implementation must do.
//!
//! A record stays in the queue until an archiver has written it to the application's database and
//! acknowledged it. Records may be delivered more than once, and in any order.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::archive_record::ArchiveRecord;

/// Queues records until they are acknowledged.
#[async_trait]
pub trait ArchiveQueue: Send + Sync + fmt::Debug + 'static {
    /// Appends a record. `Ok` means that the record is stored, at the durability of the
    /// implementation. Appending a record that is already in the queue has no effect.
    ///
    /// # Errors
    /// [`ArchiveError`] tells whether the record was stored. Dropping the future does not take the
    /// record back.
    async fn append(&self, record: ArchiveRecord) -> Result<(), ArchiveError>;

    /// Fetches up to `limit` records, the oldest first, and waits for up to `wait` until there is
    /// one. The records belong to this caller until they are acknowledged or
    /// [`ArchiveConfig::redeliver_after`](crate::cluster::ArchiveConfig::redeliver_after) has passed; then the next caller gets them.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    async fn fetch(&self, limit: usize, wait: Duration) -> Result<Vec<ArchiveDelivery>, ArchiveError>;

    /// Removes records that have been written to the database. A record that cannot be removed now
    /// is delivered again, even after `Ok`.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: some or all records are delivered again.
    async fn acknowledge(&self, deliveries: Vec<DeliveryToken>) -> Result<(), ArchiveError>;

    /// Returns the number of records in the queue.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    async fn lag(&self) -> Result<ArchiveLag, ArchiveError>;
}

/// A fetched record.
#[derive(Clone, Debug)]
pub struct ArchiveDelivery {
    /// The record.
    pub record: ArchiveRecord,
    /// The token that acknowledges it, see [`ArchiveQueue::acknowledge`].
    pub token: DeliveryToken,
}

/// Identifies a delivery. Its text is private to the implementation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryToken(String);

impl DeliveryToken {
    /// Creates a token, for implementers of [`ArchiveQueue`].
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of records in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLag {
    /// Records that nobody has fetched yet.
    pub waiting: u64,
    /// Records that were fetched and not acknowledged.
    pub unacknowledged: u64,
}

impl ArchiveLag {
    /// Creates a lag, for implementers of [`ArchiveQueue`].
    pub fn new(waiting: u64, unacknowledged: u64) -> Self {
        Self { waiting, unacknowledged }
    }

    /// Returns the number of all records that are not acknowledged.
    pub fn total(self) -> u64 {
        self.waiting + self.unacknowledged
    }
}

/// An error of a library, shared by all requests that it failed.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// An error of the archive's queue.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The queue is full: archivers are missing or behind. Nothing was archived.
    #[error("the archive's queue is full: start an archiver, or raise ArchiveConfig::max_bytes")]
    Full,
    /// The record is larger than the queue accepts. Nothing was archived.
    #[error("a record of {bytes} bytes exceeds the archive's limit of {limit}")]
    TooLarge {
        /// The size of the record.
        bytes: usize,
        /// The limit of the queue.
        limit: usize,
    },
    /// The record may have been stored, or may yet be.
    #[error("unknown whether the record was archived: {source}")]
    OutcomeUnknown {
        /// The cause.
        r#source: Cause,
    },
    /// The queue did not answer, or not in time.
    #[error("the archive could not {action}: {source}")]
    Unavailable {
        /// The requested action.
        action: &'static str,
        /// The cause.
        r#source: Cause,
    },
}

impl ArchiveError {
    /// Creates the error of a request other than an append that got no answer.
    pub fn unavailable(
        action: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { action, source: source.into().into() }
    }

    /// Creates the error of an append whose outcome is unknown.
    pub fn unknown(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::OutcomeUnknown { source: source.into().into() }
    }
}
