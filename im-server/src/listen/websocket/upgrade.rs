//! From HTTP to WebSocket (RFC 6455, section 4.2).

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
    http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
};

/// The largest request: browsers send cookies along.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// What is read at once. A request is rarely larger.
const READ_BYTES: usize = 1024;

/// How a request ends.
const END: &[u8] = b"\r\n\r\n";

/// No WebSocket came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the request is larger than {MAX_REQUEST_BYTES} bytes")]
    TooLarge,
    #[error("it offers subprotocols, and {WEBSOCKET_PROTOCOL} is not among them")]
    Subprotocol,
    // Boxed: the library's error is large.
    #[error("{0}")]
    Request(Box<tungstenite::Error>),
}

impl From<tungstenite::Error> for UpgradeError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Request(Box::new(error))
    }
}

/// Reads the request and answers it.
pub(super) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), UpgradeError> {
    let request = read_request(stream).await?;
    let mut answer = Vec::with_capacity(READ_BYTES);
    let accepted = respond(&request, &mut answer);
    stream.write_all(&answer).await?;
    stream.flush().await?;
    accepted
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Request, UpgradeError> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let before = bytes.len();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // Parsed once and not after every byte that a device sends.
        let news = &bytes[before.saturating_sub(END.len() - 1)..];
        if news.windows(END.len()).any(|window| window == END) {
            return parse(&bytes);
        }
        if bytes.len() >= MAX_REQUEST_BYTES {
            return Err(UpgradeError::TooLarge);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Request, UpgradeError> {
    match Request::try_parse(bytes)? {
        Some((size, request)) if size == bytes.len() => Ok(request),
        // A device sends nothing before it has the answer.
        _ => Err(tungstenite::Error::Protocol(ProtocolError::JunkAfterRequest).into()),
    }
}

/// Writes the answer, which may be a refusal.
fn respond(request: &Request, answer: &mut Vec<u8>) -> Result<(), UpgradeError> {
    let mut response = create_response(request)?;
    if negotiate(request, &mut response) {
        return Ok(write_response(answer, &response)?);
    }
    let mut refusal = Response::new(());
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    write_response(&mut *answer, &refusal)?;
    answer.extend_from_slice(format!("this server speaks the subprotocol {WEBSOCKET_PROTOCOL}\n").as_bytes());
    Err(UpgradeError::Subprotocol)
}

/// A device that names subprotocols must name ours; one that names none is taken to mean it.
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

    /// What a device gets that sends this in pieces of a size.
    async fn answer(request: String, size: usize) -> (String, Result<(), UpgradeError>) {
        let (mut device, mut server) = tokio::io::duplex(size);
        let upgraded = tokio::spawn(async move { upgrade(&mut server).await });
        let mut answer = String::new();
        // The server may have turned away.
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
        let (_, junk) = answer(format!("{REQUEST}\r\njunk"), 4096).await;
        assert!(matches!(junk, Err(UpgradeError::Request(_))));
        let (_, post) = answer(format!("{REQUEST}\r\n").replace("GET", "POST"), 4096).await;
        assert!(matches!(post, Err(UpgradeError::Request(_))));
        let (_, endless) = answer("a".repeat(MAX_REQUEST_BYTES), 4096).await;
        assert!(matches!(endless, Err(UpgradeError::TooLarge)));
        let (_, part) = answer(REQUEST.to_owned(), 4096).await;
        assert!(matches!(part, Err(UpgradeError::Io(_))));
    }
}
