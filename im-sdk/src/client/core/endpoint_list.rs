//! The known endpoints, and the order in which to try them.

use std::iter;

use crate::{Endpoint, Transport};

/// Endpoints that race against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// The endpoint that starts the round.
    pub(crate) quic: Option<Endpoint>,
    /// The endpoint that starts a little later, or at once without the other one.
    pub(crate) websocket: Option<Endpoint>,
}

/// The known endpoints grouped by server, best first.
#[derive(Debug)]
pub(super) struct EndpointList {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    endpoints: Vec<Endpoint>,
    /// Set if the server has failed since the last welcome of any server.
    failed: bool,
}

impl EndpointList {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        let mut servers: Vec<Server> = Vec::new();
        for endpoint in endpoints {
            match servers.last_mut() {
                Some(server) if belongs(endpoint, &server.endpoints) => {
                    server.endpoints.push(endpoint.clone())
                }
                _ => servers.push(Server { endpoints: vec![endpoint.clone()], failed: false }),
            }
        }
        Self { servers }
    }

    /// Replaces the servers, in this order. If they are the same as before, the order that failures have brought about is
    /// kept.
    pub(super) fn replace(&mut self, endpoints: &[Endpoint]) {
        let new = Self::new(endpoints);
        let is_known = |server: &Server| self.servers.iter().any(|known| known.endpoints == server.endpoints);
        if new.servers.len() != self.servers.len() || !new.servers.iter().all(is_known) {
            *self = new;
        }
    }

    /// Notes a welcome of a server.
    pub(super) fn handle_welcome(&mut self) {
        self.mark(false);
    }

    /// Notes that no server could be reached.
    pub(super) fn handle_all_failed(&mut self) {
        self.mark(true);
    }

    /// Returns `true`, once, if all servers have failed.
    pub(super) fn take_all_failed(&mut self) -> bool {
        let all = self.servers.iter().all(|server| server.failed);
        if all {
            self.mark(false);
        }
        all
    }

    fn mark(&mut self, failed: bool) {
        self.servers.iter_mut().for_each(|server| server.failed = failed);
    }

    /// Returns the rounds to try, best first.
    pub(super) fn rounds(&self) -> Vec<Round> {
        let mut quic = self.of(Transport::Quic);
        let mut websocket = self.of(Transport::WebSocket);
        iter::from_fn(|| match (quic.next(), websocket.next()) {
            (None, None) => None,
            (quic, websocket) => Some(Round { quic: quic.cloned(), websocket: websocket.cloned() }),
        })
        .collect()
    }

    /// Moves the server of a failed endpoint to the end.
    pub(super) fn move_to_end(&mut self, endpoint: &Endpoint) {
        if let Some(index) = self.servers.iter().position(|server| server.endpoints.contains(endpoint)) {
            let server = self.servers.remove(index);
            self.servers.push(Server { failed: true, ..server });
        }
    }

    fn of(&self, transport: Transport) -> impl Iterator<Item = &Endpoint> {
        let endpoints = self.servers.iter().flat_map(|server| &server.endpoints);
        endpoints.filter(move |endpoint| endpoint.transport() == transport)
    }
}

/// Returns `true` if an endpoint belongs to a server. Neighbours with the same host and different transports
/// are one server.
fn belongs(endpoint: &Endpoint, server: &[Endpoint]) -> bool {
    let fits =
        |other: &Endpoint| other.host() == endpoint.host() && other.transport() != endpoint.transport();
    server.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(endpoints: &[&str]) -> EndpointList {
        EndpointList::new(&endpoints.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn shown(list: &EndpointList) -> Vec<String> {
        let name =
            |endpoint: Option<Endpoint>| endpoint.map_or("-".to_owned(), |endpoint| endpoint.to_string());
        list.rounds()
            .into_iter()
            .map(|round| format!("{} {}", name(round.quic), name(round.websocket)))
            .collect()
    }

    #[test]
    fn each_transport_keeps_the_given_order() {
        let list = list(&["ws://a:1", "quic://b:2", "quic://c:3"]);
        assert_eq!(shown(&list), ["quic://b:2 ws://a:1/", "quic://c:3 -"]);
    }

    #[test]
    fn a_server_moves_to_the_end_as_a_whole() {
        let mut list = list(&["quic://a:1", "ws://a:2", "quic://a:3", "ws://a:4"]);
        assert_eq!(shown(&list), ["quic://a:1 ws://a:2/", "quic://a:3 ws://a:4/"]);
        list.move_to_end(&"ws://a:2".parse().unwrap());
        assert_eq!(shown(&list), ["quic://a:3 ws://a:4/", "quic://a:1 ws://a:2/"]);
        list.move_to_end(&"ws://elsewhere:2".parse().unwrap());
        assert_eq!(shown(&list)[0], "quic://a:3 ws://a:4/");
    }

    #[test]
    fn all_have_failed_when_each_has_since_the_last_welcome() {
        let [a, b] = ["ws://a:1", "ws://b:1"].map(|text| text.parse().unwrap());
        let mut list = list(&["ws://a:1", "ws://b:1"]);
        list.move_to_end(&a);
        list.move_to_end(&a);
        assert!(!list.take_all_failed());
        list.move_to_end(&b);
        assert!(list.take_all_failed());
        assert!(!list.take_all_failed(), "it is said once");
        list.move_to_end(&a);
        list.handle_welcome();
        list.move_to_end(&b);
        assert!(!list.take_all_failed());
        list.handle_all_failed();
        assert!(list.take_all_failed());
    }

    #[test]
    fn the_same_servers_again_keep_their_order() {
        let [a, b, c] = ["ws://a:1", "ws://b:1", "ws://c:1"].map(|text| text.parse().unwrap());
        let mut list = list(&["ws://a:1", "ws://b:1"]);
        list.move_to_end(&a);
        list.replace(&[a.clone(), b.clone()]);
        assert_eq!(shown(&list), ["- ws://b:1/", "- ws://a:1/"]);
        list.replace(&[a, c]);
        assert_eq!(shown(&list), ["- ws://a:1/", "- ws://c:1/"]);
    }
}
