//! Logins: the bytes a connection sends and awaits before it is ready to receive.

use std::mem;

/// The next step of a login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Keep reading.
    Wait,
    /// Send these bytes and keep reading.
    Send(Vec<u8>),
    /// The connection is ready. Contains the server's name for it.
    Ready(u64),
}

/// The login of a connection, without I/O. Each target has its own.
pub(crate) trait Login: Send {
    /// Returns the first bytes to send.
    fn start(&mut self) -> Vec<u8>;

    /// Takes the received bytes, and removes those that it consumes.
    ///
    /// # Errors
    /// Returns what is wrong with the server's answer.
    fn received(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String>;
}

/// A WebSocket handshake, followed by the messages of the target (RFC 6455).
#[derive(Debug)]
pub(crate) struct WebSocketLogin<M> {
    request: String,
    upgraded: bool,
    messages: M,
}

/// The messages over a WebSocket until the connection is ready.
pub(crate) trait Messages: Send {
    /// Returns the first message to send; empty for none.
    fn first(&mut self) -> Vec<u8>;

    /// Takes a message from the server.
    ///
    /// # Errors
    /// Returns what is wrong with the message.
    fn received(&mut self, message: &[u8]) -> Result<Progress, String>;

    /// Returns whether messages are sent as text.
    fn is_text(&self) -> bool {
        false
    }
}

impl<M: Messages> WebSocketLogin<M> {
    /// Creates a login at a path, with a subprotocol if there is one.
    pub(crate) fn new(path: &str, subprotocol: Option<&str>, messages: M) -> Self {
        let protocol =
            subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
        );
        Self { request, upgraded: false, messages }
    }

    fn frame(&self, message: &[u8]) -> Vec<u8> {
        let mut frame = vec![if self.messages.is_text() { 0x81 } else { 0x82 }];
        match message.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        // An all-zero mask is valid and leaves the bytes unchanged.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(message);
        frame
    }

    fn upgrade(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(Progress::Wait) };
        let answer: Vec<u8> = bytes.drain(..end + 4).collect();
        if !answer.starts_with(b"HTTP/1.1 101") {
            let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(format!("no WebSocket there: {}", String::from_utf8_lossy(line)));
        }
        self.upgraded = true;
        let first = self.messages.first();
        if first.is_empty() { Ok(Progress::Wait) } else { Ok(Progress::Send(self.frame(&first))) }
    }
}

impl<M: Messages> Login for WebSocketLogin<M> {
    fn start(&mut self) -> Vec<u8> {
        mem::take(&mut self.request).into_bytes()
    }

    fn received(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String> {
        if !self.upgraded {
            let progress = self.upgrade(bytes)?;
            if progress != Progress::Wait || !self.upgraded {
                return Ok(progress);
            }
        }
        while let Some((head, length, opcode)) = frame_head(bytes) {
            if bytes.len() < head + length {
                break;
            }
            let message: Vec<u8> = bytes.drain(..head + length).skip(head).collect();
            match opcode {
                0x1 | 0x2 => match self.messages.received(&message)? {
                    Progress::Wait => {}
                    Progress::Send(next) => return Ok(Progress::Send(self.frame(&next))),
                    ready @ Progress::Ready(_) => return Ok(ready),
                },
                0x8 => return Err(format!("closed: {}", String::from_utf8_lossy(&message))),
                _ => {}
            }
        }
        Ok(Progress::Wait)
    }
}

/// Parses the head of a server's frame, which is not masked. Returns the lengths of head and payload, and the
/// opcode.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize, u8)> {
    let opcode = bytes.first()? & 0x0f;
    match bytes.get(1)? & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            Some((4, u16::from_be_bytes(length).into(), opcode))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            Some((10, usize::try_from(u64::from_be_bytes(length)).ok()?, opcode))
        }
        length => Some((2, length.into(), opcode)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Echo;

    impl Messages for Echo {
        fn first(&mut self) -> Vec<u8> {
            b"hello".into()
        }

        fn received(&mut self, message: &[u8]) -> Result<Progress, String> {
            match message {
                b"more" => Ok(Progress::Send(b"again".into())),
                b"welcome" => Ok(Progress::Ready(7)),
                _ => Ok(Progress::Wait),
            }
        }
    }

    #[test]
    fn a_login_goes_on_however_its_answers_are_cut() {
        let mut login = WebSocketLogin::new("/", None, Echo);
        assert!(login.start().starts_with(b"GET / HTTP/1.1\r\n"));
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r".to_vec();
        assert_eq!(login.received(&mut bytes), Ok(Progress::Wait));
        bytes.extend_from_slice(b"\n\x82\x04mo");
        let hello = b"\x82\x85\0\0\0\0hello".to_vec();
        assert_eq!(login.received(&mut bytes), Ok(Progress::Send(hello)));
        assert_eq!(login.received(&mut bytes), Ok(Progress::Wait));
        bytes.extend_from_slice(b"re\x89\x00\x82\x07welcome!");
        assert!(matches!(login.received(&mut bytes), Ok(Progress::Send(_))));
        assert_eq!(login.received(&mut bytes), Ok(Progress::Ready(7)));
        assert_eq!(bytes, b"!");
    }

    #[test]
    fn a_refusal_is_told() {
        let mut bytes = b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec();
        let error = WebSocketLogin::new("/", None, Echo).received(&mut bytes).unwrap_err();
        assert!(error.contains("404"), "{error}");
        let mut closed = b"HTTP/1.1 101 \r\n\r\n".to_vec();
        let mut login = WebSocketLogin::new("/", None, Echo);
        login.received(&mut closed).unwrap();
        closed.extend_from_slice(b"\x88\x02\x0f\xa0");
        assert!(login.received(&mut closed).is_err());
    }
}
