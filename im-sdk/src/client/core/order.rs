//! Which endpoint to try when.

use std::iter;

use crate::client::{Endpoint, Transport};

/// Endpoints that race against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// Starts first.
    pub(crate) quic: Option<Endpoint>,
    /// Starts a little later, or at once if it is alone.
    pub(crate) websocket: Option<Endpoint>,
}

/// The configured endpoints, best first, by server.
#[derive(Debug)]
pub(super) struct Order {
    servers: Vec<Vec<Endpoint>>,
}

impl Order {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        let mut servers: Vec<Vec<Endpoint>> = Vec::new();
        for endpoint in endpoints {
            match servers.last_mut() {
                Some(server) if belongs(endpoint, server) => server.push(endpoint.clone()),
                _ => servers.push(vec![endpoint.clone()]),
            }
        }
        Self { servers }
    }

    /// What to try, best first.
    pub(super) fn rounds(&self) -> Vec<Round> {
        let mut quic = self.of(Transport::Quic);
        let mut websocket = self.of(Transport::WebSocket);
        iter::from_fn(|| match (quic.next(), websocket.next()) {
            (None, None) => None,
            (quic, websocket) => Some(Round { quic: quic.cloned(), websocket: websocket.cloned() }),
        })
        .collect()
    }

    /// Moves the server behind an endpoint to the end.
    pub(super) fn demote(&mut self, endpoint: &Endpoint) {
        if let Some(index) = self.servers.iter().position(|server| server.contains(endpoint)) {
            let server = self.servers.remove(index);
            self.servers.push(server);
        }
    }

    fn of(&self, transport: Transport) -> impl Iterator<Item = &Endpoint> {
        self.servers.iter().flatten().filter(move |endpoint| endpoint.transport() == transport)
    }
}

/// Neighbours with the same host and different transports are one server.
fn belongs(endpoint: &Endpoint, server: &[Endpoint]) -> bool {
    let fits =
        |other: &Endpoint| other.host() == endpoint.host() && other.transport() != endpoint.transport();
    server.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(endpoints: &[&str]) -> Order {
        Order::new(&endpoints.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn shown(order: &Order) -> Vec<String> {
        let name =
            |endpoint: Option<Endpoint>| endpoint.map_or("-".to_owned(), |endpoint| endpoint.to_string());
        order
            .rounds()
            .into_iter()
            .map(|round| format!("{} {}", name(round.quic), name(round.websocket)))
            .collect()
    }

    #[test]
    fn each_transport_keeps_the_given_order() {
        let order = order(&["ws://a:1", "quic://b:2", "quic://c:3"]);
        assert_eq!(shown(&order), ["quic://b:2 ws://a:1/", "quic://c:3 -"]);
    }

    #[test]
    fn a_server_moves_to_the_end_as_a_whole() {
        let mut order = order(&["quic://a:1", "ws://a:2", "quic://a:3", "ws://a:4"]);
        assert_eq!(shown(&order), ["quic://a:1 ws://a:2/", "quic://a:3 ws://a:4/"]);
        order.demote(&"ws://a:2".parse().unwrap());
        assert_eq!(shown(&order), ["quic://a:3 ws://a:4/", "quic://a:1 ws://a:2/"]);
        order.demote(&"ws://elsewhere:2".parse().unwrap());
        assert_eq!(shown(&order)[0], "quic://a:3 ws://a:4/");
    }
}
