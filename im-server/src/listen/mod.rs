//! The transports: each accepts connections and turns them into [`crate::link::Link`]s.

mod quic;
mod websocket;

#[cfg(feature = "bench")]
pub(crate) use websocket::echo;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use im_proto::ALPN;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::ServerConfig,
    shared::Shared,
    tls::{Identity, TlsError},
};

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Neither WebSocket nor QUIC has an address to listen on.
    #[error("the server has no address to listen on: set one for WebSocket or for QUIC")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen for {transport} on {address}: {source}")]
    Bind {
        /// `WebSocket` or `QUIC`.
        transport: &'static str,
        /// Which address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Where a server listens.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) quic: Option<SocketAddr>,
    pub(crate) quic_endpoint: Option<Endpoint>,
    /// Of the certificate.
    pub(crate) fingerprint: Option<[u8; 32]>,
}

/// What is bound and not yet served.
pub(crate) struct Listeners {
    websocket: Option<(TcpListener, SocketAddr, Option<TlsAcceptor>)>,
    quic: Option<(Endpoint, SocketAddr)>,
    fingerprint: Option<[u8; 32]>,
}

impl Listeners {
    pub(crate) async fn bind(config: &ServerConfig) -> Result<Self, ListenError> {
        let needs_tls = config.quic.is_some() || (config.websocket.is_some() && config.websocket_tls);
        let identity = if needs_tls { Some(Identity::load(&config.tls)?) } else { None };
        let mut listeners = Self {
            websocket: None,
            quic: None,
            fingerprint: identity.as_ref().and_then(Identity::fingerprint),
        };
        if let Some(address) = config.websocket {
            let tls = identity.as_ref().filter(|_| config.websocket_tls);
            listeners.websocket = Some(bind_websocket(address, tls).await?);
        }
        if let (Some(address), Some(identity)) = (config.quic, &identity) {
            listeners.quic = Some(bind_quic(address, identity, config)?);
        }
        if listeners.websocket.is_none() && listeners.quic.is_none() {
            return Err(ListenError::NoListener);
        }
        Ok(listeners)
    }

    /// What devices are told: what is configured, else where this server listens.
    pub(crate) fn endpoints(&self, config: &ServerConfig) -> Vec<String> {
        if !config.advertise.is_empty() {
            return config.advertise.clone();
        }
        let quic = self.quic.iter().map(|(_, address)| format!("quic://{address}"));
        let websocket = self.websocket.iter().map(|(_, address, tls)| {
            let scheme = if tls.is_some() { "wss" } else { "ws" };
            format!("{scheme}://{address}")
        });
        quic.chain(websocket).collect()
    }

    /// Accepts connections, in tasks of the server.
    pub(crate) fn accept(self, shared: &Arc<Shared>) -> (Addresses, Vec<JoinHandle<()>>) {
        let addresses = Addresses {
            websocket: self.websocket.as_ref().map(|(_, address, _)| *address),
            quic: self.quic.as_ref().map(|(_, address)| *address),
            quic_endpoint: self.quic.as_ref().map(|(endpoint, _)| endpoint.clone()),
            fingerprint: self.fingerprint,
        };
        let mut tasks = Vec::new();
        if let Some((listener, _, tls)) = self.websocket {
            tasks.push(tokio::spawn(websocket::accept(Arc::clone(shared), listener, tls)));
        }
        if let Some((endpoint, _)) = self.quic {
            tasks.push(tokio::spawn(quic::accept(Arc::clone(shared), endpoint)));
        }
        (addresses, tasks)
    }
}

async fn bind_websocket(
    address: SocketAddr,
    tls: Option<&Identity>,
) -> Result<(TcpListener, SocketAddr, Option<TlsAcceptor>), ListenError> {
    let failed = |source| ListenError::Bind { transport: "WebSocket", address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let tls = tls.map(|identity| identity.server_config(&[b"http/1.1"])).transpose()?;
    Ok((listener, local, tls.map(TlsAcceptor::from)))
}

fn bind_quic(
    address: SocketAddr,
    identity: &Identity,
    config: &ServerConfig,
) -> Result<(Endpoint, SocketAddr), ListenError> {
    let failed = |source| ListenError::Bind { transport: "QUIC", address, source };
    let tls = identity.server_config(&[ALPN])?;
    let server = quic::server_config(tls, config.idle_timeout())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let socket = UdpSocket::bind(address).map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime));
    Ok((endpoint.map_err(failed)?, local))
}
