//! The entry point of messages into the control and peers without one of their own: over TCP, each record with a head of
//! eight bytes, little-endian: the connection's index (with the highest bit: the channel's number), and the payload's length.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
};

use super::Publisher;
use crate::{
    audience::Audience,
    login::{Login, Progress},
    stamp::Stamp,
};

/// The first four bytes of a publisher's connection.
pub(super) const PUBLISHER: u32 = u32::MAX;

/// Set in a number: it names a channel instead of a connection.
pub(super) const CHANNEL: u32 = 1 << 31;

/// Publishes records.
pub(super) struct RecordPublisher {
    stream: TcpStream,
    audience: Audience,
    payload: usize,
    buffer: Vec<u8>,
}

impl RecordPublisher {
    pub(super) fn connect(address: SocketAddr, audience: Audience, payload: usize) -> Result<Self, String> {
        let connect = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(&PUBLISHER.to_le_bytes())?;
            Ok(stream)
        };
        let stream =
            connect().map_err(|error: std::io::Error| format!("no publisher at {address}: {error}"))?;
        Ok(Self { stream, audience, payload, buffer: Vec::new() })
    }
}

impl Publisher for RecordPublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        self.buffer.clear();
        for stamp in batch {
            let to = if self.audience == Audience::One { stamp.audience } else { CHANNEL | stamp.audience };
            let length = u32::try_from(self.payload.max(crate::stamp::LEN)).unwrap_or(u32::MAX);
            self.buffer.extend_from_slice(&to.to_le_bytes());
            self.buffer.extend_from_slice(&length.to_le_bytes());
            stamp.write(self.payload, &mut self.buffer);
        }
        self.stream.write_all(&self.buffer).map_err(|error| format!("cannot publish: {error}"))
    }
}

/// The login of a device: it sends its index and its channel, and receives "ok".
pub(super) struct IndexLogin {
    pub(super) index: u32,
    pub(super) channel: u32,
}

impl Login for IndexLogin {
    fn start(&mut self) -> Vec<u8> {
        [self.index.to_le_bytes(), self.channel.to_le_bytes()].concat()
    }

    fn received(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String> {
        if bytes.len() < 2 {
            return Ok(Progress::Wait);
        }
        bytes.drain(..2);
        Ok(Progress::Ready(self.index.into()))
    }
}
