//! A server's configuration, with its defaults. [`file`] reads it from a file and the environment.

pub mod file;
pub(crate) mod warnings;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use im_proto::limits as protocol;
use im_sdk::{
    Endpoint,
    cluster::{ClusterConfig, ConnectError, LoginPolicy},
    token::TokenVerifier,
};

/// The secret of development tokens, which must never verify tokens elsewhere.
pub(crate) const DEV_SECRET: &str = "im-dev-secret-do-not-use-in-production";

/// The longest time that a setting may have.
const DAY_MS: u128 = 24 * 3600 * 1000;

/// See [`ServerConfig::name`].
const MAX_NAME_BYTES: usize = 40;

/// See [`Limits::max_frame_bytes`].
const MAX_FRAME_BYTES: usize = 512 * 1024;

/// See [`Limits::max_handshake_bytes`]: a few requests of the largest size.
const MIN_HANDSHAKE_BYTES: usize = 64 * 1024;

/// See [`Limits::max_publishes_per_second`]. For a higher rate, set no limit.
const MAX_PER_SECOND: u32 = 1_000_000;

/// The configuration of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The server's name: 1-40 letters, digits, `-` and `_`. Its id is the name and a suffix that is new at every boot.
    pub name: String,
    /// The suffix of the id, if it must be known beforehand, for example to restrict the server's NATS user to its own subject. It
    /// must be new at every boot. Letters, digits, `-` and `_`; an id has at most 64 of them. Default: random.
    pub incarnation: Option<String>,
    /// The address on which to listen for WebSocket; `None` disables WebSocket.
    pub websocket: Option<SocketAddr>,
    /// Whether WebSocket uses TLS (`wss`).
    pub websocket_tls: bool,
    /// The address on which to listen for QUIC, which always uses TLS; `None` disables QUIC.
    pub quic: Option<SocketAddr>,
    /// The certificate for QUIC and `wss`.
    pub tls: TlsConfig,
    /// The addresses announced to devices, such as `quic://im1.example.com:7801`. If empty, the listening addresses.
    pub advertise: Vec<String>,
    /// Verifies devices' tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Whether a device whose token is refused is told the expected keys, issuer and audience, which the log shows in any case.
    /// Default false: unauthenticated clients need not know them. `--dev` turns it on.
    pub explain_refusals: bool,
    /// Whether a connection is closed when its token expires, plus the leeway for clocks, so that the device presents a fresh one.
    /// Default true. If false, a device may stay for as long as its connection lasts.
    pub close_expired: bool,
    /// The number of devices of one user that may be connected at once.
    pub login_policy: LoginPolicy,
    /// The limits of connections and memory.
    pub limits: Limits,
    /// The interval within which a device must send something. A connection that is silent for two and a half times as long is
    /// closed. Default 30 s.
    pub heartbeat: Duration,
    /// The time limit from a device's first packet to its `Hello`, the handshakes of its transport included. Default 10 s.
    pub hello_timeout: Duration,
    /// The time limit for a backend's answer to a publish. Default 10 s.
    pub publish_timeout: Duration,
    /// The length of this server's lease: how long its routes count after the last renewal. Default 10 s; renewed at a third of it.
    pub lease: Duration,
    /// The time in which the route of every connection is audited once, and restored if it was lost. Default 5 min.
    pub route_audit: Duration,
    /// The delay before a disconnected device is reported to the backends, and to those who watch the user. A phone in a lift thus
    /// does not flicker between offline and online. Default 5 s; 0 reports at once.
    pub presence_delay: Duration,
    /// The time limit of a drain; `GoAway` is spread over most of it. Default 20 s.
    pub drain_grace: Duration,
}

impl ServerConfig {
    /// Creates a configuration that listens nowhere yet, with defaults for the rest.
    pub fn new(name: impl Into<String>, verifier: TokenVerifier) -> Self {
        Self {
            name: name.into(),
            incarnation: None,
            websocket: None,
            websocket_tls: false,
            quic: None,
            tls: TlsConfig::SelfSigned,
            advertise: Vec::new(),
            verifier: Arc::new(verifier),
            explain_refusals: false,
            close_expired: true,
            login_policy: LoginPolicy::default(),
            limits: Limits::default(),
            heartbeat: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            route_audit: Duration::from_secs(300),
            presence_delay: Duration::from_secs(5),
            drain_grace: Duration::from_secs(20),
        }
    }

