//! The device's store: its position in each log, its unsettled messages, and its numbers.
//!
//! ```text
//!  send()  --> outbox --+                        +--> send() returns: it is taken
//!  ack()   --> cursors -+--> save(one batch) ----+--> the publish may travel, under its number
//!  answers --> outbox --+     (atomic)           +
//! ```
//!
//! The client saves one batch at a time; changes meanwhile go into the next one. A slow disk therefore makes larger
//! batches, not a longer queue.

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

/// Keeps the state that a device must not forget. A store belongs to one user on one device, and to one client at a time.
///
/// All methods are called on threads that may block, and for one client never two at once. Records are plain data, so that
/// an implementation can be in another language.
pub trait DeviceStore: Send + Sync + 'static {
    /// Loads all saved state, or returns [`SavedState::default`] if nothing was saved.
    ///
    /// # Errors
    /// [`StoreError`]. The client does not start then: without its numbers it could send a message twice.
    fn load(&self) -> Result<SavedState, StoreError>;

    /// Saves the whole batch or nothing. After `Ok` it survives the end of the process, and, if the store is on a
    /// disk, a loss of power.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was saved. The client tries again later, with its state at that time.
    fn save(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Closes the store's files until the next load or save, because the application is in the background: some systems kill a
    /// suspended process that holds a locked file. When a store opens its files again and another client has changed them, it
    /// fails. The default does nothing.
    fn release(&self) {}

    /// Frees unneeded memory, because the device is short of it. The default does nothing.
    fn shrink(&self) {}
}

/// The contents of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedState {
    /// The owner of this state, or empty before the first connection.
    pub user: String,
    /// The application's cursors, at most one for each log, in any order.
    pub cursors: Vec<SavedCursor>,
    /// The unsettled sends, in order of `local_id`.
    pub outbox: Vec<SavedPublish>,
    /// The next local id, or 0 if none was used yet.
    pub next_local_id: u64,
    /// The next publish number, or 0 if none was used yet.
    pub next_number: u64,
    /// A random number that distinguishes the numbers used from now on from those of every other store of the device, and of
    /// copies of this one. 0 if none was drawn yet, or the store is of an earlier version.
    pub installation: u64,
    /// A random number by which the device recognises its own messages, or 0 to use the installation instead.
    pub origin_key: u64,
    /// The unsettled marks of conversations, at most one entry for each conversation, in any order.
    pub marks: Vec<SavedMarks>,
}

/// Changes that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Replaces the user.
    pub user: String,
    /// Cursors that replace those of the same channels. The others stay.
    pub cursors: Vec<SavedCursor>,
    /// Channels whose cursors are to be forgotten. They may be missing in the store, and none of them is in
    /// `cursors`.
    pub left: Vec<String>,
    /// Publishes that are new, or replace those of the same `local_id`.
    pub put: Vec<SavedPublish>,
    /// Local ids of publishes to be forgotten. They may be missing in the store, and none of them is in
    /// `put`.
    pub remove: Vec<u64>,
    /// Replaces the next local id.
    pub next_local_id: u64,
    /// Replaces the next publish number.
    pub next_number: u64,
    /// Replaces the installation. If a store lost it and kept the numbers, backends would take repeated messages for new ones.
    pub installation: u64,
    /// Replaces the origin key.
    pub origin_key: u64,
    /// Marks that replace those of the same conversations. The others stay. An entry without marks is to be
    /// forgotten.
    pub marks: Vec<SavedMarks>,
}

/// Marks of a conversation that no backend has taken yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedMarks {
    /// The other user of the conversation, or empty for a channel.
    pub to: String,
    /// The channel, or empty for a conversation with a user.
    pub channel: String,
    /// The marks, in the order in which they were made.
    pub marks: Vec<SavedMark>,
}

impl SavedMarks {
    /// Makes an entry without marks.
    pub(crate) fn of(conversation: &Recipient) -> Self {
        let SavedPublish { to, channel, .. } = SavedPublish::to(conversation);
        Self { to, channel, marks: Vec::new() }
    }

    /// Returns the conversation, or `None` if it is not valid.
    pub(crate) fn conversation(&self) -> Option<Recipient> {
        recipient(&self.to, &self.channel)
    }
}

/// A mark of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedMark {
    /// The time at which it was set, by the device's clock, in milliseconds since the Unix epoch.
    pub set_at_ms: u64,
    /// The mark, encoded as the protocol's `Mark`.
    pub mark: Vec<u8>,
}

/// The position up to which the application has processed a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedCursor {
    /// The channel, or empty for the inbox.
    pub channel: String,
    /// The seq of the last entry, or 0 before the first one.
    pub seq: u64,
    /// The id of that message.
    pub id: u64,
}

/// An unsettled publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedPublish {
    /// Its [`LocalId`](crate::client::LocalId).
    pub local_id: u64,
    /// The number of the publish, also for a retry after it has failed, or 0 for one of an earlier version.
    pub number: u64,
    /// The installation that the number belongs to.
    pub installation: u64,
    /// Set if it may have been handed to a connection.
    pub sent: bool,
    /// The receiving user, or empty for a channel.
    pub to: String,
    /// The receiving channel, or empty for a user.
    pub channel: String,
    /// Its content, encoded as the protocol's `Content`.
    pub content: Vec<u8>,
    /// The refusal by which the send failed for good, encoded as the protocol's `Refused`, or empty if it has not
    /// failed.
    pub failure: Vec<u8>,
}

impl SavedPublish {
    /// Creates a publish for a recipient, otherwise empty.
    pub(crate) fn to(recipient: &Recipient) -> Self {
        let name = |name: Option<&str>| name.map(str::to_owned).unwrap_or_default();
        Self {
            to: name(recipient.as_user().map(UserId::as_str)),
            channel: name(recipient.as_channel().map(ChannelId::as_str)),
            ..Self::default()
        }
    }

    /// Returns the recipient, or `None` if it is not valid.
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
    /// Another client has the store open.
    #[error("the store is in use")]
    InUse,
    /// The contents were not written by this version or an earlier one.
    #[error("the store cannot be understood: {0}")]
    Unreadable(String),
    /// The contents are damaged and cannot be used. Move the store away and continue with a new one, which begins
    /// with resets.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The disk is full. Nothing is lost, and the client continues when there is room again.
    #[error("the store has no room: {0}")]
    Full(String),
    /// The process has no permission, or the disk is broken.
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
