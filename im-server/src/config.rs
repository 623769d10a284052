//! What a server needs to know, with its defaults. [`crate::file`] reads the same from a file and the environment.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use im_proto::limits;
use im_sdk::{cluster::LoginPolicy, token::TokenVerifier};

/// What a server needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The server's name: 1-40 letters, digits, `-` and `_`. Its id is the name and a suffix that is new at every boot.
    pub name: String,
    /// The suffix, where it must be known beforehand, for example to give the server's NATS user no more than its own
    /// subject. It must be new at every boot. Default: random.
    pub incarnation: Option<String>,
    /// Where to listen for WebSocket. `None`: nowhere.
    pub websocket: Option<SocketAddr>,
    /// Whether WebSocket is behind TLS (`wss`).
    pub websocket_tls: bool,
    /// Where to listen for QUIC, which is always behind TLS. `None`: nowhere.
    pub quic: Option<SocketAddr>,
    /// The certificate for QUIC and `wss`.
    pub tls: TlsConfig,
    /// The addresses that devices are told, such as `quic://im1.example.com:7801`. Empty: the listening addresses.
    pub advertise: Vec<String>,
    /// What verifies devices' tokens.
    pub verifier: Arc<TokenVerifier>,
    /// How many devices of one user may be connected at once.
    pub login_policy: LoginPolicy,
    /// How much is allowed.
    pub limits: Limits,
    /// How often a device must send something. A connection that was silent for two and a half times as long is closed.
    /// Default 30 s.
    pub heartbeat: Duration,
    /// How long a device may take from its first packet to its `Hello`. Default 10 s.
    pub hello_timeout: Duration,
    /// How long a back end may take to answer a publish. Default 10 s.
    pub publish_timeout: Duration,
    /// How long the routes of this server count after it was last heard of. Default 10 s; renewed at a third of it.
    pub lease: Duration,
    /// How long a shutdown may take; `GoAway` is spread over most of it. Default 20 s.
    pub drain_grace: Duration,
}

impl ServerConfig {
    /// A configuration that listens nowhere yet, with defaults for the rest.
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
            login_policy: LoginPolicy::default(),
            limits: Limits::default(),
            heartbeat: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            drain_grace: Duration::from_secs(20),
        }
    }

    /// How long a connection may be silent.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.heartbeat * 5 / 2
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Made at start, for `localhost`, `127.0.0.1` and `::1`. Devices must pin its fingerprint. For development.
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

/// How much is allowed. Every queue of the server is bounded by one of these or by a named constant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once; further ones are closed with `overloaded`. Default 1,000,000.
    pub max_connections: usize,
    /// The largest frame in either direction, in bytes. Default 64 KiB.
    pub max_frame_bytes: usize,
    /// Publishes of one connection that may wait for their results. Default 64.
    pub max_inflight_publishes: u32,
    /// Bytes that may wait to be written to one connection; beyond it the connection is closed with `slow_consumer`.
    /// Default 1 MiB.
    pub outbox_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_000_000,
            max_frame_bytes: limits::MAX_FRAME_BYTES,
            max_inflight_publishes: limits::MAX_INFLIGHT_PUBLISHES,
            outbox_bytes: 1024 * 1024,
        }
    }
}
