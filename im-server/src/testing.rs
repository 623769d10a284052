//! Connections and servers for unit tests, without sockets.

use std::sync::Arc;

use im_sdk::{
    cluster::Cluster,
    id::{Device, UserId},
    token::{TokenVerifier, VerificationKey},
};

use crate::{
    Server, ServerConfig,
    registry::{Registration, Registry, outbox::Outbox},
};

/// Registers a connection of one user, with an outbox and nothing behind it.
pub(crate) fn register(registry: &Arc<Registry>) -> Registration {
    register_with(registry, "u", Outbox::new(1000))
}

/// Registers a connection of this user with this outbox.
pub(crate) fn register_with(registry: &Arc<Registry>, user: &str, outbox: Outbox) -> Registration {
    let (user, device): (UserId, Device) = (user.parse().unwrap(), "web/d".parse().unwrap());
    registry.register(user, device, u64::MAX, outbox).unwrap()
}

/// Creates a connection in its own registry.
pub(crate) fn connection() -> Registration {
    register(&Arc::new(Registry::new(1, 7)))
}

/// Starts a server with its cluster in this process.
pub(crate) async fn server() -> Server {
    server_on(Cluster::embedded()).await
}

/// Starts a server on this cluster.
pub(crate) async fn server_on(cluster: Cluster) -> Server {
    let key = VerificationKey::hs256("test", &[7; 32]).unwrap();
    let mut config = ServerConfig::new("test", TokenVerifier::new("test", "test", [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    Server::start(config, cluster).await.unwrap()
}
