//! The upgrade from HTTP to WebSocket (RFC 6455, section 4.2).

use std::io;

use im_proto::WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    self,
    error::ProtocolError,
    handshake::{
        machine::TryParse,
        server::{Request, Response, create_response, write_response},
    },
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
};

use super::http::{self, HttpResponse};
use crate::registry::admission::HandshakeMemory;

/// The maximum size of a request. Browsers send cookies along.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// The number of bytes read at once. A request is rarely larger.
const READ_BYTES: usize = 1024;

/// The ends of a request; the second is for people who type one by hand.
const ENDS: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];

/// The length of the longest end.
const END_BYTES: usize = 4;

/// The first byte of a TLS handshake (RFC 8446, section 5.1), and of no request.
const TLS_HANDSHAKE: u8 = 0x16;

/// An upgrade failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the request is larger than {MAX_REQUEST_BYTES} bytes")]
    TooLarge,
    #[error("connections that are not let in yet hold too much")]
    NoRoom,
    #[error("it is a TLS handshake")]
    Tls,
    #[error("it offers subprotocols, and {WEBSOCKET_PROTOCOL} is not among them")]
    Subprotocol,
    // Boxed, since the library's error is large.
    #[error("{0}")]
    Request(Box<tungstenite::Error>),
}

impl From<tungstenite::Error> for UpgradeError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Request(Box::new(error))
    }
}

/// Reads the request and responds. If it returns an error, the peer has its response.
pub(super) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    handshake_memory: &mut HandshakeMemory,
) -> Result<(), UpgradeError> {
    let read = read_head(stream, handshake_memory).await;
    // The request is freed before `Hello` comes.
    handshake_memory.release();
    let (head, refused) = match read {
        Ok(head) => match respond(&head) {
            Ok(answer) => {
                stream.write_all(&answer).await?;
                return Ok(stream.flush().await?);
            }
            Err(error) => (head, error),
        },
        Err(error) => (Vec::new(), error),
    };
    let answer = match &refused {
        UpgradeError::Io(_) | UpgradeError::NoRoom => return Err(refused),
        UpgradeError::TooLarge => HttpResponse::TooLarge,
        UpgradeError::Tls => HttpResponse::HasNoTls,
        UpgradeError::Subprotocol => HttpResponse::Subprotocol,
        UpgradeError::Request(error) => HttpResponse::to(&head, error),
    };
    http::respond_and_close(stream, &answer.encode(&head)).await;
    Err(refused)
}

/// Responds to plain HTTP on a port with TLS.
pub(super) async fn ask_for_tls<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    handshake_memory: &mut HandshakeMemory,
) {
    let head = read_head(stream, handshake_memory).await.unwrap_or_default();
    http::respond_and_close(stream, &HttpResponse::NeedsTls.encode(&head)).await;
}

