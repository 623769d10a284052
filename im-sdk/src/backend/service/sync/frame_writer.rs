//! Frames on their way to a device that is being brought up to date.

use bytes::BytesMut;

use super::{Sync, SyncError};
use crate::backend::service::budget::Resource;

/// Frames go out in parts of about this size, each after the one before has arrived at the server: a device that was away
/// for long must not fill a queue that others need.
const PART_BYTES: usize = 64 * 1024;

/// See the module's description.
pub(super) struct FrameWriter<'a> {
    sync: &'a Sync,
    part: BytesMut,
}

impl<'a> FrameWriter<'a> {
    pub(super) fn new(sync: &'a Sync) -> Self {
        Self { sync, part: BytesMut::new() }
    }

    /// Adds a frame; sends when a part is full.
    ///
    /// # Errors
    /// [`SyncError::Paused`]: the frame is sent, and enough waits for the connection.
    pub(super) async fn add(&mut self, frame: &[u8]) -> Result<(), SyncError> {
        self.part.extend_from_slice(frame);
        if self.part.len() < PART_BYTES || !self.flush().await? { Ok(()) } else { Err(SyncError::Paused) }
    }

    /// Waits until the server has everything queued for the connection, however much that is.
    pub(super) async fn finish(&mut self) -> Result<(), SyncError> {
        self.flush().await.map(drop)
    }

    /// Waits until the server has everything queued for the connection. Whether as much waits there as should.
    async fn flush(&mut self) -> Result<bool, SyncError> {
        if self.part.is_empty() {
            return Ok(false);
        }
        let part = self.part.split().freeze();
        let (budgets, bytes) = (&self.sync.context.budgets, part.len() as u64);
        let enough = self.sync.push(part).await?;
        // The device has got it, and goes on from there.
        budgets.charge(&self.sync.user, Resource::SyncBytes, bytes);
        budgets.take(&self.sync.user, [(Resource::SyncBytes, 0)]).map_err(|_| SyncError::Exhausted)?;
        Ok(enough)
    }
}
