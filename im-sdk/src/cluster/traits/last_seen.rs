//! Times at which users were last connected. The conformance suite states what an implementation
//! must do.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::id::{Terminal, UserId};

/// The lifetime of a last-seen time. After a quarter of a year, "long ago" is precise enough.
pub const LAST_SEEN_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// Stores when each user's devices were last connected, by kind of device, for [`LAST_SEEN_TTL`].
/// Only backends use it.
#[async_trait]
pub trait LastSeenStore: Send + Sync + std::fmt::Debug + 'static {
    /// Records that devices were connected until a time.
    ///
    /// A time before the recorded one changes nothing. A time in the future counts as now:
    /// otherwise a server whose clock was once ahead would have the last word until then.
    ///
    /// # Errors
    /// [`LastSeenError`]: some may have been recorded.
    async fn note_seen(&self, seen: &[LastSeen]) -> Result<(), LastSeenError>;

    /// Returns when each user's devices were last connected, in milliseconds since the Unix epoch,
    /// in the order of the users. The terminals of a user are in any order; times older than
    /// [`LAST_SEEN_TTL`] are left out.
    ///
    /// # Errors
    /// [`LastSeenError`].
    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<Vec<(Terminal, u64)>>, LastSeenError>;
}

/// The time until which a device of a user was connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// The owner of the device.
    pub user: UserId,
    /// The kind of device.
    pub terminal: Terminal,
    /// The time in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// An error of the store of last-seen times.
#[derive(Debug, thiserror::Error)]
#[error("the store of last-seen times could not {action}: {source}")]
pub struct LastSeenError {
    action: &'static str,
    r#source: Box<dyn std::error::Error + Send + Sync>,
}

impl LastSeenError {
    /// Creates an error from the requested action, such as `note who was seen`, and its cause.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into() }
    }
}

/// Returns the time before which entries are forgotten.
pub(in crate::cluster) fn oldest_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(LAST_SEEN_TTL).as_millis()).unwrap_or(u64::MAX)
}
