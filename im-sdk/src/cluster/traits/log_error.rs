//! Errors of the log store.

use std::{sync::Arc, time::Duration};

/// An error of a library, shared by all requests that it failed.
pub(in crate::cluster) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// An error of the log store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The producer has since appended with a higher number. Nothing was appended.
    #[error("the producer has already appended with number {last}")]
    Stale {
        /// The producer's last number.
        last: u64,
    },
    /// The number or key was used for a different entry. Nothing was appended.
    #[error("the same number or key was used for something else")]
    Conflict,
    /// The writer has used up its share of the log, and entries of others are unread. Nothing was
    /// appended.
    #[error("the writer's share of the log is used up; try again in {} s", retry_after.as_secs().max(1))]
    Full {
        /// The time to wait before another attempt.
        retry_after: Duration,
    },
    /// The entry was not appended.
    #[error("nothing was appended: {source}")]
    NotAppended {
        /// The cause.
        r#source: Cause,
    },
    /// The entry may have been appended, or may yet be.
    #[error("unknown whether the entry was appended: {source}")]
    OutcomeUnknown {
        /// The cause.
        r#source: Cause,
    },
    /// The entry was appended, but a failure of the store's first server may still lose it.
    #[error("the entry was appended, but only {acknowledged} of {wanted} replicas acknowledged it in time")]
    Unconfirmed {
        /// The number of replicas that are known to have the entry.
        acknowledged: usize,
        /// The number of replicas that should have it.
        wanted: usize,
    },
    /// The store did not answer, or not in time.
    #[error("the log store could not {action}: {source}")]
    Unavailable {
        /// The requested action.
        action: &'static str,
        /// The cause.
        r#source: Cause,
    },
    /// The store holds a value that this version cannot read.
    #[error("the log store holds a {what} that cannot be read: {place}")]
    Malformed {
        /// The expected kind of value.
        what: &'static str,
        /// The location of the value. Its content is not shown: it is private.
        place: String,
    },
}
