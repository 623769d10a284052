//! A non-blocking TCP socket: connecting, and the kernel's counters.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

/// Starts to connect. The source address is one of many, since a single one has too few ports.
pub(super) fn connect(index: u32, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let source @ 1.. = index / PORTS_PER_SOURCE {
        // Defers the choice of the port to `connect`. At `bind`, the system would look for a port that no other
        // socket uses.
        set_bind_address_no_port(&socket)?;
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(source + 1).unwrap_or(254));
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&server.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
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

/// Returns the number of received data segments (`tcpi_data_segs_in`, RFC 4898).
#[allow(unsafe_code, reason = "no library reads this field of TCP_INFO")]
pub(super) fn segments(stream: &TcpStream) -> u64 {
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

/// Gives the calling thread a descriptor table of its own, a copy of the process's: the limit of open files applies to
/// each table. Descriptors that this thread opens from now on are not valid in other threads.
#[allow(unsafe_code, reason = "rustix has it as unsafe, too: descriptors are shared no more")]
pub(super) fn own_descriptors() -> io::Result<()> {
    // SAFETY: the fleet's threads use no descriptor that another thread opened after this, and hand out none.
    let result = unsafe { libc::unshare(libc::CLONE_FILES) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Offset of `tcpi_data_segs_in` in `struct tcp_info` (linux/tcp.h, since 4.6).
const DATA_SEGS_IN: usize = 152;

/// Ports used per source address. Linux has about 28,000 for outgoing connections of an address.
const PORTS_PER_SOURCE: u32 = 20_000;

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = 115;
