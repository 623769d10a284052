//! Starting a back end, and an in-process server for development and small deployments.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use im_sdk::{
    cluster::Cluster,
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};

use super::{Backend, BackendConfig, BackendError, run};

/// Connects a back end to Redis and NATS.
///
/// # Errors
/// [`BackendError`]: the configuration is invalid, or a service that it names cannot be reached.
#[uniffi::export]
pub async fn connect_backend(config: BackendConfig) -> Result<Arc<Backend>, BackendError> {
    run(async move { Ok(Backend::new(config.connect().await?)) }).await
}

/// Generates a secret of 32 random bytes, to sign tokens with.
#[uniffi::export]
pub fn random_secret() -> Vec<u8> {
    im_sdk::token::random_secret().to_vec()
}

/// Configuration of a server in this process.
#[derive(Clone, Debug, uniffi::Record)]
pub struct EmbeddedServerConfig {
    /// The secret that tokens are signed with, of at least 32 bytes.
    pub secret: Vec<u8>,
    /// The id of the secret, as in a token's `kid`.
    pub key_id: String,
    /// The issuer of tokens.
    pub issuer: String,
    /// The audience of tokens.
    pub audience: String,
    /// The WebSocket address to listen on, such as `127.0.0.1:0`. None: no WebSocket.
    #[uniffi(default = None)]
    pub websocket: Option<String>,
    /// The QUIC address to listen on, with a self-signed certificate. None: no QUIC.
    #[uniffi(default = None)]
    pub quic: Option<String>,
    /// The file that stores messages and members. None: they are lost when the process ends.
    #[uniffi(default = None)]
    pub data: Option<String>,
}

/// An in-process server that includes all parts of a cluster.
#[derive(Debug, uniffi::Object)]
pub struct EmbeddedServer {
    /// `None` after shutdown, so that its file can be opened again.
    running: Mutex<Option<(Server, Cluster)>>,
    endpoints: Vec<String>,
    certificate: Option<String>,
}

/// Starts a server in this process.
///
/// # Errors
/// [`BackendError`]: the configuration is invalid, or an address is in use.
#[uniffi::export]
pub async fn start_embedded_server(
    config: EmbeddedServerConfig,
) -> Result<Arc<EmbeddedServer>, BackendError> {
    run(async move {
        let key = VerificationKey::hs256(&config.key_id, &config.secret)?;
        let verifier = TokenVerifier::new(&config.issuer, &config.audience, [key]);
        let mut settings = ServerConfig::new("embedded", verifier);
        settings.websocket = config.websocket.as_deref().map(address).transpose()?;
        settings.quic = config.quic.as_deref().map(address).transpose()?;
        let cluster = match &config.data {
            Some(data) => Cluster::embedded_at(data).map_err(BackendError::unavailable)?,
            None => Cluster::embedded(),
        };
        let server = Server::start(settings, cluster.clone()).await;
        let server = server.map_err(|error| BackendError::unavailable(crate::error::with_causes(&error)))?;
        Ok(Arc::new(EmbeddedServer {
            endpoints: server.endpoints().to_vec(),
            certificate: server.certificate_sha256().map(hex),
            running: Mutex::new(Some((server, cluster))),
        }))
    })
    .await
}

fn address(text: &str) -> Result<SocketAddr, BackendError> {
    text.parse()
        .map_err(|error| BackendError::invalid(format!("{text:?} is no address to listen on: {error}")))
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[uniffi::export]
impl EmbeddedServer {
    /// The endpoints for clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    /// The SHA-256 fingerprint of the certificate for QUIC, in hexadecimal digits.
    pub fn certificate_sha256(&self) -> Option<String> {
        self.certificate.clone()
    }

    /// Starts a back end on this server. The configured Redis and NATS URLs are ignored.
    ///
    /// # Errors
    /// [`BackendError`]: the configuration is invalid.
    pub async fn connect_backend(&self, config: BackendConfig) -> Result<Arc<Backend>, BackendError> {
        let cluster = self.cluster().ok_or_else(BackendError::ended)?;
        run(async move { Ok(Backend::new(config.start(cluster).await?)) }).await
    }

    /// Shuts the server down, and tells devices to disconnect.
    pub async fn shutdown(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((server, cluster)) = running else { return };
        drop(cluster);
        let ended = run(async move {
            server.shutdown().await;
            Ok(())
        });
        drop(ended.await);
    }
}

impl EmbeddedServer {
    fn cluster(&self) -> Option<Cluster> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|(_, cluster)| cluster.clone())
    }
}