    /// Checks the ranges of all settings.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        require(is_word(&self.name, MAX_NAME_BYTES), "server.name", || {
            format!("1 to {MAX_NAME_BYTES} letters, digits, '-' and '_'")
        })?;
        if let Some(incarnation) = &self.incarnation {
            let most = protocol::MAX_SERVER_ID_BYTES - self.name.len() - 1;
            require(is_word(incarnation, most), "server.incarnation", || {
                format!("1 to {most} letters, digits, '-' and '_' beside this server.name")
            })?;
        }
        self.check_advertised()?;
        let durations = [
            ("server.heartbeat_ms", self.heartbeat, 100),
            ("server.hello_timeout_ms", self.hello_timeout, 100),
            ("server.publish_timeout_ms", self.publish_timeout, 100),
            ("server.lease_ms", self.lease, 1000),
            ("server.route_audit_ms", self.route_audit, 100),
            ("server.presence_delay_ms", self.presence_delay, 0),
            ("server.drain_grace_ms", self.drain_grace, 0),
        ];
        for (key, value, least) in durations {
            let holds = (least..=DAY_MS).contains(&value.as_millis());
            require(holds, key, || format!("from {least} to {DAY_MS}"))?;
        }
        self.limits.check()
    }

    /// Checks the advertised addresses. A device that cannot parse one of them may use none.
    fn check_advertised(&self) -> Result<(), InvalidConfig> {
        for (index, address) in self.advertise.iter().enumerate() {
            if let Err(error) = address.parse::<Endpoint>() {
                let rule = format!(
                    "addresses such as \"quic://im1.example.com:7801\" and \"wss://im1.example.com:7800\", and number {} is \
                     none: {}",
                    index + 1,
                    error.problem()
                );
                return Err(InvalidConfig { key: "server.advertise", rule });
            }
        }
        Ok(())
    }

    /// Returns the longest silence that a connection may have.
    pub fn idle_timeout(&self) -> Duration {
        self.heartbeat * 5 / 2
    }
}

/// Checks the ranges of the settings of Redis and NATS.
pub(crate) fn check_cluster(config: &ClusterConfig) -> Result<(), InvalidConfig> {
    let Err(error) = config.check() else { return Ok(()) };
    let (key, rule) = match error {
        ConnectError::InvalidTimeout { setting: "request_timeout" } => {
            ("cluster.request_timeout_ms", TIMEOUT)
        }
        ConnectError::InvalidTimeout { .. } => ("cluster.connect_timeout_ms", TIMEOUT),
        _ => ("cluster.prefix", "1 to 32 letters, digits, '-' and '_'"),
    };
    Err(InvalidConfig { key, rule: rule.to_owned() })
}

const TIMEOUT: &str = "from 1 to 86400000";

/// A setting is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} must be {rule}")]
pub struct InvalidConfig {
    /// The setting, as `im-server.example.toml` names it.
    key: &'static str,
    rule: String,
}

impl InvalidConfig {
    /// Returns the setting, as `im-server.example.toml` names it.
    pub fn key(&self) -> &'static str {
        self.key
    }
}

fn is_word(text: &str, most: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=most).contains(&text.len()) && text.bytes().all(allowed)
}

fn require(holds: bool, key: &'static str, rule: impl FnOnce() -> String) -> Result<(), InvalidConfig> {
    if holds { Ok(()) } else { Err(InvalidConfig { key, rule: rule() }) }
}

