//! How a back end begins, and a server in the same process, for development and small deployments.

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
/// [`BackendError`]: the configuration makes no sense, or what it names cannot be reached.
#[uniffi::export]
pub async fn connect_backend(config: BackendConfig) -> Result<Arc<Backend>, BackendError> {
    run(async move { Ok(Backend::new(config.connect().await?)) }).await
}

/// A secret of 32 random bytes, to sign tokens with.
#[uniffi::export]
pub fn random_secret() -> Vec<u8> {
    im_sdk::token::random_secret().to_vec()
}

/// Configuration of a server in this process.
#[derive(Clone, Debug, uniffi::Record)]
pub struct EmbeddedServerConfig {
    /// The secret that tokens are signed with, of at least 32 bytes.
    pub secret: Vec<u8>,
    /// The id of that key.
    pub key_id: String,
    /// The issuer of tokens.
    pub issuer: String,
    /// The audience of tokens.
    pub audience: String,
    /// Where to listen for WebSocket, such as `127.0.0.1:0`. None: nowhere.
    #[uniffi(default = None)]
    pub websocket: Option<String>,
    /// Where to listen for QUIC, with a certificate of its own making. None: nowhere.
    #[uniffi(default = None)]
    pub quic: Option<String>,
    /// The file that messages and members are kept in. None: they end with the process.
    #[uniffi(default = None)]
    pub data: Option<String>,
}

/// A server in this process, with all that a cluster has.
#[derive(Debug, uniffi::Object)]
pub struct EmbeddedServer {
    /// None once it is shut down: its file can be opened again then.
    running: Mutex<Option<(Server, Cluster)>>,
    endpoints: Vec<String>,
    certificate: Option<String>,
}

/// Starts a server in this process.
///
/// # Errors
/// [`BackendError`]: the configuration makes no sense, or an address is in use.
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

    /// Starts a back end on this server. What the configuration says about Redis and NATS does not count.
    ///
    /// # Errors
    /// [`BackendError`]: the configuration makes no sense.
    pub async fn connect_backend(&self, config: BackendConfig) -> Result<Arc<Backend>, BackendError> {
        let cluster = self.cluster().ok_or_else(BackendError::ended)?;
        run(async move { Ok(Backend::new(config.start(cluster).await?)) }).await
    }

    /// Ends the server: devices are told to go.
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
