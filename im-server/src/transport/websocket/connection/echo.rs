//! Echoes every message over the server's own WebSocket code, for the Autobahn test suite: see `tests/autobahn.sh`.

use std::{future::poll_fn, task::Context};

use bytes::Bytes;
use im_proto::close::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ReadError, WebSocketConnection, Writing};
use crate::{
    connection::{Transport as _, TransportError},
    registry::{frame_batch::FrameBatch, outbox::Close},
    transport::websocket::frame::{FrameViolation, MessageKind},
};

/// The largest message: the suite's largest are 16 MiB.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// Serves a connection, from after its upgrade to its end.
pub(in crate::transport::websocket) async fn echo<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) {
    let mut transport = WebSocketConnection::new(stream, MESSAGE_LIMIT);
    let close = loop {
        // Both directions in one task, as in a session.
        let both = |cx: &mut Context<'_>| {
            let _ = transport.poll_control(cx)?;
            transport.poll_message_in(cx)
        };
        match poll_fn(both).await {
            Ok(Some((kind, message))) => {
                if transport.send_back(kind, message).await.is_err() {
                    break None;
                }
            }
            Ok(None) | Err(ReadError::Transport(_)) => break None,
            Err(ReadError::FrameViolation(broken)) => break Some(close(&broken)),
        }
    };
    transport.close(close, FrameBatch::default()).await;
}

/// Uses the RFC's codes (section 7.4.1), which the suite wants, in place of the device protocol's.
fn close(violation: &FrameViolation) -> Close {
    let (code, reason) = match violation {
        FrameViolation::Protocol(reason) => (1002, *reason),
        FrameViolation::NotUtf8 => (1007, "text that is not UTF-8"),
        FrameViolation::TooLarge(_) => (1009, "a message that is too large"),
    };
    Close::new(CloseCode::from(code), reason)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketConnection<S> {
    /// Sends one message of either kind. A session sends queued frames, as binary messages.
    async fn send_back(&mut self, kind: MessageKind, message: Bytes) -> Result<(), TransportError> {
        // A pong that was begun goes first.
        poll_fn(|cx| self.poll_control(cx)).await?;
        self.writing = Writing::begin(kind, message.len());
        let mut batch = FrameBatch::default();
        if !message.is_empty() {
            batch.push(message);
        }
        poll_fn(|cx| self.poll_write(cx, &mut batch)).await
    }
}

#[cfg(test)]
mod tests;
