//! The login of a device: it sends `Hello` and waits for `Welcome` (proto/PROTOCOL.md).

use im_proto::{frame, pb};
use prost::{Message as _, encoding::decode_varint};

use crate::login::{Login, Messages, Progress};

/// The login over WebSocket.
pub(super) struct ImLogin {
    hello: Vec<u8>,
}

impl ImLogin {
    pub(super) fn new(hello: pb::Hello) -> Self {
        Self { hello: frame::encode(pb::frame::Body::Hello(hello)).to_vec() }
    }
}

impl Messages for ImLogin {
    fn first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.hello)
    }

    fn received(&mut self, message: &[u8]) -> Result<Progress, String> {
        let mut frames = message;
        let frame = pb::Frame::decode_length_delimited(&mut frames);
        welcomed(&frame.map_err(|error| format!("not a frame: {error}"))?)
    }
}

/// The login over a stream of frames, as on QUIC.
pub(super) struct FrameLogin(ImLogin);

impl FrameLogin {
    pub(super) fn new(hello: pb::Hello) -> Self {
        Self(ImLogin::new(hello))
    }
}

impl Login for FrameLogin {
    fn start(&mut self) -> Vec<u8> {
        self.0.first()
    }

    fn received(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String> {
        loop {
            let mut rest = bytes.as_slice();
            // An incomplete length is not an error here: ten bytes hold every varint.
            let length = match decode_varint(&mut rest) {
                Ok(length) => usize::try_from(length).map_err(|_| "a frame is too long".to_owned())?,
                Err(_) if bytes.len() < 10 => return Ok(Progress::Wait),
                Err(error) => return Err(format!("not a frame: {error}")),
            };
            let Some(body) = rest.get(..length) else { return Ok(Progress::Wait) };
            let frame = pb::Frame::decode(body).map_err(|error| format!("not a frame: {error}"))?;
            let used = bytes.len() - rest.len() + length;
            bytes.drain(..used);
            if let ready @ Progress::Ready(_) = welcomed(&frame)? {
                return Ok(ready);
            }
        }
    }
}

fn welcomed(frame: &pb::Frame) -> Result<Progress, String> {
    match &frame.body {
        Some(pb::frame::Body::Welcome(welcome)) => Ok(Progress::Ready(welcome.connection)),
        _ => Ok(Progress::Wait),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_is_found_however_the_stream_is_cut_and_the_rest_is_left() {
        let welcome = pb::Welcome { connection: 7, user: "u".repeat(200), ..pb::Welcome::default() };
        let mut stream = frame::encode(pb::frame::Body::Ping(pb::Ping { echo: 1 })).to_vec();
        stream.extend_from_slice(&frame::encode(pb::frame::Body::Welcome(welcome)));
        for cut in 0..stream.len() {
            let mut login = FrameLogin::new(pb::Hello::default());
            let mut bytes = stream[..cut].to_vec();
            assert_eq!(login.received(&mut bytes), Ok(Progress::Wait), "cut at {cut}");
            bytes.extend_from_slice(&stream[cut..]);
            bytes.push(42);
            assert_eq!(login.received(&mut bytes), Ok(Progress::Ready(7)), "cut at {cut}");
            assert_eq!(bytes, [42]);
        }
        assert!(FrameLogin::new(pb::Hello::default()).received(&mut vec![0xff; 11]).is_err());
    }
}
