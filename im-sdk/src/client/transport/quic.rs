//! QUIC: one bidirectional stream, opened by the device, carries the frames both ways.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use quinn::{
    ClientConfig, Connection, ConnectionError, ReadError, RecvStream, SendStream, TransportConfig,
    WriteError, crypto::rustls::QuicClientConfig,
};

use super::{ConnectError, Kind, Link, Writer as AnyWriter, resolve, stagger::stagger};
use crate::{
    Endpoint,
    client::core::{ConnectionEnd, MAX_RECEIVED_FRAME_BYTES},
    proto::{
        ALPN,
        close::{CloseCode, fit_reason},
        frame,
    },
};

/// Returns the configuration of QUIC connections.
pub(super) fn config(mut tls: rustls::ClientConfig) -> Result<ClientConfig, rustls::Error> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    let mut transport = TransportConfig::default();
    // The core's heartbeat finds dead connections; the server may still set an idle timeout of its own.
    transport.max_idle_timeout(None).keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_concurrent_bidi_streams(0_u8.into()).max_concurrent_uni_streams(0_u8.into());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Connects to the first address that answers.
pub(super) async fn connect(endpoint: &Endpoint, config: &ClientConfig) -> Result<Link, ConnectError> {
    let addresses = resolve::resolve(endpoint).await?;
    let attempt = |address| Box::pin(connect_to(address, endpoint.host(), config));
    let attempts = addresses.into_iter().map(|address| (resolve::ADDRESS_DELAY, attempt(address)));
    stagger(attempts, resolve::MAX_ADDRESSES).await.map_err(resolve::last_error)
}

async fn connect_to(address: SocketAddr, host: &str, config: &ClientConfig) -> Result<Link, ConnectError> {
    let socket = quinn::Endpoint::client(any_port(address))?;
    let connection = socket.connect_with(config.clone(), address, host)?.await?;
    let (send, receive) = connection.open_bi().await?;
    let reader = Reader { connection: connection.clone(), receive, buffer: BytesMut::new(), finished: false };
    let writer = Writer { socket, connection, send };
    Ok(Link { reader: super::Reader::Quic(Box::new(reader)), writer: AnyWriter::new(Kind::Quic(writer)) })
}

fn any_port(address: SocketAddr) -> SocketAddr {
    let any: IpAddr =
        if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0)
}

/// The receiving half.
pub(crate) struct Reader {
    connection: Connection,
    receive: RecvStream,
    buffer: BytesMut,
    /// Set once the server has finished the stream.
    finished: bool,
}

impl Reader {
    /// Reads the next frame. Cancel-safe: bytes that were read stay in the buffer.
    pub(super) async fn next(&mut self) -> Result<Bytes, ConnectionEnd> {
        loop {
            let frame = frame::take(&mut self.buffer, MAX_RECEIVED_FRAME_BYTES);
            if let Some(frame) = frame.map_err(|error| ConnectionEnd::Protocol(error.to_string()))? {
                return Ok(frame);
            }
            if self.finished {
                return Err(self.close_code().await);
            }
            match self.receive.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(ReadError::Reset(_)) => self.finished = true,
                Err(ReadError::ConnectionLost(error)) => return Err(ended(error)),
                Err(error) => return Err(ConnectionEnd::Broken(error.to_string())),
            }
        }
    }

    /// Waits for the close code. A server that has finished the stream is about to close the connection with
    /// it.
    async fn close_code(&self) -> ConnectionEnd {
        match tokio::time::timeout(CLOSE_CODE_WAIT, self.connection.closed()).await {
            Ok(error) => ended(error),
            Err(_) => {
                ConnectionEnd::Closed { code: None, reason: "the server finished its stream".to_owned() }
            }
        }
    }
}

/// The sending half. It holds the socket, which has to live as long as the connection.
pub(crate) struct Writer {
    socket: quinn::Endpoint,
    connection: Connection,
    send: SendStream,
}

impl Writer {
    /// Writes `pending`. Cancel-safe: bytes that were written are taken off it.
    pub(super) async fn flush(&mut self, pending: &mut BytesMut) -> Result<(), ConnectionEnd> {
        while !pending.is_empty() {
            match self.send.write(pending).await {
                Ok(written) => pending.advance(written),
                Err(WriteError::ConnectionLost(error)) => return Err(ended(error)),
                Err(error) => return Err(ConnectionEnd::Broken(error.to_string())),
            }
        }
        Ok(())
    }

    /// Waits until the server has received everything, since closing discards data in flight.
    pub(super) async fn finish(&mut self, mut pending: BytesMut) {
        if self.flush(&mut pending).await.is_ok() && self.send.finish().is_ok() {
            _ = self.send.stopped().await;
        }
    }

    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        self.connection.close(u32::from(code.code()).into(), fit_reason(reason).as_bytes());
    }

    pub(super) async fn wait_closed(&self) {
        self.socket.wait_idle().await;
    }
}

fn ended(error: ConnectionError) -> ConnectionEnd {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u16::try_from(close.error_code.into_inner()).ok().map(CloseCode::from);
            ConnectionEnd::Closed { code, reason: String::from_utf8_lossy(&close.reason).into_owned() }
        }
        other => ConnectionEnd::Broken(other.to_string()),
    }
}

/// The interval of keep-alive packets. Routers forget a UDP flow after as little as 30 s of silence, and with
/// it the path of pushes.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The most bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// The time to wait for the close code after the stream's end.
const CLOSE_CODE_WAIT: Duration = Duration::from_secs(1);
