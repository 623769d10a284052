//! How messages get into the control and into peers that have no way in of their own: over TCP, each with a head of
//! eight bytes, little-endian: the connection's index (all ones: everybody), and the payload's length.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
};

use super::{Audience, Publisher};
use crate::{
    login::{Login, Progress},
    stamp::Stamp,
};

/// Names everybody instead of a connection; as the first thing on a connection: a publisher's.
pub(super) const EVERYBODY: u32 = u32::MAX;

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
            stream.write_all(&EVERYBODY.to_le_bytes())?;
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
            let to = if self.audience == Audience::One { stamp.audience } else { EVERYBODY };
            let length = u32::try_from(self.payload.max(crate::stamp::LEN)).unwrap_or(u32::MAX);
            self.buffer.extend_from_slice(&to.to_le_bytes());
            self.buffer.extend_from_slice(&length.to_le_bytes());
            stamp.write(self.payload, &mut self.buffer);
        }
        self.stream.write_all(&self.buffer).map_err(|error| format!("cannot publish: {error}"))
    }
}

/// A device says its index, and is told "ok".
pub(super) struct IndexLogin(pub(super) u32);

impl Login for IndexLogin {
    fn start(&mut self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn received(&mut self, bytes: &mut Vec<u8>) -> Result<Progress, String> {
        if bytes.len() < 2 {
            return Ok(Progress::Wait);
        }
        bytes.drain(..2);
        Ok(Progress::Ready(self.0.into()))
    }
}
