//! Servers that do what a test tells them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use im_proto::{ALPN, WEBSOCKET_PROTOCOL, frame, pb};
use im_sdk::{
    client::{CloseCode, Trust},
    content::Content,
    limits,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};
use tokio_util::either::Either;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for `localhost` and `127.0.0.1`, and how to trust it.
pub(crate) struct Identity {
    config: ServerConfig,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        Self { config, certificate }
    }

    pub(crate) fn pin(&self) -> Trust {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        Trust::CertificateSha256(digest.as_ref().try_into().unwrap())
    }

    pub(crate) fn root(&self) -> Trust {
        Trust::Roots(vec![self.certificate.to_vec()])
    }
}

/// The URL that devices connect to.
pub(crate) enum Server {
    WebSocket(TcpListener, Option<TlsAcceptor>),
    Quic(quinn::Endpoint),
}

impl Server {
    pub(crate) async fn websocket() -> Self {
        Self::WebSocket(TcpListener::bind("127.0.0.1:0").await.unwrap(), None)
    }

    pub(crate) async fn secure_websocket(identity: &Identity) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(identity.config.clone()));
        Self::WebSocket(TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(acceptor))
    }

    pub(crate) fn quic(identity: &Identity) -> Self {
        let mut tls = identity.config.clone();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        Self::Quic(quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap())
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::WebSocket(_, None) => format!("ws://{}", self.address()),
            Self::WebSocket(_, Some(_)) => format!("wss://{}/chat", self.address()),
            Self::Quic(_) => format!("quic://{}", self.address()),
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::WebSocket(listener, _) => listener.local_addr().unwrap(),
            Self::Quic(endpoint) => endpoint.local_addr().unwrap(),
        }
    }

    /// The next connection, on which nothing has been said yet.
    pub(crate) async fn accept(&self) -> Peer {
        tokio::time::timeout(PATIENCE, self.accept_inner()).await.expect("a connection")
    }

    /// The next connection, after the welcome.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        assert!(matches!(peer.receive().await, pb::frame::Body::Hello(_)));
        peer.send(welcome(30_000)).await;
        peer
    }

    async fn accept_inner(&self) -> Peer {
        match self {
            Self::WebSocket(listener, tls) => {
                let (tcp, _) = listener.accept().await.unwrap();
                Peer::WebSocket(shake_hands(tcp, tls.as_ref()).await, frame::split(Bytes::new(), 0))
            }
            Self::Quic(endpoint) => {
                let connection = endpoint.accept().await.unwrap().await.unwrap();
                let (send, receive) = connection.accept_bi().await.unwrap();
                Peer::Quic(Quic { connection, send, receive, buffer: BytesMut::new() })
            }
        }
    }
}

type Socket = WebSocketStream<Either<TcpStream, TlsStream<TcpStream>>>;

#[allow(clippy::result_large_err)]
async fn shake_hands(tcp: TcpStream, tls: Option<&TlsAcceptor>) -> Box<Socket> {
    let choose = |request: &Request, mut response: Response| {
        assert_eq!(request.headers()["sec-websocket-protocol"], WEBSOCKET_PROTOCOL);
        response.headers_mut().insert("sec-websocket-protocol", WEBSOCKET_PROTOCOL.parse().unwrap());
        Ok(response)
    };
    let stream = match tls {
        None => Either::Left(tcp),
        Some(tls) => Either::Right(tls.accept(tcp).await.unwrap()),
    };
    Box::new(accept_hdr_async(stream, choose).await.unwrap())
}

/// A server's end of a connection.
pub(crate) enum Peer {
    WebSocket(Box<Socket>, frame::Split),
    Quic(Quic),
}

pub(crate) struct Quic {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
}

impl Peer {
    /// The next frame.
    pub(crate) async fn receive(&mut self) -> pb::frame::Body {
        let next = tokio::time::timeout(PATIENCE, self.try_receive()).await.expect("a frame in time");
        next.expect("a frame, not a close")
    }

    /// The next frame, or the code that the device closes with.
    pub(crate) async fn try_receive(&mut self) -> Result<pb::frame::Body, Option<CloseCode>> {
        let bytes = match self {
            Self::WebSocket(socket, frames) => loop {
                if let Some(bytes) = frames.next() {
                    break bytes.unwrap();
                }
                match socket.next().await {
                    Some(Ok(Message::Binary(message))) => {
                        *frames = frame::split(message, limits::MAX_FRAME_BYTES)
                    }
                    Some(Ok(Message::Close(close))) => {
                        // The answer goes out with the next read.
                        while let Some(Ok(_)) = socket.next().await {}
                        return Err(close.map(|close| u16::from(close.code).into()));
                    }
                    other => return Err(other.and(None)),
                }
            },
            Self::Quic(quic) => quic.receive().await?,
        };
        Ok(frame::decode(bytes).unwrap().unwrap())
    }

    pub(crate) async fn send(&mut self, body: pb::frame::Body) {
        self.send_bytes(frame::encode(body)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: Bytes) {
        match self {
            Self::WebSocket(socket, _) => socket.send(Message::Binary(bytes)).await.unwrap(),
            Self::Quic(quic) => quic.send.write_chunk(bytes).await.unwrap(),
        }
    }

    pub(crate) async fn close(self, code: CloseCode) {
        match self {
            Self::WebSocket(mut socket, _) => {
                let close = CloseFrame { code: code.code().into(), reason: "test".into() };
                socket.send(Message::Close(Some(close))).await.unwrap();
                while let Some(Ok(_)) = socket.next().await {}
            }
            Self::Quic(quic) => {
                quic.connection.close(u32::from(code.code()).into(), b"test");
                quic.connection.closed().await;
            }
        }
    }
}

impl Quic {
    async fn receive(&mut self) -> Result<Bytes, Option<CloseCode>> {
        loop {
            if let Some(bytes) = frame::take(&mut self.buffer, limits::MAX_FRAME_BYTES).unwrap() {
                return Ok(bytes);
            }
            match self.receive.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                _ => return Err(close_code(self.connection.closed().await)),
            }
        }
    }
}

fn close_code(error: quinn::ConnectionError) -> Option<CloseCode> {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            u16::try_from(close.error_code.into_inner()).ok().map(CloseCode::from)
        }
        _ => None,
    }
}

pub(crate) fn welcome(heartbeat_ms: u32) -> pb::frame::Body {
    let limits = Some(pb::Limits { max_frame_bytes: 64 * 1024, max_inflight_publishes: 1000 });
    let user = "alice".to_owned();
    pb::frame::Body::Welcome(pb::Welcome { version: 1, user, heartbeat_ms, limits, ..Default::default() })
}

pub(crate) fn push(id: u64, text: &str) -> pb::frame::Body {
    let content = Some(Content::text(text).into());
    let message =
        pb::Message { id, from: "bob".to_owned(), to: String::new(), content, ..Default::default() };
    pb::frame::Body::Push(pb::Push { message: Some(message), ..Default::default() })
}

pub(crate) fn accepted(number: u64) -> pb::frame::Body {
    let outcome = pb::Accepted { message_id: number, answer: Bytes::from_static(b"done") };
    let outcome = Some(pb::publish_result::Outcome::Accepted(outcome));
    pb::frame::Body::PublishResult(pb::PublishResult { number, outcome })
}
