//! QUIC against WebSocket.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{ConnectError, Link, quic, stagger::stagger, websocket};
use crate::client::{
    ClientConfig, Endpoint, OpenError, Transport, WEBSOCKET_DELAY,
    core::{Round, Via},
    trust::tls_config,
};

/// Makes connections.
pub(crate) struct Connector {
    quic: quinn::ClientConfig,
    websocket: Arc<rustls::ClientConfig>,
    timeout: Duration,
}

/// An established connection, on which nothing has been said yet.
pub(crate) struct Won {
    pub(crate) link: Link,
    pub(crate) via: Via,
    /// How many rounds had failed before.
    pub(crate) failed_rounds: usize,
}

impl Connector {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, OpenError> {
        let tls = tls_config(&config.trust)?;
        Ok(Self {
            quic: quic::config(tls.clone())?,
            websocket: websocket::config(tls),
            timeout: config.connect_timeout,
        })
    }

    /// Goes through the rounds. In each, the transport that is established first wins and the other is dropped.
    ///
    /// # Errors
    /// Why each endpoint failed, for people.
    pub(crate) async fn race(self: Arc<Self>, rounds: Vec<Round>) -> Result<Box<Won>, String> {
        let mut reasons = Vec::new();
        for (failed_rounds, round) in rounds.into_iter().enumerate() {
            let attempts = [round.quic, round.websocket].into_iter().flatten();
            let attempts = attempts.map(|endpoint| self.connect(endpoint));
            match stagger(attempts, WEBSOCKET_DELAY).await {
                Ok((link, via)) => return Ok(Box::new(Won { link, via, failed_rounds })),
                Err(errors) => reasons.extend(errors),
            }
        }
        Err(reasons.join("; "))
    }

    fn connect(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<(Link, Via), String>> {
        async move {
            let transport = endpoint.transport();
            match tokio::time::timeout(self.timeout, self.establish(&endpoint)).await {
                Ok(Ok(link)) => Ok((link, Via { transport, endpoint })),
                Ok(Err(error)) => Err(format!("{endpoint}: {error}")),
                Err(_) => Err(format!("{endpoint}: {}", ConnectError::Timeout(self.timeout))),
            }
        }
        .boxed()
    }

    async fn establish(&self, endpoint: &Endpoint) -> Result<Link, ConnectError> {
        match endpoint.transport() {
            Transport::Quic => quic::connect(endpoint, &self.quic).await,
            Transport::WebSocket => websocket::connect(endpoint, &self.websocket).await,
        }
    }
}
