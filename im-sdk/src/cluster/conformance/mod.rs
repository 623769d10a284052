//! What every [`Routes`](super::Routes), [`Bus`](super::Bus), [`LogStore`](super::LogStore),
//! [`Membership`](super::Membership), [`LastSeen`](super::LastSeen), [`Conversations`](super::Conversations) and
//! [`Archive`](super::Archive) must do, for implementers of these traits: call [`check_routes`], [`check_bus`], [`check_log`],
//! [`check_members`], [`check_last_seen`], [`check_conversations`] and [`check_archive`] from a test. They panic with what is
//! wrong.
//!
//! This crate runs them on each of its own implementations.
#![allow(clippy::expect_used, clippy::panic, reason = "a failed check is a panic")]

mod archive;
mod bus;
mod conversations;
mod log;
mod members;
mod routes;
mod seen;

use std::time::Duration;

pub use archive::check_archive;
pub use bus::check_bus;
pub use conversations::{check_conversation_limit, check_conversations};
pub use log::check_log;
pub use members::check_members;
pub use routes::check_routes;
pub use seen::check_last_seen;

/// How long anything may take before a check fails. Long: it is waited for in full only on failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that has no event to wait for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until a look at something succeeds.
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
