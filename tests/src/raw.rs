//! A connection that sends arbitrary bytes and receives frames and close codes.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use im_proto::{ALPN, close::CloseCode, frame, limits::MAX_FRAME_BYTES, pb, pb::frame::Body};
use quinn::{ConnectionError, ReadError, crypto::rustls::QuicClientConfig};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::stack::{Certificate, PATIENCE, Stack, Via, token};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection without a client.
#[derive(Debug)]
pub enum Raw {
    /// A WebSocket.
    WebSocket {
        /// The connection.
        socket: Box<Socket>,
        /// Frames of the last message that were not returned yet.
        frames: frame::Split,
    },
    /// A QUIC connection.
    Quic {
        /// Drives the connection.
        endpoint: quinn::Endpoint,
        /// The connection.
        connection: quinn::Connection,
        /// The sending half of the stream.
        send: quinn::SendStream,
        /// The receiving half of the stream.
        receive: quinn::RecvStream,
        /// Bytes received that are not a whole frame yet.
        buffer: BytesMut,
    },
}

/// A frame or a close code that a [`Raw`] receives.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "tests match on frames, and hold few of them")]
pub enum Heard {
    /// A frame.
    Frame(Body),
    /// The close of the connection, with its code.
    Closed(CloseCode),
}

impl Raw {
    /// Connects to a server of a stack.
    pub async fn connect(stack: &Stack, server: usize, via: Via) -> Self {
        let endpoint = stack.servers[server].endpoint(via);
        match via {
            Via::WebSocket => Self::websocket(&endpoint).await,
            Via::Quic => Self::quic(&endpoint, &stack.certificate).await.expect("a connection"),
        }
    }

    /// Connects to a `ws://` address.
    pub async fn websocket(endpoint: &str) -> Self {
        let mut request = endpoint.into_client_request().expect("an address");
        let protocol = im_proto::WEBSOCKET_PROTOCOL.parse().expect("a header value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        // Small buffers, since some tests open thousands.
        let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
        let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        let (socket, _) = timeout(PATIENCE, connecting).await.expect("in time").expect("a WebSocket");
        Self::WebSocket { socket: Box::new(socket), frames: frame::split(Bytes::new(), 0) }
    }

    /// Connects to a `quic://` address.
    ///
    /// # Errors
    /// Returns an error if the server refuses the connection.
    pub async fn quic(endpoint: &str, certificate: &Certificate) -> Result<Self, ConnectionError> {
        let address: SocketAddr =
            endpoint.strip_prefix("quic://").and_then(|address| address.parse().ok()).expect("an address");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der()).expect("the certificate is valid");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
        let local = endpoint_address();
        let endpoint = quinn::Endpoint::client(local).expect("a UDP socket");
        let connecting = endpoint.connect_with(config, address, "localhost").expect("a valid address");
        let connection = timeout(PATIENCE, connecting).await.expect("in time")?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Self::Quic { endpoint, connection, send, receive, buffer: BytesMut::new() })
    }

    /// Sends bytes as one WebSocket message, or on the QUIC stream.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        // The server may have closed already; its frames can still be received.
        match self {
            Self::WebSocket { socket, .. } => drop(socket.send(Message::Binary(bytes.into())).await),
            Self::Quic { send, .. } => drop(send.write_all(&bytes.into()).await),
        }
    }

    /// Sends a frame.
    pub async fn send_frame(&mut self, body: Body) {
        self.send(frame::encode(body)).await;
    }

    /// Sends `Hello` with a token.
    pub async fn hello(&mut self, token: String) {
        self.send_frame(hello(token)).await;
    }

    /// Sends `Hello` for a user and waits for `Welcome`.
    pub async fn log_in(&mut self, user: &str) -> pb::Welcome {
        self.hello(token(user)).await;
        match self.heard().await {
            Heard::Frame(Body::Welcome(welcome)) => welcome,
            other => panic!("Welcome expected: {other:?}"),
        }
    }

    /// Sends `Hello` for a user with cursors and waits for `Welcome`.
    pub async fn log_in_with(&mut self, user: &str, cursors: Vec<pb::Cursor>) {
        let Body::Hello(mut hello) = hello(token(user)) else { unreachable!("it is a Hello") };
        hello.cursors = cursors;
        self.send_frame(Body::Hello(hello)).await;
        let heard = self.heard().await;
        assert!(matches!(heard, Heard::Frame(Body::Welcome(_))), "Welcome expected: {heard:?}");
    }

    /// Waits for the next frame, or the close.
    pub async fn heard(&mut self) -> Heard {
        timeout(PATIENCE, self.next()).await.expect("the server says something in time")
    }

    /// Waits for the close and returns its code.
    pub async fn closed(&mut self) -> CloseCode {
        loop {
            if let Heard::Closed(code) = self.heard().await {
                return code;
            }
        }
    }

    async fn next(&mut self) -> Heard {
        match self {
            Self::WebSocket { socket, frames } => next_websocket(socket, frames).await,
            Self::Quic { connection, receive, buffer, .. } => next_quic(connection, receive, buffer).await,
        }
    }
}

/// Returns a `Hello` of a browser.
pub fn hello(token: String) -> Body {
    let device = pb::Device { terminal: pb::Terminal::Web.into(), id: "raw".into() };
    Body::Hello(pb::Hello {
        min_version: 1,
        max_version: 1,
        token,
        device: Some(device),
        client: "raw/1".into(),
        cursors: Vec::new(),
        resumes: false,
    })
}

fn endpoint_address() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn next_websocket(socket: &mut Socket, frames: &mut frame::Split) -> Heard {
    loop {
        if let Some(frame) = frames.next() {
            return heard_frame(frame.expect("a whole frame"));
        }
        match socket.next().await {
            Some(Ok(Message::Binary(message))) => *frames = frame::split(message, MAX_FRAME_BYTES),
            Some(Ok(Message::Close(close))) => {
                // Reading on completes the close handshake.
                while socket.next().await.is_some() {}
                return Heard::Closed(
                    close.map_or(CloseCode::Unknown(0), |close| u16::from(close.code).into()),
                );
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Heard::Closed(CloseCode::Unknown(0)),
        }
    }
}

async fn next_quic(
    connection: &quinn::Connection,
    receive: &mut quinn::RecvStream,
    buffer: &mut BytesMut,
) -> Heard {
    loop {
        if let Some(frame) = frame::take(buffer, MAX_FRAME_BYTES).expect("the server keeps to the protocol") {
            return heard_frame(frame);
        }
        match receive.read_chunk(64 * 1024, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Err(ReadError::ConnectionLost(error)) => return Heard::Closed(close_code(&error)),
            Ok(None) => {
                assert!(buffer.is_empty(), "the server's stream ends in the middle of a frame");
                return Heard::Closed(close_code(&connection.closed().await));
            }
            Err(_) => return Heard::Closed(close_code(&connection.closed().await)),
        }
    }
}

fn close_code(error: &ConnectionError) -> CloseCode {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            u16::try_from(close.error_code.into_inner()).map_or(CloseCode::Unknown(0), CloseCode::from)
        }
        _ => CloseCode::Unknown(0),
    }
}

fn heard_frame(frame: Bytes) -> Heard {
    Heard::Frame(frame::decode(frame).expect("a valid frame").expect("a known frame"))
}
