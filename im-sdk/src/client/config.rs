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
    /// A connection attempt goes through the list: the first QUIC endpoint races against the first WebSocket endpoint
    /// ([`WEBSOCKET_DELAY`] later), against the second ones as soon as that has failed or [`SERVER_DELAY`] later, and so on,
    /// six at once. The one that answers first is kept. A server that fails, that another one further down the list
    /// overtakes, or that is about to stop moves to the end of the list.
    pub endpoints: Vec<Endpoint>,
    /// The kind of device, and its name, which should stay the same over restarts.
    pub device: Device,
    /// The provider of tokens.
    pub tokens: Arc<dyn TokenProvider>,
    /// The certificates to trust. [`Trust::WebPki`] unless set.
    pub trust: Trust,
    /// The store for the state that the device must not forget. A [`MemoryStore`] unless set, which forgets when the process
    /// ends: then each log starts with a reset, and what was not sent is lost.
    pub store: Arc<dyn DeviceStore>,
    /// The time that [`SendRequest::outcome`](crate::client::SendRequest::outcome) waits, for a connection included, unless
    /// [`SendRequest::within`](crate::client::SendRequest::within) says otherwise. 30 s unless set.
    pub publish_timeout: Duration,
    /// The time that [`Client::history`](crate::client::Client::history) and other requests to the back end wait, for a connection
    /// included. 15 s unless set.
    pub request_timeout: Duration,
    /// The approximate interval of checks that the device has missed nothing, beside the checks that have a reason. 5 min unless set.
    pub cursor_check: Duration,
    /// The time that one endpoint may take to establish its transport. 10 s unless set.
    pub connect_timeout: Duration,
    /// Name and version of the software, for the operator's eyes. `im-sdk-rust/<version>` unless set.
    pub client_name: String,
    /// The user has just logged in on this device, which so takes the place of another one where the login policy allows but one. Not
    /// set, a store that was connected before goes on with its login, and stops with [`CloseCode::Replaced`](crate::client::CloseCode)
    /// where another device is connected in its place. A new store is a new login, and so is a
    /// [`connect`](crate::client::Client::connect) behind that.
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
    /// Leaves the token provider and the store out.
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

/// The head start of QUIC over the WebSocket attempt. A QUIC handshake takes one round trip, which on nearly
/// every network is well below this, and a person does not notice the wait where UDP is blocked.
pub const WEBSOCKET_DELAY: Duration = Duration::from_millis(300);

/// The delay between the last attempt at one server and the first attempt at the next one, if the former has neither succeeded nor
/// failed. It is long enough for a distant server to answer first, and short for a person who waits because the first server of
/// the list is dead.
pub const SERVER_DELAY: Duration = Duration::from_secs(1);

/// The number of events that wait for the application. When that many wait, the client stops reading from the network; it drops
/// none.
pub const MAX_QUEUED_EVENTS: usize = 256;

/// The number of publishes that wait, sent ones included. An application that produces faster than this for as long as a
/// publish may take has to be told.
pub const MAX_QUEUED_PUBLISHES: usize = 1024;

/// The number of requests that wait, sent ones included.
pub const MAX_QUEUED_REQUESTS: usize = 64;

/// The number of failed sends that are kept until they are discarded. The oldest is forgotten first.
pub const MAX_FAILED_SENDS: usize = 256;

/// The shortest delay's ceiling after a connection was lost. Each further attempt doubles it.
pub const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// The longest delay between two attempts.
pub const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// A connection that stayed up this long makes the next loss count as the first.
pub const STABLE_AFTER: Duration = Duration::from_secs(30);

const CLIENT_NAME: &str = concat!("im-sdk-rust/", env!("CARGO_PKG_VERSION"));