/// The source of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Generated at start, for `localhost`, `127.0.0.1` and `::1`. Devices must pin its fingerprint. For development.
    #[default]
    SelfSigned,
    /// PEM files: a certificate chain, and the private key of its first certificate.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// The limits of a server. Every queue of the server is bounded by one of these or by a named constant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of connections; further ones are closed with `overloaded`. Default 1,000,000.
    pub max_connections: usize,
    /// The maximum number of connections that are being admitted: from their first packet to `Welcome`, for `hello_timeout` at
    /// most. Further ones are dropped; devices reconnect after a backoff. Default 65,536.
    pub max_handshakes: usize,
    /// The maximum number of connections from one address (of IPv6: one /64) that are being admitted. 0, the default, means
    /// unlimited, which is necessary behind a proxy that hides addresses.
    pub max_handshakes_per_address: usize,
    /// The maximum number of connections from one address (of IPv6: one /64) in one second, admitted or not. Further ones are
    /// dropped; devices reconnect after a backoff. 0, the default, means unlimited, which is necessary behind a proxy that hides
    /// addresses.
    pub max_connects_per_second_per_address: u32,
    /// The number of bytes that all connections together may hold before they are admitted, beside 2 KiB for each of them, the size
    /// of a usual request or `Hello`. Beyond it, a connection that sends more is closed with `overloaded`. At least 64 KiB. Default
    /// 64 MiB: as much as 10,000 devices with the longest tokens send at once.
    pub max_handshake_bytes: usize,
    /// The maximum number of connections of one user to this server, whatever the login policy; further ones are closed with
    /// `overloaded`. 0 means unlimited. Default 32: more devices than anybody has, and few enough that a message to one user stays
    /// cheap.
    pub max_devices_per_user: usize,
    /// The sustained rate of connections of one user to this server, per second. The burst is sixty times as large, for networks
    /// that come and go. Further ones are closed with `overloaded`; devices reconnect after a backoff. 0 means unlimited. Default 2.
    pub max_connects_per_second_per_user: u32,
    /// The largest frame in either direction, in bytes. At least 64 KiB, since backends send frames of that size. At most 512 KiB,
    /// so that a frame fits into one bus message beside others. Default 64 KiB.
    pub max_frame_bytes: usize,
    /// The maximum number of publishes of one connection that wait for their results. Default 64.
    pub max_inflight_publishes: u32,
    /// The sustained rate of publishes of one connection, per second, which is also the burst. Further ones are refused with the
    /// time to wait, and devices repeat them by themselves. 0, the default, means unlimited.
    pub max_publishes_per_second: u32,
    /// The maximum number of bytes queued for one connection; beyond it the connection is closed with `slow_consumer`. At least
    /// twice the largest frame. Default 1 MiB.
    pub outbox_bytes: usize,
}

impl Limits {
    fn check(&self) -> Result<(), InvalidConfig> {
        require(self.max_connections > 0, "limits.max_connections", || "at least 1".into())?;
        require(self.max_handshakes > 0, "limits.max_handshakes", || "at least 1".into())?;
        require(self.max_handshake_bytes >= MIN_HANDSHAKE_BYTES, "limits.max_handshake_bytes", || {
            format!("at least {MIN_HANDSHAKE_BYTES}")
        })?;
        require(self.max_inflight_publishes > 0, "limits.max_inflight_publishes", || "at least 1".into())?;
        require(self.max_publishes_per_second <= MAX_PER_SECOND, "limits.max_publishes_per_second", || {
            format!("at most {MAX_PER_SECOND}")
        })?;
        let frames = protocol::MAX_FRAME_BYTES..=MAX_FRAME_BYTES;
        require(frames.contains(&self.max_frame_bytes), "limits.max_frame_bytes", || {
            format!("from {} to {}", frames.start(), frames.end())
        })?;
        // A device that is sent one frame of the largest size must not count as slow.
        let least = 2 * self.max_frame_bytes;
        require(self.outbox_bytes >= least, "limits.outbox_bytes", || {
            format!("at least {least}, twice limits.max_frame_bytes")
        })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_000_000,
            max_handshakes: 65_536,
            max_handshakes_per_address: 0,
            max_connects_per_second_per_address: 0,
            max_handshake_bytes: 64 * 1024 * 1024,
            max_devices_per_user: 32,
            max_connects_per_second_per_user: 2,
            max_frame_bytes: protocol::MAX_FRAME_BYTES,
            max_inflight_publishes: protocol::MAX_INFLIGHT_PUBLISHES,
            max_publishes_per_second: 0,
            outbox_bytes: 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_embedded_server_checks_its_settings_too() {
        let mut config = ServerConfig::new("s", TokenVerifier::new("i", "a", []));
        config.lease = Duration::ZERO;
        let started = crate::Server::start(config, im_sdk::cluster::Cluster::embedded()).await;
        assert!(matches!(started, Err(crate::StartError::Config(_))), "{started:?}");
    }
}
