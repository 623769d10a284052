//! `im-server --dev`: a server to develop clients against, with nothing beside it. It relays what one user publishes to another, accepts
//! tokens that anybody can mint, and stores nothing.

use std::time::Duration;

use im_sdk::{
    backend::{
        Acceptance, Handler, Im, Incoming, Reach, ReachRights, Refusal, ServeError, Service, StartError,
    },
    cluster::Cluster,
    id::UserId,
    token::{KeyError, MintError, SigningKey, TokenMinter, TokenVerifier, VerificationKey},
};

use crate::config::{DEV_SECRET, ServerConfig};

/// The key id in development tokens.
pub const KEY_ID: &str = "dev";
/// The secret of development tokens. It is public: never configure it for a server that others can reach.
pub const SECRET: &str = DEV_SECRET;
/// The issuer of development tokens.
pub const ISSUER: &str = "im-dev";
/// The audience of development tokens.
pub const AUDIENCE: &str = "im";

/// The lifetime of a development token.
const TOKEN_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The WebSocket port of `im-server --dev`.
pub const WEBSOCKET_PORT: u16 = 7800;
/// The QUIC port of `im-server --dev`.
pub const QUIC_PORT: u16 = 7801;

/// Returns the configuration of a server on localhost with development tokens: plain WebSocket, and QUIC with a self-signed
/// certificate.
///
/// # Errors
/// [`KeyError`], which the built-in secret does not cause.
pub fn config() -> Result<ServerConfig, KeyError> {
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes())?;
    let mut config = ServerConfig::new("dev", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], WEBSOCKET_PORT).into());
    config.quic = Some(([127, 0, 0, 1], QUIC_PORT).into());
    // Developers of clients want to see the reason.
    config.explain_refusals = true;
    // A development server need not wait for its devices.
    config.drain_grace = Duration::from_secs(1);
    Ok(config)
}

/// Mints a token that [`config`]'s server accepts.
///
/// # Errors
/// [`MintError`], which the built-in secret does not cause.
pub fn token(user: &UserId) -> Result<String, MintError> {
    let key = SigningKey::hs256(KEY_ID, SECRET.as_bytes()).map_err(MintError::from)?;
    TokenMinter::new(key, ISSUER, AUDIENCE).mint(user, TOKEN_TTL)
}

/// A backend that relays every message.
#[derive(Debug)]
pub struct Relay {
    _service: Service,
}

/// The relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The backend did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The backend cannot receive publishes.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Relay {
    /// Relays on a cluster until it is dropped.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn start(cluster: Cluster) -> Result<Self, RelayError> {
        let im = Im::with_cluster(cluster).await?;
        Ok(Self { _service: im.serve(Everybody).await? })
    }
}

/// Allows everything: developers of clients need no rules.
struct Everybody;

impl Handler for Everybody {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn may_reach(&self, _: &Reach) -> Result<ReachRights, Refusal> {
        Ok(ReachRights::Granted)
    }
}
