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
mod writer_thread;

pub use self::{
    archive_queue::DiskArchiveQueue,
    conversations::DiskConversations,
    last_seen::DiskLastSeen,
    log::{DiskLog, OpenLogError},
    members::DiskMembers,
};

/// Opens the file of a test's stores.
#[cfg(test)]
fn open_in(folder: &tempfile::TempDir) -> DiskLog {
    DiskLog::open(folder.path().join("im.redb"), super::LogBounds::default()).unwrap()
}
