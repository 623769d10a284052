//! WebSocket (RFC 6455), plain or over TLS. A binary message holds one or several whole frames.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream::FusedStream};
use im_proto::{WEBSOCKET_PROTOCOL, close::fit_reason, frame, limits::MAX_HELLO_BYTES};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        error::CapacityError,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode as WebSocketCloseCode},
    },
};

use crate::{
    link::{LINGER, Link, LinkError, WRITE_BYTES},
    outbox::Close,
    shared::Shared,
};

/// What an idle connection holds to read into; larger messages grow it for as long as they last.
const READ_BUFFER_BYTES: usize = 512;

/// How long to wait after the operating system refused a new connection, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the server stops accepting.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let accepted = tokio::select! {
            biased; // A stopping server takes nobody in.
            () = shared.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serve = serve(Arc::clone(&shared), stream, peer, tls.clone());
                shared.tasks.spawn(serve);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a WebSocket connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    // Small frames must not wait for an acknowledgement (Nagle): the session batches by itself.
    let _ = stream.set_nodelay(true);
    match tls {
        None => upgrade(shared, stream, peer).await,
        // TLS state is large: boxed, so that plain connections do not pay for it.
        Some(tls) => Box::pin(serve_tls(shared, stream, peer, tls)).await,
    }
}

async fn serve_tls(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, tls: TlsAcceptor) {
    match timeout(shared.config.hello_timeout, Box::pin(tls.accept(stream))).await {
        Ok(Ok(stream)) => upgrade(shared, stream, peer).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn upgrade<S>(shared: Arc<Shared>, stream: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = websocket_config(shared.config.limits.max_frame_bytes);
    // Boxed: its buffers and state are gone once it is done, while the session's task lives on.
    let upgrade = Box::pin(accept_hdr_async_with_config(stream, negotiate, Some(config)));
    match timeout(shared.config.hello_timeout, upgrade).await {
        Ok(Ok(socket)) => crate::session::serve(shared, WebSocketLink::new(socket)).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "WebSocket handshake failed"),
        Err(_) => tracing::debug!(%peer, "WebSocket handshake took too long"),
    }
}

fn websocket_config(max_frame_bytes: usize) -> WebSocketConfig {
    let message = im_proto::limits::max_message_bytes(max_frame_bytes);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

/// A device that names subprotocols must name ours; one that names none is taken to mean it.
// The error's size is given by the library.
#[allow(clippy::result_large_err)]
fn negotiate(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let mut offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().peekable();
    if offered.peek().is_none() {
        return Ok(response);
    }
    let names_ours = |value: &HeaderValue| {
        value.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == WEBSOCKET_PROTOCOL))
    };
    if offered.any(names_ours) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(WEBSOCKET_PROTOCOL));
        return Ok(response);
    }
    let mut refusal =
        ErrorResponse::new(Some(format!("this server speaks the subprotocol {WEBSOCKET_PROTOCOL}\n")));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

struct WebSocketLink<S> {
    socket: WebSocketStream<S>,
    /// The frames of the message that is being read.
    frames: frame::Split,
    frame_limit: usize,
    /// Whether something was written that is not flushed yet.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketLink<S> {
    fn new(socket: WebSocketStream<S>) -> Self {
        let frames = frame::split(Bytes::new(), 0);
        Self { socket, frames, frame_limit: MAX_HELLO_BYTES, unflushed: false }
    }

    /// The next binary message becomes `frames`; false when the device has closed.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, LinkError>> {
        loop {
            match ready!(pin!(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(message))) => {
                    self.frames = frame::split(message, self.frame_limit);
                    return Poll::Ready(Ok(true));
                }
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(LinkError::protocol(
                        "text messages are not part of the protocol",
                    )));
                }
                // The library answers pings and closes by itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Ok(false)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Link for WebSocketLink<S> {
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        loop {
            if let Some(frame) = self.frames.next() {
                return Poll::Ready(frame.map(Some).map_err(LinkError::from));
            }
            if !ready!(self.poll_message(context))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        batch: &mut VecDeque<Bytes>,
    ) -> Poll<Result<(), LinkError>> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            ready!(socket.as_mut().poll_ready(context))?;
            let Some(message) = next_message(batch) else { break };
            socket.as_mut().start_send(Message::Binary(message))?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(socket.poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn set_frame_limit(&mut self, bytes: usize) {
        self.frame_limit = bytes;
        self.frames.set_limit(bytes);
    }

    async fn close(mut self, close: Close) {
        let frame = CloseFrame {
            code: WebSocketCloseCode::from(close.code.code()),
            reason: fit_reason(&close.reason).into(),
        };
        // Reading on until the device closes too keeps the operating system from resetting the connection because of
        // unread bytes, which would destroy the close frame on its way.
        let goodbye = async {
            // After an error the library reads nothing more.
            let mut reads = !self.socket.is_terminated();
            self.socket.close(Some(frame)).await?;
            while let Some(message) = self.socket.next().await {
                reads &= message.is_ok();
            }
            self.socket.flush().await?;
            if !reads {
                drain(self.socket.get_mut()).await?;
            }
            Ok::<_, Error>(())
        };
        let _ = timeout(LINGER, goodbye).await;
    }
}

/// Says that nothing follows, and reads on until the device says so too.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await?;
    poll_fn(|context| {
        let mut bytes = [0; READ_BUFFER_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

/// Puts what waits together, up to [`WRITE_BYTES`], so that it costs one message and one write.
fn next_message(batch: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = batch.pop_front()?;
    let follows = |batch: &VecDeque<Bytes>, bytes: usize| {
        batch.front().is_some_and(|next| bytes + next.len() <= WRITE_BYTES)
    };
    if !follows(batch, first.len()) {
        return Some(first);
    }
    let mut message = BytesMut::with_capacity(WRITE_BYTES.min(first.len() + total(batch)));
    message.extend_from_slice(&first);
    while follows(batch, message.len()) {
        message.extend_from_slice(&batch.pop_front()?);
    }
    Some(message.freeze())
}

fn total(batch: &VecDeque<Bytes>) -> usize {
    batch.iter().map(Bytes::len).sum()
}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                frame::FrameError::TooLarge { bytes: size as u64, limit: max_size }.into()
            }
            Error::Protocol(error) => Self::protocol(error.to_string()),
            _ => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sizes: &[usize]) -> VecDeque<Bytes> {
        sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect()
    }

    #[test]
    fn what_waits_becomes_one_message_up_to_a_size() {
        let mut waiting = batch(&[10, 20, 30]);
        assert_eq!(next_message(&mut waiting).unwrap().len(), 60);
        assert_eq!(next_message(&mut waiting), None);

        let mut large = batch(&[WRITE_BYTES - 1, 1, 1]);
        assert_eq!(next_message(&mut large).unwrap().len(), WRITE_BYTES);
        assert_eq!(next_message(&mut large).unwrap().len(), 1);

        let mut larger = batch(&[WRITE_BYTES + 1, 1]);
        assert_eq!(next_message(&mut larger).unwrap().len(), WRITE_BYTES + 1);
    }
}
