//! When users were last connected. What an implementation must do is told by its conformance suite.

#[cfg(feature = "backend")]
mod disk;
mod memory;
mod redis;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

#[cfg(feature = "backend")]
pub use self::disk::DiskLastSeen;
#[cfg(feature = "backend")]
pub(super) use self::disk::create;
pub use self::{memory::MemoryLastSeen, redis::RedisLastSeen};
use crate::id::{Terminal, UserId};

/// How long it is remembered when a user was last connected. After a quarter of a year "long ago" says as much.
pub const LAST_SEEN_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// Remembers when each user's devices were last connected, by kind of device, for [`LAST_SEEN_TTL`]. Back ends alone use it.
#[async_trait]
pub trait LastSeen: Send + Sync + std::fmt::Debug + 'static {
    /// Notes that devices were connected until then. A time before one that is known changes nothing. One in the future counts
    /// as now: otherwise a server whose clock was ahead for a while would have the last word until then.
    ///
    /// # Errors
    /// [`LastSeenError`]: some may have been noted.
    async fn note_seen(&self, seen: &[Seen]) -> Result<(), LastSeenError>;

    /// When each user's devices were last connected, in milliseconds since the Unix epoch, in the order of the users; of each
    /// one's terminals in any order. Nothing that is older than [`LAST_SEEN_TTL`].
    ///
    /// # Errors
    /// [`LastSeenError`].
    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<Vec<(Terminal, u64)>>, LastSeenError>;
}

/// A device of a user was connected until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub user: UserId,
    /// What kind of device.
    pub terminal: Terminal,
    /// In milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The store of last times did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the store of when users were last seen could not {action}: {source}")]
pub struct LastSeenError {
    action: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl LastSeenError {
    /// What was asked, such as `note who was seen`, and why it was not done.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into() }
    }
}

/// What is older than this is forgotten.
fn oldest_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(LAST_SEEN_TTL).as_millis()).unwrap_or(u64::MAX)
}
