//! Tokens, presence and devices of users.

use std::{collections::HashMap, time::Duration};

use im_sdk::{
    backend as sdk,
    id::{Device, UserId},
};

use super::{Backend, BackendError, message::strings, run};
use crate::UserPresence;

/// Creates tokens for devices.
#[derive(Debug, uniffi::Object)]
pub struct TokenMinter {
    inner: im_sdk::token::TokenMinter,
}

#[uniffi::export]
impl TokenMinter {
    /// Signs with a secret of at least 32 bytes that is shared with the servers.
    ///
    /// # Errors
    /// [`BackendError`] `invalid_key`, here and below.
    #[uniffi::constructor]
    pub fn hs256(
        key_id: String,
        secret: Vec<u8>,
        issuer: String,
        audience: String,
    ) -> Result<Self, BackendError> {
        let key = im_sdk::token::SigningKey::hs256(key_id, &secret)?;
        Ok(Self { inner: im_sdk::token::TokenMinter::new(key, issuer, audience) })
    }

    /// Signs with the private key of an elliptic curve, in PEM.
    #[uniffi::constructor]
    pub fn es256(
        key_id: String,
        pem: String,
        issuer: String,
        audience: String,
    ) -> Result<Self, BackendError> {
        let key = im_sdk::token::SigningKey::es256_pem(key_id, pem.as_bytes())?;
        Ok(Self { inner: im_sdk::token::TokenMinter::new(key, issuer, audience) })
    }

    /// Signs with an Ed25519 private key, in PEM.
    #[uniffi::constructor]
    pub fn eddsa(
        key_id: String,
        pem: String,
        issuer: String,
        audience: String,
    ) -> Result<Self, BackendError> {
        let key = im_sdk::token::SigningKey::eddsa_pem(key_id, pem.as_bytes())?;
        Ok(Self { inner: im_sdk::token::TokenMinter::new(key, issuer, audience) })
    }

    /// Creates a token for a user.
    pub fn mint(&self, user: String, valid_for_ms: u64) -> Result<String, BackendError> {
        Ok(self.inner.mint(&UserId::parse(&user)?, Duration::from_millis(valid_for_ms))?)
    }
}

/// A connected device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OnlineDevice {
    /// The device, such as `ios/4f1c`.
    pub device: String,
    /// The server that it is connected to.
    pub server: String,
}

/// The addresses of a server.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ServerAddresses {
    /// The server's id.
    pub server: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The number of its connections.
    pub connections: u32,
}

/// The state of the services that a back end needs.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct BackendHealth {
    /// Redis and NATS answer.
    pub ready: bool,
    /// The error of Redis, if it did not answer.
    pub redis_error: Option<String>,
    /// The error of NATS, if it did not answer.
    pub nats_error: Option<String>,
    /// The servers that are alive.
    pub servers: Vec<String>,
    /// The names of the running services.
    pub services: Vec<String>,
}

#[uniffi::export]
impl Backend {
    /// Returns the presence of users.
    ///
    /// # Errors
    /// [`BackendError`], here and below.
    pub async fn presence(&self, users: Vec<String>) -> Result<Vec<UserPresence>, BackendError> {
        let im = self.im()?;
        run(async move { Ok(im.presence(users).await?.into_iter().map(UserPresence::from).collect()) }).await
    }

    /// Returns the connected devices of users. Users without any are omitted.
    pub async fn online(
        &self,
        users: Vec<String>,
    ) -> Result<HashMap<String, Vec<OnlineDevice>>, BackendError> {
        let im = self.im()?;
        let device = |online: sdk::OnlineDevice| OnlineDevice {
            device: online.device.to_string(),
            server: online.server.to_string(),
        };
        run(async move {
            let online = im.online(users).await?;
            Ok(online
                .into_iter()
                .map(|(user, devices)| (user.to_string(), devices.into_iter().map(device).collect()))
                .collect())
        })
        .await
    }

    /// Stops a user from watching another one.
    pub async fn unwatch(&self, watcher: String, user: String) -> Result<(), BackendError> {
        let im = self.im()?;
        run(async move { Ok(im.unwatch(watcher, user).await?) }).await
    }

    /// Closes the connections of a user, or of one device, and returns their number. The devices may reconnect, unless their tokens
    /// are no longer accepted.
    pub async fn kick(
        &self,
        user: String,
        device: Option<String>,
        reason: String,
    ) -> Result<u64, BackendError> {
        let im = self.im()?;
        let device = device.map(|device| device.parse::<Device>()).transpose()?;
        run(async move { Ok(im.kick(user, device.as_ref(), &reason).await? as u64) }).await
    }

    /// Returns the servers' addresses, best first.
    pub async fn endpoints(&self) -> Result<Vec<ServerAddresses>, BackendError> {
        let im = self.im()?;
        let server = |server: sdk::ServerAddresses| ServerAddresses {
            server: server.server.to_string(),
            addresses: server.addresses,
            connections: server.connections,
        };
        run(async move { Ok(im.endpoints().into_iter().map(server).collect()) }).await
    }

    /// Checks that Redis, NATS and the servers are alive.
    pub async fn health(&self) -> Result<BackendHealth, BackendError> {
        let im = self.im()?;
        run(async move {
            let health = im.health().await;
            Ok(BackendHealth {
                ready: health.is_ready(),
                redis_error: health.redis.err(),
                nats_error: health.nats.err(),
                servers: strings(&health.servers),
                services: health.back_ends.into_iter().map(|back_end| back_end.service).collect(),
            })
        })
        .await
    }
}
