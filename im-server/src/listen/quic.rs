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
    arrivals::Unheard,
    batch::Batch,
    link::{LINGER, Link, LinkError},
    outbox::Close,
    session,
    shared::Shared,
};

/// How much is read in one go, into the stack: an idle connection holds no buffer.
const READ_BYTES: usize = 4096;

/// How much a device may send before the server has read it.
const RECEIVE_WINDOW: u32 = 128 * 1024;

/// The same before the device is let in: `Hello`, and nothing else.
const FIRST_RECEIVE_WINDOW: u32 = 9 * 1024;

/// How much may be on its way to a device without an acknowledgement.
const SEND_WINDOW: u64 = 1024 * 1024;

/// What a listening endpoint needs.
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

/// Accepts connections until the server stops accepting, and refuses them from then on: without an answer, a device would wait
/// for one until it gives up.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if shared.draining.is_cancelled() {
            incoming.refuse();
        } else {
            serve(&shared, incoming);
        }
    }
}

fn serve(shared: &Arc<Shared>, incoming: Incoming) {
    if !incoming.remote_address_validated() && shared.arrivals.are_many() {
        // It comes again, with a token that only its real address has got.
        let _ = incoming.retry();
        return;
    }
    match shared.arrivals.try_enter(incoming.remote_address().ip()) {
        Some(arrival) => {
            let link = hand_shake(incoming, shared.draining.clone(), shared.arrivals.unheard());
            let arriving = session::serve(Arc::clone(shared), arrival, link);
            shared.tasks.spawn(arriving);
        }
        None => incoming.refuse(),
    }
}

async fn hand_shake(incoming: Incoming, draining: CancellationToken, unheard: Unheard) -> Option<QuicLink> {
    let peer = incoming.remote_address();
    let failed = |error: &ConnectionError| tracing::debug!(%peer, %error, "QUIC handshake failed");
    open(incoming, draining, unheard).await.inspect_err(failed).ok().flatten()
}

async fn open(
    incoming: Incoming,
    draining: CancellationToken,
    unheard: Unheard,
) -> Result<Option<QuicLink>, ConnectionError> {
    let connection = incoming.await?;
    let (send, receive) = tokio::select! {
        biased; // A stopping server takes nobody in.
        () = draining.cancelled() => {
            let code = VarInt::from_u32(CloseCode::GoingAway.code().into());
            connection.close(code, b"the server is stopping");
            return Ok(None);
        }
        stream = connection.accept_bi() => stream?,
    };
    let buffer = BytesMut::new();
    let (frame_limit, unheard) = (MAX_HELLO_BYTES, Some(Box::new(unheard)));
    Ok(Some(QuicLink { connection, send, receive, buffer, frame_limit, unheard, has_begun: false }))
}

struct QuicLink {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    /// The beginning of a frame that is not complete.
    buffer: BytesMut,
    frame_limit: usize,
    /// What it holds counts until the device is let in.
    unheard: Option<Box<Unheard>>,
    /// Whether the first frames of the batch are written in part.
    has_begun: bool,
}

impl QuicLink {
    /// Writes the rest of what was begun: the stream must not end in the middle of a frame.
    async fn complete(&mut self, batch: &Batch) -> Result<(), WriteError> {
        match batch.front() {
            Some(rest) if self.has_begun => self.send.write_all(rest).await,
            _ => Ok(()),
        }
    }
}

impl Link for QuicLink {
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        let mut chunk = [0; READ_BYTES];
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, self.frame_limit)? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            let read = ready!(self.receive.poll_read(context, &mut chunk)).map_err(|_| LinkError::Lost)?;
            match read {
                0 if self.buffer.is_empty() => return Poll::Ready(Ok(None)),
                0 => {
                    return Poll::Ready(Err(LinkError::protocol(
                        "the stream ended in the middle of a frame",
                    )));
                }
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
            if self.unheard.as_mut().is_some_and(|unheard| !unheard.try_hold(self.buffer.capacity())) {
                return Poll::Ready(Err(LinkError::too_many_arrive()));
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), LinkError>> {
        while let Some(frames) = batch.front() {
            let written = ready!(AsyncWrite::poll_write(Pin::new(&mut self.send), context, frames))
                .map_err(|_| LinkError::Lost)?;
            self.has_begun = written < frames.len();
            batch.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn set_frame_limit(&mut self, bytes: usize) {
        self.frame_limit = bytes;
        self.unheard = None;
        self.connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
    }

    async fn close(mut self, close: Option<Close>, batch: Batch) {
        // Dropped, it ends with code 0.
        let Some(close) = close else { return };
        // A QUIC close discards what is still on its way: let the device acknowledge it first.
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
