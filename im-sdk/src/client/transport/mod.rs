//! Connections, which carry frames and do not know their meaning.

mod quic;
mod race;
mod resolve;
mod stagger;
mod websocket;

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

pub(super) use self::race::{Connector, RaceWinner};
use super::{core::ConnectionEnd, error::with_causes};
use crate::proto::close::CloseCode;

/// An established connection. Its halves work at the same time: a blocked write does not stop reading.
pub(super) struct Link {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

impl Link {
    /// Sends the queued frames, then closes, with the reason for the server. Takes at most [`CLOSE_TIMEOUT`].
    pub(super) async fn close(self, code: CloseCode, reason: String) {
        let Self { reader, writer } = self;
        match (reader, writer.kind) {
            (Reader::Quic(_), Kind::Quic(mut quic)) => {
                _ = tokio::time::timeout(CLOSE_TIMEOUT, quic.finish(writer.pending)).await;
                quic.close(code, &reason);
                _ = tokio::time::timeout(CLOSE_TIMEOUT, quic.wait_closed()).await;
            }
            (Reader::WebSocket(reader), Kind::WebSocket(websocket)) => {
                let close = websocket.close(*reader, writer.pending, code, &reason);
                _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
            }
            _ => {}
        }
    }
}

/// The receiving half.
pub(super) enum Reader {
    Quic(Box<quic::Reader>),
    WebSocket(Box<websocket::Reader>),
}

impl Reader {
    /// Reads the next frame, without its length. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Bytes, ConnectionEnd> {
        match self {
            Self::Quic(reader) => reader.next().await,
            Self::WebSocket(reader) => reader.next().await,
        }
    }
}

/// The sending half. Frames are queued, and written together.
pub(super) struct Writer {
    kind: Kind,
    pending: BytesMut,
    failed: Option<FailedWrite>,
}

/// A failed write. The server may have given a reason before it closed the connection, which may still be
/// unread.
struct FailedWrite {
    ended: ConnectionEnd,
    read_until: Instant,
}

enum Kind {
    Quic(quic::Writer),
    WebSocket(Box<websocket::Writer>),
}

impl Writer {
    fn new(kind: Kind) -> Self {
        Self { kind, pending: BytesMut::new(), failed: None }
    }

    /// Returns `true` if another frame should be queued.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < WRITE_BUFFER_BYTES
    }

    pub(super) fn queue(&mut self, frame: &[u8]) {
        self.pending.extend_from_slice(frame);
    }

    /// Returns `true` if nothing is left to write.
    pub(super) fn is_idle(&self) -> bool {
        let flushing = matches!(&self.kind, Kind::WebSocket(writer) if writer.is_flushing());
        self.pending.is_empty() && !flushing && self.failed.is_none()
    }

    /// Writes the queued frames. Cancel-safe. Reports a failure a little later, so that a reason from the server is read
    /// first.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        if self.failed.is_none() {
            let Err(ended) = self.write().await else { return Ok(()) };
            self.failed = Some(FailedWrite { ended, read_until: Instant::now() + LAST_WORDS });
        }
        let Some(failed) = &self.failed else { return Ok(()) };
        tokio::time::sleep_until(failed.read_until).await;
        Err(failed.ended.clone())
    }

    async fn write(&mut self) -> Result<(), ConnectionEnd> {
        match &mut self.kind {
            Kind::Quic(writer) => writer.flush(&mut self.pending).await,
            Kind::WebSocket(writer) => writer.flush(&mut self.pending).await,
        }
    }
}

/// An endpoint could not be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the host cannot be resolved: check its name and the network")]
    Resolve(#[source] io::Error),
    #[error("the host has no address")]
    NoAddress,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the host is not a name that TLS knows")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
    #[error(transparent)]
    QuicStart(#[from] quinn::ConnectError),
    #[error(transparent)]
    Quic(#[from] quinn::ConnectionError),
    #[error(transparent)]
    WebSocket(#[from] tungstenite::Error),
    #[error("the server does not speak TLS: use ws:// instead of wss://, or set its certificate up")]
    NoTls,
    #[error("the endpoint answered with HTTP status {status}, not as an im-server: {said}")]
    Answer { status: u16, said: String },
    #[error("the endpoint is not a URL")]
    Uri(#[from] tungstenite::http::uri::InvalidUri),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl ConnectError {
    /// Returns the text with its causes, and with advice for an unknown certificate.
    fn describe(&self) -> String {
        let text = with_causes(self);
        if text.contains("UnknownIssuer") { format!("{text}: {TRUST_HINT}") } else { text }
    }
}

const TRUST_HINT: &str = "no authority of ClientConfig::trust has signed the server's certificate; pin a self-signed one with \
     Trust::sha256_hex, to the fingerprint that the server logs";

/// The time that closing may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which reading goes on after a write has failed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The bytes that are queued for one write. Further frames wait in the core, in order and with their time limits.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
