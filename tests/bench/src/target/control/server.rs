//! One thread and one epoll. A message to a connection is one `send` as soon as it is read. Messages to a channel are
//! collected for as long as one read supplies them, and each member gets them in one `send`. There is no protocol,
//! encryption, routing or sharing. Each payload is preceded by four bytes, as a WebSocket message's would be.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::{
    super::records::{CHANNEL, PUBLISHER},
    spoil::{Spoil, Spoiler},
};

/// Runs the control in this process until it is killed. Prints its address.
///
/// # Errors
/// Fails if the system refuses a socket or the epoll.
pub(crate) fn serve(spoil: Option<Spoil>) -> io::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let mut server = Server {
        poll,
        listener,
        peers: Vec::new(),
        devices: Vec::new(),
        channels: HashMap::new(),
        spoiler: Spoiler::new(spoil),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept()?,
                Token(number) => server.handle(number),
            }
        }
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    /// The peer of each device, by the device's index.
    devices: Vec<usize>,
    /// The peers that are members of each channel.
    channels: HashMap<u32, Vec<usize>>,
    spoiler: Spoiler,
}

struct Peer {
    stream: TcpStream,
    role: Role,
    /// Data that the socket has not taken yet.
    unsent: VecDeque<u8>,
}

enum Role {
    Unknown,
    Device,
    /// Contains the beginning of its next record.
    Publisher(Vec<u8>),
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.peers.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, token, interest)?;
                    self.peers.push(Some(Peer { stream, role: Role::Unknown, unsent: VecDeque::new() }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn handle(&mut self, number: usize) {
        let Some(Some(peer)) = self.peers.get_mut(number) else { return };
        if matches!(peer.role, Role::Unknown) && !self.introduce(number) {
            return;
        }
        let Some(Some(peer)) = self.peers.get_mut(number) else { return };
        peer.flush();
        if let Role::Publisher(part) = &mut peer.role {
            let part = std::mem::take(part);
            self.publish(number, part);
        }
    }

    /// Reads the first four bytes, which name the role; a device then names its channel.
    fn introduce(&mut self, number: usize) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(number) else { return false };
        // Each number was written at once, so it arrives whole or not at all.
        let Some(index) = peer.read_number() else { return false };
        if index == PUBLISHER {
            peer.role = Role::Publisher(Vec::new());
            return true;
        }
        let Some(channel) = peer.read_number() else { return false };
        peer.role = Role::Device;
        peer.send(b"ok");
        let index = index as usize;
        self.devices.resize(self.devices.len().max(index + 1), usize::MAX);
        self.devices[index] = number;
        self.channels.entry(channel).or_default().push(number);
        true
    }

    fn publish(&mut self, number: usize, mut part: Vec<u8>) {
        let mut buffer = vec![0; READ];
        loop {
            let Some(Some(peer)) = self.peers.get_mut(number) else { return };
            match peer.stream.read(&mut buffer) {
                Ok(0) => return self.peers[number] = None,
                Ok(count) => part.extend_from_slice(&buffer[..count]),
                Err(_) => break,
            }
            let consumed = self.deliver(&part);
            part.drain(..consumed);
        }
        if let Some(Some(Peer { role: Role::Publisher(kept), .. })) = self.peers.get_mut(number) {
            *kept = part;
        }
    }

    /// Delivers the complete records, and returns their length.
    fn deliver(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut to_channels) = (0, HashMap::<u32, Vec<u8>>::new());
        while let Some(head) = bytes.get(at..at + 8) {
            let number = |from: usize| {
                u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
            };
            let (to, length) = (number(0), number(4) as usize);
            let Some(payload) = bytes.get(at + 8..at + 8 + length) else { break };
            at += 8 + length;
            let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            let head = [0x82, 126, high, low];
            if to & CHANNEL == 0 {
                self.deliver_one(to, head, payload);
            } else {
                let messages = to_channels.entry(to & !CHANNEL).or_default();
                messages.extend_from_slice(&head);
                messages.extend_from_slice(payload);
            }
        }
        for (channel, messages) in &to_channels {
            for member in self.channels.get(channel).into_iter().flatten() {
                if let Some(Some(member)) = self.peers.get_mut(*member) {
                    member.send(messages);
                }
            }
        }
        at
    }

    fn deliver_one(&mut self, to: u32, head: [u8; 4], payload: &[u8]) {
        let device = self.devices.get(to as usize).and_then(|peer| self.peers.get_mut(*peer));
        if let Some(Some(device)) = device {
            let mut message = [0; 4096];
            let end = 4 + payload.len().min(4092);
            message[..4].copy_from_slice(&head);
            message[4..end].copy_from_slice(&payload[..end - 4]);
            self.spoiler.apply(to, &message[..end], |message| device.send(message));
        }
    }
}

impl Peer {
    fn read_number(&mut self) -> Option<u32> {
        let mut number = [0; 4];
        matches!(self.stream.read(&mut number), Ok(4)).then(|| u32::from_le_bytes(number))
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = if self.unsent.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.unsent.extend(&bytes[sent..]);
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match self.stream.write(front) {
                Ok(count) => _ = self.unsent.drain(..count),
                Err(_) => break,
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX);

/// Maximum size of a read from the publisher.
const READ: usize = 64 * 1024;
