//! The device's store: its position in each log, the messages that are not settled, and its numbers.
//!
//! ```text
//!  send()  --> outbox --+                        +--> send() returns: it is taken
//!  ack()   --> cursors -+--> save(one batch) ----+--> the publish may travel, under its number
//!  answers --> outbox --+     (atomic)           +
//! ```
//!
//! The client saves one batch at a time; what happens meanwhile is in the next. So a slow disk makes larger batches,
//! not a longer queue.

#[cfg(any(test, feature = "store-conformance"))]
pub mod conformance;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use self::memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
use crate::{
    Recipient,
    id::{ChannelId, UserId},
};

/// Keeps the state that a device must not forget. One store belongs to one user on one device, and to one client at a time.
///
/// All methods are called on threads that may block, never two at once for one client. Records are plain, so that
/// an implementation can live in another language.
pub trait DeviceStore: Send + Sync + 'static {
    /// Loads everything that was saved; [`SavedState::default`] if nothing was.
    ///
    /// # Errors
    /// [`StoreError`]. The client then does not start: without its numbers it could send twice.
    fn load(&self) -> Result<SavedState, StoreError>;

    /// Saves all of the batch or nothing of it. `Ok` means that it survives the end of the process, and, if the store
    /// is on a disk, a loss of power.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was saved. The client tries again later, with its state of then.
    fn save(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Closes its files until the next load or save, because the application is in the background: some systems end a process that is
    /// suspended with a locked file. A store that finds, when it opens them again, that another client has changed them meanwhile,
    /// fails. The default does nothing.
    fn release(&self) {}

    /// Gives back memory that it does not need, because the device is short of it. The default does nothing.
    fn shrink(&self) {}
}

/// The contents of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedState {
    /// The user that all of this belongs to; empty until the first connection.
    pub user: String,
    /// The application's cursors, at most one for each log, in any order.
    pub cursors: Vec<SavedCursor>,
    /// The sends that are not settled, in order of `local_id`.
    pub outbox: Vec<SavedPublish>,
    /// The next local id; 0: none was given yet.
    pub next_local_id: u64,
    /// The next publish number; 0: none was given yet.
    pub next_number: u64,
    /// A random number that tells the numbers that are given from now on from those of every other store that the device ever had, and
    /// of copies of this one; 0: none was given yet, or an earlier version made the store.
    pub installation: u64,
    /// A random number by which the device knows its own messages again; 0: the installation is it.
    pub origin_key: u64,
    /// The marks of conversations that are not settled, at most one entry for each conversation, in any order.
    pub marks: Vec<SavedMarks>,
}

/// Changes that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Replaces the user.
    pub user: String,
    /// Replace those of the same channel; the others stay.
    pub cursors: Vec<SavedCursor>,
    /// Channels whose cursors are to be forgotten; not all of them need to be there. None of them is in `cursors`.
    pub left: Vec<String>,
    /// New, or replace those of the same `local_id`.
    pub put: Vec<SavedPublish>,
    /// Local ids of publishes to forget; not all of them need to be there. None of them is in `put`.
    pub remove: Vec<u64>,
    /// Replaces the next local id.
    pub next_local_id: u64,
    /// Replaces the next publish number.
    pub next_number: u64,
    /// Replaces the installation. If a store forgot it and kept the numbers, back ends would take messages that are sent again for new
    /// ones.
    pub installation: u64,
    /// Replaces the origin key.
    pub origin_key: u64,
    /// Replace those of the same conversation; the others stay. One without marks is to be forgotten.
    pub marks: Vec<SavedMarks>,
}

/// Marks of a conversation that no back end has taken yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedMarks {
    /// The conversation with this user; empty where it is a channel.
    pub to: String,
    /// The channel; empty where it is a user.
    pub channel: String,
    /// In the order in which they were made.
    pub marks: Vec<SavedMark>,
}

impl SavedMarks {
    /// Makes an entry without marks.
    pub(crate) fn of(conversation: &Recipient) -> Self {
        let SavedPublish { to, channel, .. } = SavedPublish::to(conversation);
        Self { to, channel, marks: Vec::new() }
    }

    /// Returns the conversation; `None` if it makes no sense.
    pub(crate) fn conversation(&self) -> Option<Recipient> {
        recipient(&self.to, &self.channel)
    }
}

/// A mark of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedMark {
    /// When it was set, by the device's clock, in milliseconds since the Unix epoch.
    pub set_at_ms: u64,
    /// The mark, encoded as the protocol's `Mark`.
    pub mark: Vec<u8>,
}

/// The position up to which the application has dealt with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedCursor {
    /// The channel; empty: the inbox.
    pub channel: String,
    /// The last entry; 0: before the first.
    pub seq: u64,
    /// The id of the message there.
    pub id: u64,
}

/// A publish that is not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedPublish {
    /// Its [`LocalId`](crate::client::LocalId).
    pub local_id: u64,
    /// The number that it travels under, or would if it is sent anew after it has failed; 0: none, from an earlier version.
    pub number: u64,
    /// The installation that the number is of.
    pub installation: u64,
    /// Whether it may have been handed to a connection.
    pub sent: bool,
    /// The user that it is for; empty where it is for a channel.
    pub to: String,
    /// The channel that it is for; empty where it is for a user.
    pub channel: String,
    /// Its content, encoded as the protocol's `Content`.
    pub content: Vec<u8>,
    /// The refusal with which the send failed for good, encoded as the protocol's `Refused`; empty if it has not failed.
    pub failure: Vec<u8>,
}

impl SavedPublish {
    /// Makes one for a recipient, otherwise empty.
    pub(crate) fn to(recipient: &Recipient) -> Self {
        let name = |name: Option<&str>| name.map(str::to_owned).unwrap_or_default();
        Self {
            to: name(recipient.as_user().map(UserId::as_str)),
            channel: name(recipient.as_channel().map(ChannelId::as_str)),
            ..Self::default()
        }
    }

    /// Returns the recipient; `None` if it makes no sense.
    pub(crate) fn recipient(&self) -> Option<Recipient> {
        recipient(&self.to, &self.channel)
    }
}

fn recipient(user: &str, channel: &str) -> Option<Recipient> {
    match (user, channel) {
        (user, "") => UserId::parse(user).ok().map(Recipient::User),
        ("", channel) => ChannelId::parse(channel).ok().map(Recipient::Channel),
        _ => None,
    }
}

/// The store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another client has it open.
    #[error("the store is in use")]
    InUse,
    /// Its contents were not written by this version or an earlier one.
    #[error("the store cannot be understood: {0}")]
    Unreadable(String),
    /// Its contents are damaged and cannot be used: move it away and go on with a new one, which begins with resets.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The disk is full. Nothing is lost, and when there is room again, the client goes on.
    #[error("the store has no room: {0}")]
    Full(String),
    /// No permission, or a broken disk.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Returns a name that stays the same over versions and languages, such as `in_use`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Unreadable(_) => "unreadable",
            Self::Damaged(_) => "damaged",
            Self::Full(_) => "full",
            Self::Failed(_) => "failed",
        }
    }
}
