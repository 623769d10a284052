//! Warnings about settings that work but do not belong in a deployment.

use std::net::SocketAddr;

use super::{ServerConfig, TlsConfig};

/// Returns warnings for the operator at start, one sentence each, about settings that work but are probably unintended.
pub fn config_warnings(config: &ServerConfig) -> Vec<String> {
    let unadvertised = config.advertise.is_empty();
    let listeners = [("websocket.listen", config.websocket), ("quic.listen", config.quic)];
    let anywhere =
        listeners.into_iter().filter(|(_, at)| unadvertised && is(*at, |at| at.ip().is_unspecified()));
    let anywhere = anywhere.map(|(key, at)| {
        let at = at.map(|at| at.to_string()).unwrap_or_default();
        format!(
            "{key} is {at} and server.advertise is not set: devices are told an address that they cannot connect to; set \
             server.advertise to what they can reach"
        )
    });
    anywhere.chain(self_signed(config)).chain(plain(config)).collect()
}

fn self_signed(config: &ServerConfig) -> Option<String> {
    let secured = [config.quic, config.websocket.filter(|_| config.websocket_tls)];
    let open = secured.into_iter().any(|at| is(at, is_open));
    (open && config.tls == TlsConfig::SelfSigned).then(|| {
        "no [tls] certificate is configured, so the server made a self-signed one for localhost: devices elsewhere do not \
         trust it; set tls.certificate and tls.key"
            .to_owned()
    })
}

fn plain(config: &ServerConfig) -> Option<String> {
    let open = is(config.websocket, is_open) && !config.websocket_tls;
    open.then(|| {
        "websocket.tls is off on an address that others reach: tokens and messages travel in the clear, unless a proxy in \
         front ends TLS; else set websocket.tls"
            .to_owned()
    })
}

fn is(at: Option<SocketAddr>, what: impl FnOnce(SocketAddr) -> bool) -> bool {
    at.is_some_and(what)
}

/// Returns whether other machines can reach the address.
fn is_open(at: SocketAddr) -> bool {
    !at.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use im_sdk::token::TokenVerifier;

    use super::*;

    fn told(websocket: Option<&str>, quic: Option<&str>, change: impl FnOnce(&mut ServerConfig)) -> String {
        let mut config = ServerConfig::new("s", TokenVerifier::new("i", "a", []));
        config.websocket = websocket.map(|at| at.parse().unwrap());
        config.quic = quic.map(|at| at.parse().unwrap());
        change(&mut config);
        config_warnings(&config).join("\n")
    }

    fn files(config: &mut ServerConfig) {
        config.tls = TlsConfig::Files { certificate: "c".into(), key: "k".into() };
        config.websocket_tls = true;
    }

    #[test]
    fn a_development_server_needs_no_advice() {
        for (websocket, quic) in [
            (Some("127.0.0.1:1"), Some("127.0.0.1:2")),
            (Some("[::1]:1"), None),
            (None, Some("[::1]:1")),
            (None, None),
        ] {
            assert_eq!(told(websocket, quic, |_| {}), "");
        }
    }

    #[test]
    fn an_address_that_nobody_can_connect_to_is_told() {
        let all = told(Some("0.0.0.0:1"), Some("[::]:2"), files);
        assert_eq!(all.lines().count(), 2, "{all}");
        assert!(all.contains("websocket.listen is 0.0.0.0:1") && all.contains("quic.listen is [::]:2"));
        let advertised = |config: &mut ServerConfig| {
            files(config);
            config.advertise = vec!["wss://im.example.com".into()];
        };
        assert_eq!(told(Some("0.0.0.0:1"), Some("[::]:2"), advertised), "");
        assert_eq!(told(Some("192.0.2.1:1"), Some("192.0.2.1:2"), files), "");
    }

    #[test]
    fn a_missing_certificate_is_told_where_others_connect() {
        let quic = told(None, Some("192.0.2.1:2"), |_| {});
        assert!(quic.contains("no [tls] certificate") && quic.lines().count() == 1, "{quic}");
        let wss = told(Some("192.0.2.1:2"), None, |config| config.websocket_tls = true);
        assert!(wss.contains("no [tls] certificate") && wss.lines().count() == 1, "{wss}");
        let ws = told(Some("192.0.2.1:2"), None, |_| {});
        assert!(ws.contains("websocket.tls is off") && ws.lines().count() == 1, "{ws}");
    }
}
