//! Resolution of hosts.

use std::{net::SocketAddr, time::Duration};

use super::ConnectError;
use crate::Endpoint;

/// Resolves an endpoint to its addresses, in the system's order, with the two address families taking turns, so that a
/// broken one costs at most one [`ADDRESS_DELAY`].
pub(super) async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = (endpoint.host(), endpoint.port());
    let found = tokio::net::lookup_host(host).await.map_err(ConnectError::Resolve)?;
    match take_turns(found.collect()) {
        addresses if addresses.is_empty() => Err(ConnectError::NoAddress),
        addresses => Ok(addresses),
    }
}

/// Returns the last error, after all addresses have failed.
pub(super) fn last_error(errors: Vec<ConnectError>) -> ConnectError {
    errors.into_iter().next_back().unwrap_or(ConnectError::NoAddress)
}

fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_family);
    let mut second = second.into_iter();
    let mut turns: Vec<_> =
        first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    turns.extend(second);
    turns.truncate(MAX_ADDRESSES);
    turns
}

/// The delay between attempts at two addresses (RFC 8305, section 5).
pub(super) const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// The most addresses of one host that are tried.
pub(super) const MAX_ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(take_turns(given), parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
        let given = parse(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(take_turns(given), parse(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]));
        assert_eq!(take_turns(Vec::new()), Vec::new());
    }
}
