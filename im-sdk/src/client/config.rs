//! Configuration and limits of a client.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Endpoint,
    client::{
        TokenProvider, Trust,
        device_store::{DeviceStore, MemoryStore},
    },
    id::Device,
};

/// Configuration of a client.
///
/// ```
/// use std::sync::Arc;
///
/// use im_sdk::{client::ClientConfig, id::Device};
///
/// let endpoints = vec!["quic://im.example.com:7801".parse()?, "wss://im.example.com".parse()?];
/// let device: Device = "desktop/laptop-1".parse()?;
/// let config = ClientConfig::new(endpoints, device, Arc::new("a token"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The endpoints of the servers, best first. Neighbours with the same host and different transports count as one server.
    ///
    /// A connection attempt goes through the list. The first QUIC endpoint races against the first WebSocket endpoint
    /// ([`WEBSOCKET_DELAY`] later), then against the second ones, as soon as the first have failed or [`SERVER_DELAY`]
    /// later, and so on, six at once. The first one that answers is kept. A server moves to the end of the list if it fails,
    /// if one further down the list overtakes it, or if it is about to stop.
    pub endpoints: Vec<Endpoint>,
    /// The device: its kind, and its name, which should stay the same over restarts.
    pub device: Device,
    /// The provider of tokens.
    pub tokens: Arc<dyn TokenProvider>,
    /// The certificates to trust. [`Trust::WebPki`] unless set.
    pub trust: Trust,
    /// The store for the state that the device must not forget. Default: a [`MemoryStore`], which is lost when the process
    /// ends. Then each log starts with a reset, and unsent messages are lost.
    pub store: Arc<dyn DeviceStore>,
    /// The time that [`SendRequest::outcome`](crate::client::SendRequest::outcome) waits, including for a connection,
    /// unless [`SendRequest::within`](crate::client::SendRequest::within) sets another one. 30 s unless set.
    pub publish_timeout: Duration,
    /// The time that [`Client::history`](crate::client::Client::history) and other requests to the backend wait, including for a
    /// connection. 15 s unless set.
    pub request_timeout: Duration,
    /// The approximate interval of checks that the device has missed nothing, beside the checks that have a reason. 5 min unless
    /// set.
    pub cursor_check: Duration,
    /// The time that one endpoint may take to establish its transport. 10 s unless set.
    pub connect_timeout: Duration,
    /// The name and version of the software, for operators. `im-sdk-rust/<version>` unless set.
    pub client_name: String,
    /// Set if the user has just logged in on this device, which then displaces another one if the login policy allows only one.
    /// Without it, a store that was connected before continues its login, and the client stops with
    /// [`CloseCode::Replaced`](crate::client::CloseCode) if another device is connected in its place. A new store is a new login,
    /// and so is a [`connect`](crate::client::Client::connect) after that.
    pub new_login: bool,
}

impl ClientConfig {
    /// Makes a configuration with the default of each field.
    pub fn new(endpoints: Vec<Endpoint>, device: Device, tokens: Arc<dyn TokenProvider>) -> Self {
        Self {
            endpoints,
            device,
            tokens,
            trust: Trust::default(),
            store: Arc::new(MemoryStore::new()),
            publish_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(15),
            cursor_check: Duration::from_secs(5 * 60),
            connect_timeout: Duration::from_secs(10),
            client_name: CLIENT_NAME.to_owned(),
            new_login: false,
        }
    }
}

impl fmt::Debug for ClientConfig {
    /// Leaves out the token provider and the store.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientConfig")
            .field("endpoints", &self.endpoints)
            .field("device", &self.device)
            .field("trust", &self.trust)
            .field("publish_timeout", &self.publish_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("cursor_check", &self.cursor_check)
            .field("connect_timeout", &self.connect_timeout)
            .field("client_name", &self.client_name)
            .field("new_login", &self.new_login)
            .finish_non_exhaustive()
    }
}

/// The head start of QUIC over the WebSocket attempt. A QUIC handshake takes one round trip, which is well
/// below this on nearly every network. Where UDP is blocked, a person does not notice the wait.
pub const WEBSOCKET_DELAY: Duration = Duration::from_millis(300);

/// The delay between the last attempt at one server and the first attempt at the next one, if the former has neither succeeded
/// nor failed. It is long enough for a distant server to answer first, and short enough for a person to wait when the first
/// server is dead.
pub const SERVER_DELAY: Duration = Duration::from_secs(1);

/// The most events that wait for the application. When that many wait, the client stops reading from the network; it drops
/// none.
pub const MAX_QUEUED_EVENTS: usize = 256;

/// The most waiting publishes, including sent ones. An application that stays faster than this for as long as a publish
/// may take gets an error.
pub const MAX_QUEUED_PUBLISHES: usize = 1024;

/// The most waiting requests, including sent ones.
pub const MAX_QUEUED_REQUESTS: usize = 64;

/// The number of failed sends that are kept until they are discarded. The oldest is forgotten first.
pub const MAX_FAILED_SENDS: usize = 256;

/// The ceiling of the first delay after a lost connection. Each further attempt doubles it.
pub const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// The longest delay between two attempts.
pub const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// The time for which a connection must stay up so that its loss counts as the first one.
pub const STABLE_AFTER: Duration = Duration::from_secs(30);

const CLIENT_NAME: &str = concat!("im-sdk-rust/", env!("CARGO_PKG_VERSION"));
