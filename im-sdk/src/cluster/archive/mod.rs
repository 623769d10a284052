//! The archive: messages on their way from the logs, which are bounded, to where they stay. What an implementation must
//! do is told by its conformance suite.
//!
//! It is a queue and not the place itself: a record lies there until an archiver has written it to the application's
//! database and acknowledged it. Records may come twice, and in any order.

mod config;
#[cfg(feature = "backend")]
mod disk;
mod jetstream;
mod leases;
mod memory;
mod record;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

#[cfg(feature = "backend")]
pub use self::disk::DiskArchive;
pub use self::{
    config::ArchiveConfig,
    jetstream::JetStreamArchive,
    memory::MemoryArchive,
    record::{ArchivePlace, ArchiveRecord},
};

/// Keeps records until they are acknowledged.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug + 'static {
    /// Puts a record into the archive. Ok means that it is there, at the durability that the implementation stands for.
    /// The same record again, while the first one lies there, has no effect.
    ///
    /// # Errors
    /// [`ArchiveError`] says what became of it. Dropping the future does not take the record back.
    async fn append(&self, record: ArchiveRecord) -> Result<(), ArchiveError>;

    /// Takes out up to `limit` records, the oldest first, waiting for up to `wait` until there is one. They are this
    /// caller's until they are acknowledged or [`ArchiveConfig::redeliver_after`] is over; then whoever asks gets them.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    async fn fetch(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery>, ArchiveError>;

    /// Removes records: they are where they belong. One that cannot be removed now comes again, even after Ok.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: some or all come again.
    async fn acknowledge(&self, deliveries: Vec<DeliveryToken>) -> Result<(), ArchiveError>;

    /// How much lies there.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    async fn lag(&self) -> Result<ArchiveLag, ArchiveError>;
}

/// A record that was taken out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The record.
    pub record: ArchiveRecord,
    /// What [`Archive::acknowledge`] knows it by.
    pub token: DeliveryToken,
}

/// What an archive knows a delivery by. Its text is the implementation's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryToken(String);

impl DeliveryToken {
    /// A token, for implementers of [`Archive`].
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much lies in the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLag {
    /// Records that nobody has taken out yet.
    pub waiting: u64,
    /// Records that were taken out and are not acknowledged.
    pub unacknowledged: u64,
}

impl ArchiveLag {
    /// A lag, for implementers of [`Archive`].
    pub fn new(waiting: u64, unacknowledged: u64) -> Self {
        Self { waiting, unacknowledged }
    }

    /// All that is not acknowledged.
    pub fn total(self) -> u64 {
        self.waiting + self.unacknowledged
    }
}

/// What a library said, shared by all whom it concerns.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The archive did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// As much lies there as may: archivers are missing or behind. Nothing was archived.
    #[error("the archive is full: start an archiver, or allow it more with ArchiveConfig::max_bytes")]
    Full,
    /// The record is larger than the archive takes. Nothing was archived.
    #[error("a record of {bytes} bytes is larger than the archive takes ({limit})")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The archive's limit.
        limit: usize,
    },
    /// The record is not known to be there. It may be, or may yet get there.
    #[error("it is unknown whether the record was archived: {source}")]
    OutcomeUnknown {
        /// Why.
        source: Cause,
    },
    /// The archive did not answer, or not in time.
    #[error("the archive could not {action}: {source}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// Why.
        source: Cause,
    },
}

impl ArchiveError {
    /// It did not answer when it was asked for something other than to append.
    pub fn unavailable(
        action: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { action, source: source.into().into() }
    }

    /// An append whose end nobody knows.
    pub fn unknown(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::OutcomeUnknown { source: source.into().into() }
    }
}
