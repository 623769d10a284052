//! The race of QUIC against WebSocket, and of servers against each other.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{ConnectError, Link, quic, stagger::stagger, websocket};
use crate::{
    Endpoint, Transport,
    client::{
        ClientConfig, OpenError, SERVER_DELAY, WEBSOCKET_DELAY,
        core::{Round, Via},
        trust::tls_config,
    },
};

/// Makes connections.
pub(crate) struct Connector {
    quic: quinn::ClientConfig,
    websocket: Arc<rustls::ClientConfig>,
    timeout: Duration,
}

/// The first established connection. No frame was sent yet.
pub(crate) struct RaceWinner {
    pub(crate) link: Link,
    pub(crate) via: Via,
    /// The number of earlier rounds that this one has overtaken: they have failed, or took longer although they began earlier.
    pub(crate) overtaken: usize,
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

    /// Runs the rounds. The transport that is established first wins, and the others are dropped. A round
    /// begins before the earlier ones are over, see [`schedule`].
    ///
    /// # Errors
    /// The reasons of all endpoints, for people.
    pub(crate) async fn race(self: Arc<Self>, rounds: Vec<Round>) -> Result<Box<RaceWinner>, String> {
        let attempts =
            schedule(rounds).map(|(delay, round, endpoint)| (delay, self.connect(round, endpoint)));
        stagger(attempts, MAX_ATTEMPTS).await.map_err(|reasons| reasons.join("; "))
    }

    fn connect(&self, round: usize, endpoint: Endpoint) -> BoxFuture<'_, Result<Box<RaceWinner>, String>> {
        async move {
            let transport = endpoint.transport();
            match tokio::time::timeout(self.timeout, self.establish(&endpoint)).await {
                Ok(Ok(link)) => {
                    Ok(Box::new(RaceWinner { link, via: Via { transport, endpoint }, overtaken: round }))
                }
                Ok(Err(error)) => Err(format!("{endpoint}: {}", error.describe())),
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

/// Schedules the endpoints, each with the number of its round and its delay after the one before it. The delay ends early if
/// that one fails.
fn schedule(rounds: Vec<Round>) -> impl Iterator<Item = (Duration, usize, Endpoint)> {
    rounds.into_iter().enumerate().flat_map(|(number, round)| {
        let endpoints = [round.quic, round.websocket].into_iter().flatten();
        endpoints.enumerate().map(move |(behind, endpoint)| {
            let delay = if behind == 0 { SERVER_DELAY } else { WEBSOCKET_DELAY };
            (delay, number, endpoint)
        })
    })
}

/// The most concurrent attempts: three servers over both transports. If nothing answers, a phone need not ask all servers at
/// once, and servers that are slow because many devices connect need not do several handshakes with each.
const MAX_ATTEMPTS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_follow_each_other_at_a_distance_and_websocket_its_quic() {
        let round = |quic: Option<&str>, websocket: Option<&str>| Round {
            quic: quic.map(|text| text.parse().unwrap()),
            websocket: websocket.map(|text| text.parse().unwrap()),
        };
        let rounds = vec![
            round(Some("quic://a:1"), Some("ws://a:2")),
            round(None, Some("ws://b:2")),
            round(Some("quic://c:1"), Some("ws://c:2")),
        ];
        let shown: Vec<_> = schedule(rounds)
            .map(|(delay, round, endpoint)| (delay.as_millis(), round, endpoint.to_string()))
            .collect();
        let expected = [
            (1000, 0, "quic://a:1"),
            (300, 0, "ws://a:2/"),
            (1000, 1, "ws://b:2/"),
            (1000, 2, "quic://c:1"),
            (300, 2, "ws://c:2/"),
        ];
        assert_eq!(shown, expected.map(|(delay, round, url)| (delay, round, url.to_owned())));
    }
}
