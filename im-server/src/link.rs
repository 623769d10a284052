//! What a session needs of a transport: frames in, batches of frames out, and a close that the device gets to read.

use std::{
    future::Future,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use im_proto::{close::CloseCode, frame::FrameError};

use crate::{batch::Batch, outbox::Close};

/// How long a closing connection may take to hand over what is left and its close code.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How much is written to a transport in one go: what has queued up is put together up to this size.
pub(crate) const WRITE_BYTES: usize = 64 * 1024;

/// A framed connection to one device.
pub(crate) trait Link: Send {
    /// The next frame's bytes, without its length prefix; `None` when the device has closed.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>>;

    /// Writes all of `batch` and flushes. Ready when nothing is left to do.
    fn poll_write(&mut self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), LinkError>>;

    /// Sets the largest frame from here on.
    fn set_frame_limit(&mut self, bytes: usize);

    /// Closes with a code and waits, at most [`LINGER`], until the device has it. What is left in `batch` of a message
    /// that was begun goes first. `None`: the device has closed or is gone; where it is owed an answer it gets that.
    fn close(self, close: Option<Close>, batch: Batch) -> impl Future<Output = ()> + Send;
}

/// Why a link cannot go on.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The transport is gone; nobody is there to be told.
    Lost,
    /// The device does not keep to the protocol and is told so.
    Refused(Close),
}

impl LinkError {
    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Refused(Close::new(CloseCode::ProtocolError, reason))
    }

    /// It sends more, before it is let in, than there is room for.
    pub(crate) fn too_many_arrive() -> Self {
        Self::Refused(Close::new(CloseCode::Overloaded, "too much waits of devices that are not let in yet"))
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
            _ => CloseCode::ProtocolError,
        };
        Self::Refused(Close::new(code, error.to_string()))
    }
}
