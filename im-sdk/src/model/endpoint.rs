//! Addresses of servers as URLs.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// The transport of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One bidirectional QUIC stream (RFC 9000). Survives a change of network.
    Quic,
    /// Binary WebSocket messages (RFC 6455), with or without TLS. Works where UDP is blocked.
    WebSocket,
}

impl Transport {
    /// Returns the name in logs: `quic` or `websocket`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The address of a server: `quic://host:port`, `wss://host[:port][/path]` or
/// `ws://host[:port][/path]`.
///
/// The host is a name or an address; an IPv6 address is in brackets. The default port of `wss` is
/// 443 and that of `ws` is 80; `quic` has no default port.
///
/// ```
/// use im_sdk::{Endpoint, Transport};
///
/// let endpoint: Endpoint = "wss://im.example.com/chat".parse()?;
/// assert_eq!(endpoint.transport(), Transport::WebSocket);
/// assert_eq!((endpoint.host(), endpoint.port()), ("im.example.com", 443));
/// assert_eq!(endpoint.to_string(), "wss://im.example.com:443/chat");
/// # Ok::<(), im_sdk::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Begins with `/`. Always `/` for QUIC.
    path: String,
}

impl Endpoint {
    /// Returns the transport.
    pub fn transport(&self) -> Transport {
        match self.scheme {
            Scheme::Quic => Transport::Quic,
            Scheme::Ws | Scheme::Wss => Transport::WebSocket,
        }
    }

    /// Returns the name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the UDP port for QUIC, otherwise the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether TLS protects the connection: always, except for `ws`.
    pub fn is_encrypted(&self) -> bool {
        self.scheme != Scheme::Ws
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(formatter, "{scheme}://{open}{}{close}:{}", self.host, self.port)?;
        formatter.write_str(if self.scheme == Scheme::Quic { "" } else { &self.path })
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text)
            .map_err(|problem| EndpointError { text: text.chars().take(SHOWN_CHARS).collect(), problem })
    }
}

/// The text is no endpoint. The message tells what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {text:?} is not valid: {problem}")]
pub struct EndpointError {
    text: String,
    problem: &'static str,
}

impl EndpointError {
    /// Returns a name that is stable over versions and languages: `invalid_endpoint`.
    pub fn code(&self) -> &'static str {
        "invalid_endpoint"
    }

    /// Returns what is wrong, without the text, which may contain a secret.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Quic,
    Ws,
    Wss,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "quic" => Some(Self::Quic),
            "ws" => Some(Self::Ws),
            "wss" => Some(Self::Wss),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn usual_port(self) -> Option<u16> {
        match self {
            Self::Quic => None,
            Self::Ws => Some(80),
            Self::Wss => Some(443),
        }
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it does not begin with quic://, wss:// or ws://")?;
    let scheme = Scheme::parse(scheme).ok_or("its scheme is not quic, wss or ws")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split_port(authority)?;
    let port = match port {
        Some(port) => parse_port(port)?,
        None => scheme.usual_port().ok_or("a quic endpoint needs a port")?,
    };
    Ok(Endpoint { scheme, host: parse_host(host)?, port, path: parse_path(scheme, path)? })
}

/// Returns the host, brackets included, and the text after its colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    if end == 0 && authority.starts_with('[') {
        return Err("the brackets around its host are not closed");
    }
    match authority[end..].split_once(':') {
        Some((between, _)) if end > 0 && !between.is_empty() => Err("something stands between ']' and ':'"),
        Some((host, port)) => Ok((&authority[..end + host.len()], Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or("its port is not a number from 1 to 65535")
}

fn parse_host(text: &str) -> Result<String, &'static str> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address
            .map(|address| address.to_string())
            .ok_or("what stands in brackets is not an IPv6 address");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match text {
        "" => Err("it has no host"),
        _ if text.contains('@') => Err("a user name has no meaning in it"),
        _ if text.bytes().all(allowed) => Ok(text.to_ascii_lowercase()),
        _ => Err("its host is not a name or address (IPv6 stands in brackets, other scripts in punycode)"),
    }
}

fn parse_path(scheme: Scheme, path: &str) -> Result<String, &'static str> {
    if scheme == Scheme::Quic && !matches!(path, "" | "/") {
        return Err("a quic endpoint has no path");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("its path has a character that URLs do not allow");
    }
    Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

/// The maximum number of characters shown of an invalid endpoint, which may have megabytes.
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn ports_and_paths_are_filled_in() {
        assert_eq!(canonical("quic://im1.example.com:7801"), "quic://im1.example.com:7801");
        assert_eq!(canonical("wss://IM.example.com"), "wss://im.example.com:443/");
        assert_eq!(canonical("ws://127.0.0.1:7800/a/b?c=1"), "ws://127.0.0.1:7800/a/b?c=1");
        assert_eq!(canonical("ws://[::1]"), "ws://[::1]:80/");
        assert_eq!(canonical("quic://[0:0::1]:9"), "quic://[::1]:9");
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        for (text, part) in [
            ("im.example.com:443", "does not begin"),
            ("https://im.example.com", "scheme"),
            ("quic://im.example.com", "needs a port"),
            ("quic://im.example.com:1/chat", "no path"),
            ("wss://im.example.com:0", "port"),
            ("wss://im.example.com:+1", "port"),
            ("wss://im.example.com:65536", "port"),
            ("wss://im.example.com:", "port"),
            ("wss://", "no host"),
            ("wss://a@b", "user name"),
            ("wss://::1", "port"),
            ("wss://[::1", "brackets"),
            ("wss://[1.2.3.4]", "brackets"),
            ("wss://[::1]x:1", "between"),
            ("wss://bücher.example", "punycode"),
            ("wss://a/ b", "path"),
            ("wss://a/#b", "path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
