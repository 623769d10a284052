//! HTTP responses to requests that do not upgrade to WebSocket. People try a port with a browser or `curl`, and load balancers
//! probe it. Nothing is served here, so every response ends the connection.

use im_proto::WEBSOCKET_PROTOCOL;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use crate::connection::LINGER;

/// The maximum number of bytes still read from a peer after the response. Closing while the peer sends could destroy the response.
const MAX_REST_BYTES: u64 = 64 * 1024;

/// A kind of response, with its own status, headers and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpResponse {
    /// The request asks for no upgrade to WebSocket; it may be meant for another port.
    UpgradeRequired,
    /// The upgrade has no valid key.
    BadUpgrade,
    BadRequest,
    Method,
    TooLarge,
    Version,
    /// A plain request came to a port with TLS.
    NeedsTls,
    /// A TLS handshake came to a port without TLS.
    HasNoTls,
    /// The request offers only unknown subprotocols.
    Subprotocol,
}

impl HttpResponse {
    /// Returns the response to a request that the library rejected with this error.
    pub(super) fn to(head: &[u8], error: &Error) -> Self {
        let Some((method, version)) = request_line(head) else { return Self::BadRequest };
        if !version.starts_with("HTTP/1.") {
            return Self::Version;
        }
        if !matches!(method, "GET" | "HEAD") {
            return Self::Method;
        }
        use ProtocolError::*;
        match error {
            Error::Protocol(
                WrongHttpMethod
                | WrongHttpVersion
                | MissingConnectionUpgradeHeader
                | MissingUpgradeWebSocketHeader
                | MissingSecWebSocketVersionHeader,
            ) => Self::UpgradeRequired,
            Error::Protocol(MissingSecWebSocketKey | InvalidSecWebSocketKey) => Self::BadUpgrade,
            _ => Self::BadRequest,
        }
    }

    fn parts(self) -> (&'static str, &'static str, String) {
        let devices = format!(
            "This port of an im-server is for devices: WebSocket (RFC 6455), subprotocol {WEBSOCKET_PROTOCOL}.\n"
        );
        // RFC 9110, section 15.5.22; RFC 6455, section 4.4.
        const UPGRADE: &str =
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n";
        const CLOSE: &str = "Connection: close\r\n";
        const ALLOW: &str = "Allow: GET, HEAD\r\nConnection: close\r\n";
        match self {
            Self::UpgradeRequired => ("426 Upgrade Required", UPGRADE, devices),
            Self::BadUpgrade => (
                "400 Bad Request",
                CLOSE,
                "Sec-WebSocket-Key is missing, or not 16 bytes in base64.\n".into(),
            ),
            Self::BadRequest => ("400 Bad Request", CLOSE, devices),
            Self::Method => ("405 Method Not Allowed", ALLOW, devices),
            Self::TooLarge => ("431 Request Header Fields Too Large", CLOSE, devices),
            Self::Version => ("505 HTTP Version Not Supported", CLOSE, devices),
            Self::NeedsTls => {
                let reason = "This port requires TLS: use wss:// or https:// instead of ws:// or http://.\n";
                ("400 Bad Request", CLOSE, reason.into())
            }
            Self::HasNoTls => {
                let reason = "This port has no TLS: use ws:// instead of wss://.\n";
                ("400 Bad Request", CLOSE, reason.into())
            }
            Self::Subprotocol => {
                let reason = format!("This server speaks the subprotocol {WEBSOCKET_PROTOCOL}.\n");
                ("400 Bad Request", CLOSE, reason)
            }
        }
    }

    /// Encodes the response to a request that begins with `head`.
    pub(super) fn encode(self, head: &[u8]) -> Vec<u8> {
        let (status, headers, text) = self.parts();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        if !head.starts_with(b"HEAD ") {
            answer.push_str(&text);
        }
        answer.into_bytes()
    }
}

/// Returns method and version, or `None` if this is no HTTP.
fn request_line(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (method, _target, version) = (words.next()?, words.next()?, words.next()?);
    (version.starts_with("HTTP/") && words.next().is_none()).then_some((method, version))
}

/// Writes a response, and gives the peer time to read it.
pub(super) async fn respond_and_close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) {
    let telling = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_REST_BYTES), &mut tokio::io::sink()).await
    };
    // Best effort: the connection ends anyway.
    let _ = timeout(LINGER, telling).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(head: &str) -> HttpResponse {
        HttpResponse::to(head.as_bytes(), &Error::Protocol(ProtocolError::MissingConnectionUpgradeHeader))
    }

    #[test]
    fn answers_fit_the_requests() {
        for (head, answer) in [
            ("GET / HTTP/1.1\r\n", HttpResponse::UpgradeRequired),
            ("GET /any/path?x=1 HTTP/1.0\r\n", HttpResponse::UpgradeRequired),
            ("HEAD / HTTP/1.1\r\n", HttpResponse::UpgradeRequired),
            ("POST / HTTP/1.1\r\n", HttpResponse::Method),
            ("OPTIONS * HTTP/1.1\r\n", HttpResponse::Method),
            ("PRI * HTTP/2.0\r\n", HttpResponse::Version),
            ("GET /\r\n", HttpResponse::BadRequest),
            ("EHLO example.com\r\n", HttpResponse::BadRequest),
            ("\u{0}\u{1}\r\n", HttpResponse::BadRequest),
            ("", HttpResponse::BadRequest),
        ] {
            assert_eq!(to(head), answer, "{head:?}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is_also_where_it_is_left_out() {
        let get = String::from_utf8(HttpResponse::UpgradeRequired.encode(b"GET / HTTP/1.1\r\n")).unwrap();
        let head = String::from_utf8(HttpResponse::UpgradeRequired.encode(b"HEAD / HTTP/1.1\r\n")).unwrap();
        let (headers, text) = get.split_once("\r\n\r\n").unwrap();
        assert!(headers.contains(&format!("Content-Length: {}", text.len())) && text.contains("WebSocket"));
        assert_eq!(head, format!("{headers}\r\n\r\n"));
    }
}
