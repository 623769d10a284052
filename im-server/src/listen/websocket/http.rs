//! What a request gets that is no upgrade to WebSocket: people try a port with a browser or `curl`, and load balancers ask
//! whether it is alive. Nothing is served here, so every answer ends the connection.

use im_proto::WEBSOCKET_PROTOCOL;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use crate::link::LINGER;

/// How much is still read of somebody who has his answer: closing in the middle of what he says could take it away from him.
const MAX_REST_BYTES: u64 = 64 * 1024;

/// A status, and headers and text of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request itself may be fine, on another port.
    UpgradeRequired,
    /// It wants to upgrade, and is not right.
    BadUpgrade,
    BadRequest,
    Method,
    TooLarge,
    Version,
    /// It came to a port with TLS.
    NeedsTls,
    /// It was a TLS handshake.
    HasNoTls,
    /// It names other subprotocols.
    Subprotocol,
}

impl Answer {
    /// What fits to a request of which the library says this.
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
                let reason = "This port speaks TLS alone: wss:// or https:// instead of ws:// or http://.\n";
                ("400 Bad Request", CLOSE, reason.into())
            }
            Self::HasNoTls => {
                let reason = "This port has no TLS: ws:// instead of wss://.\n";
                ("400 Bad Request", CLOSE, reason.into())
            }
            Self::Subprotocol => {
                let reason = format!("This server speaks the subprotocol {WEBSOCKET_PROTOCOL}.\n");
                ("400 Bad Request", CLOSE, reason)
            }
        }
    }

    /// In full, for a request that begins with this.
    pub(super) fn bytes(self, head: &[u8]) -> Vec<u8> {
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

/// Method and version; `None`: this is no HTTP.
fn request_line(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (method, _target, version) = (words.next()?, words.next()?, words.next()?);
    (version.starts_with("HTTP/") && words.next().is_none()).then_some((method, version))
}

/// Gives somebody his answer, and time to read it.
pub(super) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) {
    let telling = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_REST_BYTES), &mut tokio::io::sink()).await
    };
    // Whether he has got it is his own affair.
    let _ = timeout(LINGER, telling).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(head: &str) -> Answer {
        Answer::to(head.as_bytes(), &Error::Protocol(ProtocolError::MissingConnectionUpgradeHeader))
    }

    #[test]
    fn answers_fit_the_requests() {
        for (head, answer) in [
            ("GET / HTTP/1.1\r\n", Answer::UpgradeRequired),
            ("GET /any/path?x=1 HTTP/1.0\r\n", Answer::UpgradeRequired),
            ("HEAD / HTTP/1.1\r\n", Answer::UpgradeRequired),
            ("POST / HTTP/1.1\r\n", Answer::Method),
            ("OPTIONS * HTTP/1.1\r\n", Answer::Method),
            ("PRI * HTTP/2.0\r\n", Answer::Version),
            ("GET /\r\n", Answer::BadRequest),
            ("EHLO example.com\r\n", Answer::BadRequest),
            ("\u{0}\u{1}\r\n", Answer::BadRequest),
            ("", Answer::BadRequest),
        ] {
            assert_eq!(to(head), answer, "{head:?}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is_also_where_it_is_left_out() {
        let get = String::from_utf8(Answer::UpgradeRequired.bytes(b"GET / HTTP/1.1\r\n")).unwrap();
        let head = String::from_utf8(Answer::UpgradeRequired.bytes(b"HEAD / HTTP/1.1\r\n")).unwrap();
        let (headers, text) = get.split_once("\r\n\r\n").unwrap();
        assert!(headers.contains(&format!("Content-Length: {}", text.len())) && text.contains("WebSocket"));
        assert_eq!(head, format!("{headers}\r\n\r\n"));
    }
}
