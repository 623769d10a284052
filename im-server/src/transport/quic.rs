//! QUIC (RFC 9000). The device opens one bidirectional stream; frames follow one another on it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use im_proto::{
    close::{CloseCode, fit_reason},
    frame,
    limits::MAX_HELLO_BYTES,
};
use quinn::{
    Connection, ConnectionError, Endpoint, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig,
    TransportConfig, VarInt, WriteError,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};
use tokio::{io::AsyncWrite, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{LINGER, Transport, TransportError, session},
    context::ServerContext,
    registry::{admission::HandshakeMemory, frame_batch::FrameBatch, outbox::Close},
};

/// The number of bytes read at once, onto the stack: an idle connection holds no buffer.
const READ_BYTES: usize = 4096;

/// The number of bytes that a device may send before the server has read them.
const RECEIVE_WINDOW: u32 = 128 * 1024;

/// The number of bytes that a device may send before it is admitted: `Hello`, and nothing else.
const FIRST_RECEIVE_WINDOW: u32 = 9 * 1024;

/// The maximum number of unacknowledged bytes in transit to a device.
const SEND_WINDOW: u64 = 1024 * 1024;

/// Returns the configuration of a listening endpoint.
pub(crate) fn server_config(
    tls: Arc<rustls::ServerConfig>,
    idle_timeout: Duration,
) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .receive_window(VarInt::from_u32(FIRST_RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IdleTimeout::try_from(idle_timeout).ok());
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Accepts connections until the server drains, and refuses them from then on: without an answer, a device would wait for one until
/// it gives up.
pub(crate) async fn accept(context: Arc<ServerContext>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if context.lifecycle.draining.is_cancelled() {
            incoming.refuse();
        } else {
            serve(&context, incoming);
        }
    }
}

fn serve(context: &Arc<ServerContext>, incoming: Incoming) {
    if !incoming.remote_address_validated() && context.admission.is_crowded() {
        // The client comes again, with a token that only its real address received.
        let _ = incoming.retry();
        return;
    }
    match context.admission.try_admit(incoming.remote_address().ip()) {
        Some(permit) => {
            let transport = hand_shake(
                incoming,
                context.lifecycle.draining.clone(),
                context.admission.handshake_memory(),
            );
            let arriving = session::serve(Arc::clone(context), permit, transport);
            context.tasks.spawn(arriving);
        }
        None => incoming.refuse(),
    }
}

async fn hand_shake(
    incoming: Incoming,
    draining: CancellationToken,
    handshake_memory: HandshakeMemory,
) -> Option<QuicConnection> {
    let peer = incoming.remote_address();
    let failed = |error: &ConnectionError| tracing::debug!(%peer, %error, "QUIC handshake failed");
    open(incoming, draining, handshake_memory).await.inspect_err(failed).ok().flatten()
}

async fn open(
    incoming: Incoming,
    draining: CancellationToken,
    handshake_memory: HandshakeMemory,
) -> Result<Option<QuicConnection>, ConnectionError> {
    let connection = incoming.await?;
    let (send, receive) = tokio::select! {
        biased; // A draining server admits no device.
        () = draining.cancelled() => {
            let code = VarInt::from_u32(CloseCode::GoingAway.code().into());
            connection.close(code, b"the server is stopping");
            return Ok(None);
        }
        stream = connection.accept_bi() => stream?,
    };
    let buffer = BytesMut::new();
    let (frame_limit, handshake_memory) = (MAX_HELLO_BYTES, Some(Box::new(handshake_memory)));
    Ok(Some(QuicConnection {
        connection,
        send,
        receive,
        buffer,
        frame_limit,
        handshake_memory,
        partly_written: false,
    }))
}

struct QuicConnection {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    /// The beginning of an incomplete frame.
    buffer: BytesMut,
    frame_limit: usize,
    /// Accounts for the buffer until the device is admitted.
    handshake_memory: Option<Box<HandshakeMemory>>,
    /// Whether the first frames of the batch are partly written.
    partly_written: bool,
}

impl QuicConnection {
    /// Writes the rest of partly written frames: the stream must not end in the middle of a frame.
    async fn complete(&mut self, batch: &FrameBatch) -> Result<(), WriteError> {
        match batch.front() {
            Some(rest) if self.partly_written => self.send.write_all(rest).await,
            _ => Ok(()),
        }
    }
}

impl Transport for QuicConnection {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        let mut chunk = [0; READ_BYTES];
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, self.frame_limit)? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            let read = ready!(self.receive.poll_read(cx, &mut chunk)).map_err(|_| TransportError::Lost)?;
            match read {
                0 if self.buffer.is_empty() => return Poll::Ready(Ok(None)),
                0 => {
                    return Poll::Ready(Err(TransportError::protocol(
                        "the stream ended in the middle of a frame",
                    )));
                }
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
            if self
                .handshake_memory
                .as_mut()
                .is_some_and(|handshake_memory| !handshake_memory.try_hold(self.buffer.capacity()))
            {
                return Poll::Ready(Err(TransportError::admission_full()));
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), TransportError>> {
        while let Some(frames) = batch.front() {
            let written = ready!(AsyncWrite::poll_write(Pin::new(&mut self.send), cx, frames))
                .map_err(|_| TransportError::Lost)?;
            self.partly_written = written < frames.len();
            batch.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn set_frame_limit(&mut self, bytes: usize) {
        self.frame_limit = bytes;
        self.handshake_memory = None;
        self.connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
    }

    async fn close(mut self, close: Option<Close>, batch: FrameBatch) {
        // A connection that is dropped closes with code 0.
        let Some(close) = close else { return };
        // A QUIC close discards bytes in transit, so the device first has to acknowledge them.
        let goodbye = async {
            if self.complete(&batch).await.is_ok() && self.send.finish().is_ok() {
                let _ = self.send.stopped().await;
            }
        };
        let _ = timeout(LINGER, goodbye).await;
        let code = VarInt::from_u32(close.code.code().into());
        self.connection.close(code, fit_reason(&close.reason).as_bytes());
    }
}
