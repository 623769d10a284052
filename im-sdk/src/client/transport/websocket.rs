//! WebSocket: each binary message holds one or more whole frames.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Sink, SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, ClientRequestBuilder, Message,
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use tokio_util::either::Either;

use super::{ConnectError, Kind, Link, Writer as AnyWriter, resolve, stagger::stagger};
use crate::{
    Endpoint,
    client::core::{ConnectionEnd, MAX_RECEIVED_FRAME_BYTES},
    proto::{
        WEBSOCKET_PROTOCOL,
        close::{CloseCode, fit_reason},
        frame,
    },
};

type Socket = WebSocketStream<Either<TcpStream, TlsStream<TcpStream>>>;

/// Returns the configuration of TLS connections.
pub(super) fn config(mut tls: rustls::ClientConfig) -> Arc<rustls::ClientConfig> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

/// Connects to the first address that answers, and does the handshake.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Link, ConnectError> {
    let addresses = resolve::resolve(endpoint).await?;
    let attempt = |address| Box::pin(async move { Ok(TcpStream::connect(address).await?) });
    let attempts = addresses.into_iter().map(|address| (resolve::ADDRESS_DELAY, attempt(address)));
    let tcp = stagger(attempts, resolve::MAX_ADDRESSES).await.map_err(resolve::last_error)?;
    // Every write is a whole batch, so waiting for more data only delays it.
    tcp.set_nodelay(true)?;
    let request =
        ClientRequestBuilder::new(endpoint.to_string().parse()?).with_sub_protocol(WEBSOCKET_PROTOCOL);
    let stream = protect(tcp, endpoint, tls).await?;
    let upgrading = client_async_with_config(request, stream, Some(socket_config()));
    let (socket, _) = upgrading.await.map_err(not_upgraded)?;
    Ok(split(socket))
}

async fn protect(
    tcp: TcpStream,
    endpoint: &Endpoint,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Either<TcpStream, TlsStream<TcpStream>>, ConnectError> {
    if !endpoint.is_encrypted() {
        return Ok(Either::Left(tcp));
    }
    let name = ServerName::try_from(endpoint.host().to_owned())?;
    let encrypted = TlsConnector::from(tls.clone()).connect(name, tcp).await;
    Ok(Either::Right(encrypted.map_err(not_encrypted)?))
}

fn not_encrypted(error: io::Error) -> ConnectError {
    use rustls::{Error::InvalidMessage, InvalidMessage::InvalidContentType};
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(InvalidMessage(InvalidContentType)) => ConnectError::NoTls,
        _ => error.into(),
    }
}

/// Returns the error of a server, or of a proxy in front of it, that does not upgrade: its status, and the beginning of its
/// text.
fn not_upgraded(error: tungstenite::Error) -> ConnectError {
    let tungstenite::Error::Http(answer) = error else { return error.into() };
    let text = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
    let mut said: String = text.trim().chars().filter(|char| !char.is_control()).take(SAID_CHARS).collect();
    if said.is_empty() {
        "check its host, port and path".clone_into(&mut said);
    }
    ConnectError::Answer { status: answer.status().as_u16(), said }
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

fn split(socket: Socket) -> Link {
    let (sink, stream) = socket.split();
    let reader = Reader { stream, frames: frame::split(Bytes::new(), MAX_RECEIVED_FRAME_BYTES) };
    let writer = Writer { sink, flushing: false };
    Link {
        reader: super::Reader::WebSocket(Box::new(reader)),
        writer: AnyWriter::new(Kind::WebSocket(Box::new(writer))),
    }
}

/// The receiving half.
pub(crate) struct Reader {
    stream: SplitStream<Socket>,
    /// The unread rest of the last message.
    frames: frame::Split,
}

impl Reader {
    /// Reads the next frame. Cancel-safe: so is its only await, whose result is kept.
    pub(super) async fn next(&mut self) -> Result<Bytes, ConnectionEnd> {
        loop {
            if let Some(frame) = self.frames.next() {
                return frame.map_err(|error| ConnectionEnd::Protocol(error.to_string()));
            }
            match self.stream.next().await {
                Some(Ok(Message::Binary(message))) => {
                    self.frames = frame::split(message, MAX_RECEIVED_FRAME_BYTES)
                }
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(Message::Text(_))) => {
                    return Err(ConnectionEnd::Protocol("a text message came".to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ended(error)),
                None => return Err(closed(None)),
            }
        }
    }
}

/// The sending half.
pub(crate) struct Writer {
    sink: SplitSink<Socket, Message>,
    /// Set while a message was handed over and is not written out.
    flushing: bool,
}

impl Writer {
    pub(super) fn is_flushing(&self) -> bool {
        self.flushing
    }

    /// Writes `pending` as one message. Cancel-safe: a message that was begun continues with the next call.
    pub(super) async fn flush(&mut self, pending: &mut BytesMut) -> Result<(), ConnectionEnd> {
        poll_fn(|context| self.poll_flush(pending, context)).await.map_err(ended)
    }

    /// Closes, and waits for the server's close. Otherwise the TCP connection could be reset and the last messages
    /// lost. After a close by the server, this sends the answer that RFC 6455 requires.
    pub(super) async fn close(
        mut self,
        mut reader: Reader,
        mut pending: BytesMut,
        code: CloseCode,
        reason: &str,
    ) {
        if self.flush(&mut pending).await.is_err() {
            return;
        }
        let close = CloseFrame { code: code.code().into(), reason: fit_reason(reason).into() };
        _ = self.sink.send(Message::Close(Some(close))).await;
        while let Some(Ok(message)) = reader.stream.next().await
            && !message.is_close()
        {}
    }

    fn poll_flush(
        &mut self,
        pending: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), tungstenite::Error>> {
        let mut sink = Pin::new(&mut self.sink);
        if !pending.is_empty() {
            ready!(sink.as_mut().poll_ready(context))?;
            sink.as_mut().start_send(Message::Binary(pending.split().freeze()))?;
            self.flushing = true;
        }
        ready!(sink.poll_flush(context))?;
        self.flushing = false;
        Poll::Ready(Ok(()))
    }
}

fn closed(frame: Option<CloseFrame>) -> ConnectionEnd {
    let code = frame.as_ref().map(|frame| CloseCode::from(u16::from(frame.code)));
    let reason = frame.map_or_else(|| "the server hung up".to_owned(), |frame| frame.reason.to_string());
    ConnectionEnd::Closed { code, reason }
}

fn ended(error: tungstenite::Error) -> ConnectionEnd {
    match error {
        tungstenite::Error::Capacity(error) => ConnectionEnd::Protocol(error.to_string()),
        other => ConnectionEnd::Broken(other.to_string()),
    }
}

/// The most characters of a server's own text that are shown.
const SAID_CHARS: usize = 200;

/// The buffer of each direction. A device's messages are small and few.
const BUFFER_BYTES: usize = 4 * 1024;

/// The largest message: many frames that a server sent together.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
