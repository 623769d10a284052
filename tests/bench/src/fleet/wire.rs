//! The byte stream of a connection: a TCP socket, with or without TLS.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::ClientConfig;

use super::{socket, tls::Tls};

/// The byte stream of a connection.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    connected: bool,
    unsent: Vec<u8>,
    tls: Option<Box<Encryption>>,
}

struct Encryption {
    tls: Tls,
    /// The beginning of an incomplete record.
    part: Vec<u8>,
}

/// The state of the socket after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The socket is empty.
    Drained,
    /// More bytes may be available.
    More,
}

impl Wire {
    /// Starts to connect.
    pub(super) fn connect(
        index: u32,
        server: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let stream = socket::connect(index, server).map_err(|error| error.to_string())?;
        let tls =
            tls.map(|config| Tls::new(config).map(|tls| Box::new(Encryption { tls, part: Vec::new() })));
        Ok(Self { stream, connected: false, unsent: Vec::new(), tls: tls.transpose()? })
    }

    /// Returns whether the connection is established.
    pub(super) fn is_connected(&mut self) -> Result<bool, String> {
        if self.connected {
            return Ok(true);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.connected = true,
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                if let Some(error) = self.stream.take_error().ok().flatten() {
                    return Err(error.to_string());
                }
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(self.connected)
    }

    /// Sends data; keeps what the socket does not take.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.tls {
            None => self.unsent.extend_from_slice(bytes),
            Some(encryption) => encryption.tls.send(bytes, &mut self.unsent)?,
        }
        self.flush()
    }

    /// Sends the data that the socket did not take before.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("cannot send: {error}")),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    /// Reads once into `buffer`, and passes the data on. Returns `None` if the server has closed the
    /// connection.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<Outcome>, String> {
        let kept = match &mut self.tls {
            None => 0,
            Some(encryption) => {
                let part = std::mem::take(&mut encryption.part);
                buffer[..part.len()].copy_from_slice(&part);
                part.len()
            }
        };
        let count = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.keep(&buffer[..kept]);
                return Ok(Some(Outcome::Drained));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.keep(&buffer[..kept]);
                return Ok(Some(Outcome::More));
            }
            Err(error) => return Err(format!("cannot receive: {error}")),
        };
        // A short read has emptied the socket (epoll(7)). Further bytes cause another event.
        let outcome = if kept + count < buffer.len() { Outcome::Drained } else { Outcome::More };
        let Some(encryption) = &mut self.tls else {
            take(&buffer[..count]);
            return Ok(Some(outcome));
        };
        let read = &mut buffer[..kept + count];
        let used = encryption.tls.received(read, &mut self.unsent, take)?;
        encryption.part.extend_from_slice(&read[used..]);
        if !self.unsent.is_empty() {
            self.flush()?;
        }
        Ok(Some(outcome))
    }

    fn keep(&mut self, part: &[u8]) {
        if let Some(encryption) = &mut self.tls {
            encryption.part.extend_from_slice(part);
        }
    }
}
