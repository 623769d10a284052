//! The transport of a session: frames in, batches of frames out, and a close that the device gets to read.

use std::{
    future::Future,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use im_proto::{close::CloseCode, frame::FrameError};

use crate::registry::{frame_batch::FrameBatch, outbox::Close};

/// The time in which a closing connection may hand over its last frames and its close code.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// A framed connection to one device.
pub(crate) trait Transport: Send {
    /// Receives the next frame, without its length prefix. `None` means that the device has closed.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>>;

    /// Writes all of `batch` and flushes. Ready when nothing is left to do.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), TransportError>>;

    /// Sets the largest frame from here on.
    fn set_frame_limit(&mut self, bytes: usize);

    /// Closes with a code and waits, at most [`LINGER`], until the device has received it. The rest of a partly written message, in
    /// `batch`, goes first. `None` means that the device has closed or is gone; it still gets an answer that the protocol requires.
    fn close(self, close: Option<Close>, batch: FrameBatch) -> impl Future<Output = ()> + Send;
}

/// The reason for which a transport cannot continue.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The transport is gone, so the device cannot be told a reason.
    Lost,
    /// The device broke the protocol or a limit; it is told this code and reason.
    Refused(Close),
}

impl TransportError {
    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Refused(Close::new(CloseCode::ProtocolError, reason))
    }

    /// Creates the error of a device that sent more than fits into the memory for connections that are being admitted.
    pub(crate) fn admission_full() -> Self {
        Self::Refused(Close::new(CloseCode::Overloaded, "devices that are not let in yet hold too much"))
    }
}

impl From<FrameError> for TransportError {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
            _ => CloseCode::ProtocolError,
        };
        Self::Refused(Close::new(code, error.to_string()))
    }
}
