//! One connection of the fleet.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::Plan;
use crate::{
    login::{Login, Progress},
    stamp::Scanner,
    tally::Received,
};

/// See the module's description.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) index: u32,
    pub(super) audience: u32,
    pub(super) received: Received,
    pub(super) scanner: Scanner,
    /// `None`: it is ready.
    login: Option<Box<LoggingIn>>,
}

struct LoggingIn {
    login: Box<dyn Login>,
    unsent: Vec<u8>,
    bytes: Vec<u8>,
    started: bool,
}

/// What a login came to.
pub(super) enum LoggedIn {
    NotYet,
    /// Ready; the server's name for the connection.
    Ready(u64),
}

impl Connection {
    /// Begins to connect. The source address is one of many: from one alone there are not enough ports.
    pub(super) fn start(plan: Plan) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let source @ 1.. = plan.index / PORTS_PER_SOURCE {
            // The port is chosen when it connects: before that, the system would look for one that nobody uses at all.
            set_bind_address_no_port(&socket)?;
            let source = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(source).unwrap_or(253));
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&plan.server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let login = LoggingIn { login: plan.login, unsent: Vec::new(), bytes: Vec::new(), started: false };
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            index: plan.index,
            audience: plan.audience,
            received: Received::default(),
            scanner: Scanner::default(),
            login: Some(Box::new(login)),
        })
    }

    /// How many data segments have come (`tcpi_data_segs_in`, RFC 4898).
    pub(super) fn segments(&self) -> u64 {
        segments_of(&self.stream)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.login.is_none()
    }

    /// Goes on with the login. What has come beyond it is left to `rest`.
    pub(super) fn log_in(&mut self, rest: &mut Vec<u8>) -> Result<LoggedIn, String> {
        let Some(state) = &mut self.login else { return Ok(LoggedIn::NotYet) };
        if !state.started {
            match self.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => {
                    let failed = self.stream.take_error().ok().flatten();
                    return failed.map_or(Ok(LoggedIn::NotYet), |error| Err(error.to_string()));
                }
                Err(error) => return Err(error.to_string()),
            }
            state.started = true;
            state.unsent = state.login.start();
        }
        loop {
            let sent = write_some(&mut self.stream, &mut state.unsent);
            sent.map_err(|error| format!("cannot send: {error}"))?;
            let blocked = read_some(&mut self.stream, &mut state.bytes)?;
            match state.login.received(&mut state.bytes)? {
                Progress::Send(bytes) => state.unsent.extend(bytes),
                Progress::Ready(name) => {
                    rest.append(&mut state.bytes);
                    self.login = None;
                    return Ok(LoggedIn::Ready(name));
                }
                Progress::Wait if blocked => return Ok(LoggedIn::NotYet),
                Progress::Wait => {}
            }
        }
    }
}

fn write_some(stream: &mut TcpStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(count) => _ = unsent.drain(..count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// True: nothing more is there now.
fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<bool, String> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Err("the server closed the connection before it was ready".to_owned()),
        Ok(count) => {
            bytes.extend_from_slice(&buffer[..count]);
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(format!("cannot receive: {error}")),
    }
}

#[allow(unsafe_code, reason = "no library sets this option")]
fn set_bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the pointer is to an int that outlives the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code, reason = "no library reads this field of TCP_INFO")]
fn segments_of(stream: &TcpStream) -> u64 {
    let mut info = [0_u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the pointers are to a buffer and its length, which outlive the call; the kernel writes at most `length`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let field = info.get(DATA_SEGS_IN..DATA_SEGS_IN + 4).and_then(|bytes| bytes.try_into().ok());
    if result == 0 { field.map_or(0, u32::from_ne_bytes).into() } else { 0 }
}

/// Where `tcpi_data_segs_in` stands in `struct tcp_info` (linux/tcp.h, since 4.6).
const DATA_SEGS_IN: usize = 152;

/// Linux gives out about 28,000 to outgoing connections of an address.
const PORTS_PER_SOURCE: u32 = 20_000;

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = 115;