/// Reads everything up to the end of the headers.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    handshake_memory: &mut HandshakeMemory,
) -> Result<Vec<u8>, UpgradeError> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        // Reserves no more than needed: a client could otherwise make the buffer grow at no cost.
        bytes.reserve_exact(READ_BYTES);
        if !handshake_memory.try_hold(bytes.capacity()) {
            return Err(UpgradeError::NoRoom);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // First, since the random bytes of a TLS handshake may look like an end.
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(UpgradeError::Tls);
        }
        // Only new bytes are searched for the end. The request is parsed once, and not after every byte that arrives.
        let news = &bytes[before.saturating_sub(END_BYTES - 1)..];
        if ENDS.iter().any(|end| news.windows(end.len()).any(|window| window == *end)) {
            return Ok(bytes);
        }
        if bytes.len() >= MAX_REQUEST_BYTES {
            return Err(UpgradeError::TooLarge);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Request, UpgradeError> {
    match Request::try_parse(bytes)? {
        Some((size, request)) if size == bytes.len() => Ok(request),
        // A device sends nothing before it has the response.
        _ => Err(tungstenite::Error::Protocol(ProtocolError::JunkAfterRequest).into()),
    }
}

/// Encodes the response to a good request.
fn respond(head: &[u8]) -> Result<Vec<u8>, UpgradeError> {
    let request = parse(head)?;
    let mut response = create_response(&request)?;
    if !negotiate(&request, &mut response) {
        return Err(UpgradeError::Subprotocol);
    }
    let mut answer = Vec::with_capacity(READ_BYTES);
    write_response(&mut answer, &response)?;
    Ok(answer)
}

/// Negotiates the subprotocol. A device that offers subprotocols must offer ours. One that offers none is taken to mean ours.
fn negotiate(request: &Request, response: &mut Response) -> bool {
    let mut offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().peekable();
    if offered.peek().is_none() {
        return true;
    }
    let names_ours = |value: &HeaderValue| {
        value.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == WEBSOCKET_PROTOCOL))
    };
    let is_offered = offered.any(names_ours);
    if is_offered {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(WEBSOCKET_PROTOCOL));
    }
    is_offered
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn handshake_memory() -> HandshakeMemory {
        let limits = crate::config::Limits::default();
        std::sync::Arc::new(crate::registry::admission::Admission::new(&limits)).handshake_memory()
    }

    /// Returns the response to a device that sends the request in pieces of this size.
    async fn answer(request: String, size: usize) -> (String, Result<(), UpgradeError>) {
        let (mut device, mut server) = tokio::io::duplex(size);
        let upgraded = tokio::spawn(async move { upgrade(&mut server, &mut handshake_memory()).await });
        let mut answer = String::new();
        // The server may have closed the connection.
        let _ = device.write_all(request.as_bytes()).await;
        let _ = device.shutdown().await;
        device.read_to_string(&mut answer).await.unwrap();
        (answer, upgraded.await.unwrap())
    }

    #[tokio::test]
    async fn a_request_is_accepted_however_it_comes() {
        for size in [1, 7, 4096] {
            let (answer, upgraded) = answer(format!("{REQUEST}\r\n"), size).await;
            upgraded.unwrap();
            assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
            // The example of RFC 6455, section 1.3.
            assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        }
    }

    #[tokio::test]
    async fn our_subprotocol_is_named_or_none_is() {
        let offer = |names: &str| format!("{REQUEST}Sec-WebSocket-Protocol: {names}\r\n\r\n");
        let (accepted, upgraded) = answer(offer(&format!("chat, {WEBSOCKET_PROTOCOL}")), 4096).await;
        upgraded.unwrap();
        assert!(accepted.to_lowercase().contains(&format!("sec-websocket-protocol: {WEBSOCKET_PROTOCOL}")));
        let (refused, upgraded) = answer(offer("chat"), 4096).await;
        assert!(matches!(upgraded, Err(UpgradeError::Subprotocol)));
        assert!(refused.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        let (told, junk) = answer(format!("{REQUEST}\r\njunk"), 4096).await;
        assert!(matches!(junk, Err(UpgradeError::Request(_))) && told.starts_with("HTTP/1.1 400 "), "{told}");
        let (told, post) = answer(format!("{REQUEST}\r\nbody").replace("GET", "POST"), 4096).await;
        assert!(matches!(post, Err(UpgradeError::Request(_))) && told.starts_with("HTTP/1.1 405 "), "{told}");
        let (told, endless) = answer("a".repeat(MAX_REQUEST_BYTES), 4096).await;
        assert!(
            matches!(endless, Err(UpgradeError::TooLarge)) && told.starts_with("HTTP/1.1 431 "),
            "{told}"
        );
        let (_, part) = answer(REQUEST.to_owned(), 4096).await;
        assert!(matches!(part, Err(UpgradeError::Io(_))));
    }

    #[tokio::test]
    async fn an_ordinary_request_is_told_to_upgrade() {
        let version = REQUEST.replace("Version: 13", "Version: 8");
        for request in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET /health HTTP/1.0\r\n\r\n".to_owned(),
            "GET / HTTP/1.0\n\n".to_owned(),
            "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            format!("{version}\r\n"),
        ] {
            for size in [1, 4096] {
                let (told, refused) = answer(request.clone(), size).await;
                assert!(matches!(refused, Err(UpgradeError::Request(_))), "{request}");
                assert!(told.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{told}");
                for header in
                    ["Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Version: 13"]
                {
                    assert!(told.lines().any(|line| line == header), "{header} in {told}");
                }
            }
        }
        let (told, refused) = answer(format!("{}\r\n", REQUEST.replace("Key", "Lock")), 4096).await;
        assert!(
            matches!(refused, Err(UpgradeError::Request(_))) && told.starts_with("HTTP/1.1 400 "),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_tls_handshake_is_not_waited_for() {
        let (mut device, mut server) = tokio::io::duplex(4096);
        device.write_all(b"\x16\x03\x01\x02\x00\x01 random \n\n").await.unwrap();
        // The device sends nothing more and closes nothing.
        let upgraded = tokio::spawn(async move { upgrade(&mut server, &mut handshake_memory()).await });
        let mut told = String::new();
        device.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("no TLS"), "{told}");
        drop(device);
        assert!(matches!(upgraded.await.unwrap(), Err(UpgradeError::Tls)));
    }
}
