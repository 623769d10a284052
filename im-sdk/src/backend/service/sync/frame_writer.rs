//! Writes a sync's frames to a device.

use bytes::BytesMut;

use super::{Sync, SyncError};
use crate::backend::service::budget::Resource;

/// The approximate size of a part. Each part is sent after the one before has arrived at the server: a device that was
/// away for long must not fill a queue that others need.
const PART_BYTES: usize = 64 * 1024;

/// Collects frames into parts, and sends them.
pub(super) struct FrameWriter<'a> {
    sync: &'a Sync,
    part: BytesMut,
}

impl<'a> FrameWriter<'a> {
    pub(super) fn new(sync: &'a Sync) -> Self {
        Self { sync, part: BytesMut::new() }
    }

    /// Adds a frame. Sends the part if it is full.
    ///
    /// # Errors
    /// [`SyncError::Paused`]: the frame is sent, and the connection's queue is full enough.
    pub(super) async fn add(&mut self, frame: &[u8]) -> Result<(), SyncError> {
        self.part.extend_from_slice(frame);
        if self.part.len() < PART_BYTES || !self.flush().await? { Ok(()) } else { Err(SyncError::Paused) }
    }

    /// Waits until the server has queued everything for the connection, however full the queue is.
    pub(super) async fn finish(&mut self) -> Result<(), SyncError> {
        self.flush().await.map(drop)
    }

    /// Waits until the server has queued everything for the connection. Returns `true` if the connection's
    /// queue is full enough.
    async fn flush(&mut self) -> Result<bool, SyncError> {
        if self.part.is_empty() {
            return Ok(false);
        }
        let part = self.part.split().freeze();
        let (budgets, bytes) = (&self.sync.context.budgets, part.len() as u64);
        let enough = self.sync.push(part).await?;
        // Charged even if the sync ends here: the device has the bytes, and continues after them.
        budgets.charge(&self.sync.user, Resource::SyncBytes, bytes);
        budgets.take(&self.sync.user, [(Resource::SyncBytes, 0)]).map_err(|_| SyncError::Exhausted)?;
        Ok(enough)
    }
}
