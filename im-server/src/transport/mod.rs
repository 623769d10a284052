//! The transports: each accepts connections and serves them as a [`Transport`](crate::connection::Transport).

pub(crate) mod fd_limit;
mod quic;
pub(crate) mod tls;
mod websocket;

#[cfg(feature = "bench")]
pub(crate) use websocket::echo;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Weak},
    time::Duration,
};

use im_proto::ALPN;
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, TokioRuntime};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use self::tls::{Identity, TlsError};
use crate::{
    config::{ServerConfig, TlsConfig},
    context::ServerContext,
};

/// A server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Neither WebSocket nor QUIC has an address to listen on.
    #[error("the server has no address to listen on: set one for WebSocket or for QUIC")]
    NoListener,
    /// An address cannot be bound.
    #[error("cannot listen for {transport} on {address}: {source}")]
    Bind {
        /// `WebSocket` or `QUIC`.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Checks that an address to listen on is set, and the files of the certificate and its key, if this server needs them.
///
/// # Errors
/// [`ListenError::NoListener`], [`ListenError::Tls`].
pub(crate) fn check(config: &ServerConfig) -> Result<(), ListenError> {
    if config.websocket.is_none() && config.quic.is_none() {
        return Err(ListenError::NoListener);
    }
    if config.tls != TlsConfig::SelfSigned {
        load_identity(config)?;
    }
    Ok(())
}

/// Loads the certificate, if this server needs one.
///
/// # Errors
/// [`ListenError::Tls`].
pub(crate) fn load_identity(config: &ServerConfig) -> Result<Option<Identity>, ListenError> {
    let needs_tls = config.quic.is_some() || (config.websocket.is_some() && config.websocket_tls);
    Ok(if needs_tls { Some(Identity::load(&config.tls)?) } else { None })
}

/// The addresses on which a server listens.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) quic: Option<SocketAddr>,
    pub(crate) quic_endpoint: Option<Endpoint>,
    quic_socket: Option<Weak<dyn AsyncUdpSocket>>,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: Option<[u8; 32]>,
}

impl Addresses {
    /// Waits until the operating system has the QUIC address back.
    ///
    /// The library closes the socket in a task of its own, a moment after the last handle is gone, and reports nothing. It keeps
    /// the socket for connections that drain, for three times as long as an acknowledgement may take. After a freeze that is three
    /// times the freeze, so these connections are moved to another socket.
    pub(crate) async fn released(&mut self) {
        if let Some(endpoint) = self.quic_endpoint.take()
            && endpoint.open_connections() > 0
            && let Err(error) = leave_socket(&endpoint)
        {
            tracing::warn!(%error, "draining connections keep the QUIC address");
        }
        while self.quic_socket.as_ref().is_some_and(|socket| socket.strong_count() > 0) {
            sleep(RELEASE_POLL).await;
        }
    }
}

/// Moves the connections of an endpoint to a socket with an unannounced address, on which they receive nothing.
fn leave_socket(endpoint: &Endpoint) -> io::Result<()> {
    let nowhere = match endpoint.local_addr()? {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    };
    let socket = TokioRuntime.wrap_udp_socket(UdpSocket::bind(nowhere)?)?;
    // The endpoint also listens on the previous socket until a packet arrives. After the second call, the first socket is released.
    endpoint.rebind_abstract(Arc::clone(&socket))?;
    endpoint.rebind_abstract(socket)
}

/// The interval at which the socket is checked.
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// Bound sockets that are not served yet.
pub(crate) struct Listeners {
    websocket: Option<(TcpListener, SocketAddr, Option<TlsAcceptor>)>,
    quic: Option<(Endpoint, SocketAddr, Weak<dyn AsyncUdpSocket>)>,
    fingerprint: Option<[u8; 32]>,
}

impl Listeners {
    pub(crate) fn bind(config: &ServerConfig, identity: Option<&Identity>) -> Result<Self, ListenError> {
        fd_limit::reserve();
        let mut listeners =
            Self { websocket: None, quic: None, fingerprint: identity.and_then(Identity::fingerprint) };
        if let Some(address) = config.websocket {
            let tls = identity.filter(|_| config.websocket_tls);
            listeners.websocket = Some(bind_websocket(address, tls)?);
        }
        if let (Some(address), Some(identity)) = (config.quic, identity) {
            listeners.quic = Some(bind_quic(address, identity, config)?);
        }
        Ok(listeners)
    }

    /// Returns the addresses announced to devices: the configured ones, or the listening addresses.
    pub(crate) fn endpoints(&self, config: &ServerConfig) -> Vec<String> {
        if !config.advertise.is_empty() {
            return config.advertise.clone();
        }
        let quic = self.quic.iter().map(|(_, address, _)| format!("quic://{address}"));
        let websocket = self.websocket.iter().map(|(_, address, tls)| {
            let scheme = if tls.is_some() { "wss" } else { "ws" };
            format!("{scheme}://{address}")
        });
        quic.chain(websocket).collect()
    }

