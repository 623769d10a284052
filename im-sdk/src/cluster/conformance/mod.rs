//! Conformance suites of the cluster's traits, for implementers.
//!
//! Call [`check_routes`], [`check_bus`], [`check_log`], [`check_members`], [`check_last_seen`],
//! [`check_conversations`] or [`check_archive_queue`] from a test of an implementation of
//! [`Routes`](super::Routes), [`Bus`](super::Bus), [`LogStore`](super::LogStore),
//! [`MemberStore`](super::MemberStore), [`LastSeenStore`](super::LastSeenStore),
//! [`ConversationStore`](super::ConversationStore) or [`ArchiveQueue`](super::ArchiveQueue). They
//! panic with the broken rule. This crate runs them on each of its own implementations.
#![allow(clippy::expect_used, clippy::panic, reason = "a failed check is a panic")]

mod archive_queue;
mod bus;
mod conversations;
mod last_seen;
mod log;
mod members;
mod routes;

use std::time::Duration;

pub use archive_queue::check_archive_queue;
pub use bus::check_bus;
pub use conversations::{check_conversation_limit, check_conversations};
pub use last_seen::check_last_seen;
pub use log::check_log;
pub use members::check_members;
pub use routes::check_routes;

/// The time after which a check fails. Long: only a failure waits for all of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks at something without an event to wait for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `look` returns a value.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, looking).await;
    seen.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
}
