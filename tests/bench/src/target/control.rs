//! The floor: what a delivery costs when nothing is done but delivering.
//!
//! One thread and one epoll. A message to a connection is one `send` as soon as it is read; messages to everybody are
//! collected as far as one read brought them, then each connection gets them with one `send`. No protocol, no
//! encryption, no routing, nothing shared. Each payload is preceded by four bytes, as a WebSocket message's would be.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::{
    Publisher, Target, TargetOptions,
    records::{EVERYBODY, IndexLogin, RecordPublisher},
};
use crate::login::Login;

/// The control as a process.
pub(super) struct ControlTarget {
    child: Child,
    address: SocketAddr,
    options: TargetOptions,
}

impl ControlTarget {
    pub(super) fn start(options: &TargetOptions) -> Result<Self, String> {
        let start = || {
            let program = std::env::current_exe()?;
            let mut child = Command::new(program)
                .arg("control-server")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
            BufReader::new(output).read_line(&mut line)?;
            let address = line.trim().parse().map_err(|_| io::Error::other(format!("it said {line:?}")))?;
            Ok((child, address))
        };
        let (child, address) =
            start().map_err(|error: io::Error| format!("the control does not start: {error}"))?;
        Ok(Self { child, address, options: options.clone() })
    }
}

impl Drop for ControlTarget {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Target for ControlTarget {
    fn version(&self) -> String {
        "control".to_owned()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        (self.address, Box::new(IndexLogin(index)))
    }

    fn publisher(&self, _: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let Self { address, options, .. } = self;
        Ok(Box::new(RecordPublisher::connect(*address, options.audience, options.payload)?))
    }
}

/// Runs the control in this process, until it is killed. Prints its address.
///
/// # Errors
/// When the system refuses a socket or the epoll.
pub(crate) fn serve() -> io::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let mut server = Server { poll, listener, peers: Vec::new(), devices: Vec::new() };
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
    /// Which peer is the device of an index.
    devices: Vec<usize>,
}

struct Peer {
    stream: TcpStream,
    role: Role,
    /// What could not be sent yet.
    unsent: VecDeque<u8>,
}

enum Role {
    Unknown,
    Device,
    /// And what it has sent so far of its next record.
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

    /// The first four bytes say what it is.
    fn introduce(&mut self, number: usize) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(number) else { return false };
        let mut index = [0; 4];
        // They come in one piece, or not at all.
        if !matches!(peer.stream.read(&mut index), Ok(4)) {
            return false;
        }
        match u32::from_le_bytes(index) {
            EVERYBODY => peer.role = Role::Publisher(Vec::new()),
            index => {
                peer.role = Role::Device;
                peer.send(b"ok");
                let index = index as usize;
                self.devices.resize(self.devices.len().max(index + 1), usize::MAX);
                self.devices[index] = number;
            }
        }
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

    /// Delivers the whole records. How many bytes these were.
    fn deliver(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut to_all) = (0, Vec::new());
        while let Some(head) = bytes.get(at..at + 8) {
            let number = |from: usize| {
                u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
            };
            let (to, length) = (number(0), number(4) as usize);
            let Some(payload) = bytes.get(at + 8..at + 8 + length) else { break };
            at += 8 + length;
            let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            let head = [0x82, 126, high, low];
            if to == EVERYBODY {
                to_all.extend_from_slice(&head);
                to_all.extend_from_slice(payload);
                continue;
            }
            let device = self.devices.get(to as usize).and_then(|peer| self.peers.get_mut(*peer));
            if let Some(Some(device)) = device {
                let mut message = [0; 4096];
                let end = 4 + payload.len().min(4092);
                message[..4].copy_from_slice(&head);
                message[4..end].copy_from_slice(&payload[..end - 4]);
                device.send(&message[..end]);
            }
        }
        if !to_all.is_empty() {
            let devices = self.peers.iter_mut().flatten().filter(|peer| matches!(peer.role, Role::Device));
            devices.for_each(|device| device.send(&to_all));
        }
        at
    }
}

impl Peer {
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

/// What is read from the publisher at once.
const READ: usize = 64 * 1024;