    /// Accepts connections, in one task for each transport.
    pub(crate) fn accept(self, context: &Arc<ServerContext>) -> (Addresses, Vec<JoinHandle<()>>) {
        let addresses = Addresses {
            websocket: self.websocket.as_ref().map(|(_, address, _)| *address),
            quic: self.quic.as_ref().map(|(_, address, _)| *address),
            quic_endpoint: self.quic.as_ref().map(|(endpoint, ..)| endpoint.clone()),
            quic_socket: self.quic.as_ref().map(|(_, _, socket)| Weak::clone(socket)),
            fingerprint: self.fingerprint,
        };
        let mut tasks = Vec::new();
        if let Some((listener, _, tls)) = self.websocket {
            tasks.push(tokio::spawn(websocket::accept(Arc::clone(context), listener, tls)));
        }
        if let Some((endpoint, ..)) = self.quic {
            tasks.push(tokio::spawn(quic::accept(Arc::clone(context), endpoint)));
        }
        (addresses, tasks)
    }
}

/// The maximum number of connections that wait to be accepted. When all devices of another server come at once, one that finds no
/// room is not refused: its packet is dropped, and it tries again a second later. The operating system caps this (on Linux at
/// `net.core.somaxconn`, 4096). The library's default is 128.
const BACKLOG: u32 = 65_535;

/// The number of bytes of datagrams that may wait to be read, and to be sent, for all connections together. The default (on Linux
/// `net.core.rmem_default`, 208 KiB) holds the first packets of some ninety devices; a device whose packet is dropped tries again a
/// second later. The operating system caps this (at `net.core.rmem_max`).
const DATAGRAM_BUFFER: usize = 8 * 1024 * 1024;

/// Binds and listens. The library's own `bind` leaves no choice of [`BACKLOG`].
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that starts again finds connections of its predecessor on the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_websocket(
    address: SocketAddr,
    tls: Option<&Identity>,
) -> Result<(TcpListener, SocketAddr, Option<TlsAcceptor>), ListenError> {
    let failed = |source| ListenError::Bind { transport: "WebSocket", address, source };
    let listener = listen(address).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let tls = tls.map(|identity| identity.server_config(&[b"http/1.1"])).transpose()?;
    Ok((listener, local, tls.map(TlsAcceptor::from)))
}

fn enlarge_buffers(socket: &UdpSocket) {
    let enlarged = sockopt::set_socket_recv_buffer_size(socket, DATAGRAM_BUFFER)
        .and_then(|()| sockopt::set_socket_send_buffer_size(socket, DATAGRAM_BUFFER));
    if let Err(error) = enlarged {
        tracing::warn!(%error, "cannot enlarge the buffers of the QUIC socket");
    }
}

fn bind_quic(
    address: SocketAddr,
    identity: &Identity,
    config: &ServerConfig,
) -> Result<(Endpoint, SocketAddr, Weak<dyn AsyncUdpSocket>), ListenError> {
    let failed = |source| ListenError::Bind { transport: "QUIC", address, source };
    let tls = identity.server_config(&[ALPN])?;
    let server = quic::server_config(tls, config.idle_timeout())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let socket = UdpSocket::bind(address).map_err(failed)?;
    enlarge_buffers(&socket);
    let local = socket.local_addr().map_err(failed)?;
    let runtime = Arc::new(TokioRuntime);
    let socket = runtime.wrap_udp_socket(socket).map_err(failed)?;
    let held = Arc::downgrade(&socket);
    let config = EndpointConfig::new(identity.reset_key());
    let endpoint = Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime);
    Ok((endpoint.map_err(failed)?, local, held))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, net::TcpStream};

    use super::*;

    const LOCALHOST: &str = "127.0.0.1:0";

    fn system_limit(name: &str) -> Option<usize> {
        fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok()
    }

    #[tokio::test]
    async fn a_storm_finds_room_before_anybody_is_accepted() {
        // More than the library's default.
        let storm = system_limit("somaxconn").unwrap().min(400);
        let listener = listen(LOCALHOST.parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        assert_eq!((0..storm).map(connect).collect::<Vec<_>>().len(), storm);
    }

    #[test]
    fn datagrams_find_room() {
        let socket = UdpSocket::bind(LOCALHOST).unwrap();
        enlarge_buffers(&socket);
        // The system reports twice what it gives, for its bookkeeping.
        let given = sockopt::socket_recv_buffer_size(&socket).unwrap() / 2;
        assert_eq!(given, DATAGRAM_BUFFER.min(system_limit("rmem_max").unwrap()));
    }
}
