//! Logs, members, conversations and the archive's queue in a file of this machine, with redb.
//!
//! [`DiskLog`] opens the file; members, conversations and last-seen times are tables of the same file. The queue of the
//! archive has a file of its own.

mod archive_queue;
mod conversations;
mod file;
mod last_seen;
pub(in crate::cluster) mod log;
mod members;

pub use self::{
    archive_queue::DiskArchiveQueue,
    conversations::DiskConversations,
    last_seen::DiskLastSeen,
    log::{DiskLog, OpenLogError},
    members::DiskMembers,
};
