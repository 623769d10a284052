//! Sends every message back, with the server's own link and framing: what the Autobahn test suite talks to. See
//! `tests/autobahn.sh`.

use std::{future::poll_fn, task::Context};

use bytes::Bytes;
use im_proto::close::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ReadError, WebSocketLink, Writing};
use crate::{
    batch::Batch,
    link::{Link as _, LinkError},
    listen::websocket::framing::{Broken, Kind},
    outbox::Close,
};

/// The largest message: the suite's largest are 16 MiB.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// Serves a connection, from after its upgrade to its end.
pub(in crate::listen::websocket) async fn echo<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) {
    let mut link = WebSocketLink::new(stream, MESSAGE_LIMIT);
    let close = loop {
        // As a session does: both directions, in one task.
        let both = |context: &mut Context<'_>| {
            let _ = link.poll_control(context)?;
            link.poll_message_in(context)
        };
        match poll_fn(both).await {
            Ok(Some((kind, message))) => {
                if link.send_back(kind, message).await.is_err() {
                    break None;
                }
            }
            Ok(None) | Err(ReadError::Link(_)) => break None,
            Err(ReadError::Broken(broken)) => break Some(close(&broken)),
        }
    };
    link.close(close, Batch::default()).await;
}

/// With the RFC's codes (section 7.4.1), which the suite wants, in place of our own.
fn close(broken: &Broken) -> Close {
    let (code, reason) = match broken {
        Broken::Protocol(reason) => (1002, *reason),
        Broken::NotUtf8 => (1007, "text that is not UTF-8"),
        Broken::TooLarge(_) => (1009, "a message that is too large"),
    };
    Close::new(CloseCode::from(code), reason)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketLink<S> {
    /// Sends one message of either kind, where a session sends what waits, as binary messages.
    async fn send_back(&mut self, kind: Kind, message: Bytes) -> Result<(), LinkError> {
        // A pong that was begun goes first.
        poll_fn(|context| self.poll_control(context)).await?;
        self.writing = Writing::begin(kind, message.len());
        let mut batch = Batch::default();
        if !message.is_empty() {
            batch.push(message);
        }
        poll_fn(|context| self.poll_write(context, &mut batch)).await
    }
}

#[cfg(test)]
mod tests;
