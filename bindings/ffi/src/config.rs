//! Configuration of a client.

use std::{sync::Arc, time::Duration};

use im_sdk::{
    client as sdk,
    id::{Device, DeviceId},
};

use crate::{
    OpenError,
    token::{EndpointProvider, Foreign, TokenProvider, parse_endpoints},
};

/// Configuration of a client.
#[derive(Clone, uniffi::Record)]
pub struct ClientConfig {
    /// The endpoints of the servers, best first: `quic://host:port`, `wss://host[:port][/path]`, `ws://host[:port][/path]`.
    pub endpoints: Vec<String>,
    /// The kind of device.
    pub terminal: Terminal,
    /// The device's name, the same over restarts: 1-64 printable ASCII characters without space, `{`, `}` and `/`.
    pub device_id: String,
    /// The certificates to trust. Default: those of the public certificate authorities.
    #[uniffi(default = None)]
    pub trust: Option<Trust>,
    /// The file in which the device keeps its position in each log, its unsent messages, and its numbers. Without one
    /// it forgets them when the process ends. A file belongs to one user. Opening the client blocks until the file is
    /// open: up to a second if another client has it.
    #[uniffi(default = None)]
    pub store_path: Option<String>,
    /// The time limit of `send_and_wait` without a limit of its own, including the wait for a connection. Default 30 s.
    #[uniffi(default = None)]
    pub publish_timeout_ms: Option<u64>,
    /// The time limit of requests, such as a history, including the wait for a connection. Default 15 s.
    #[uniffi(default = None)]
    pub request_timeout_ms: Option<u64>,
    /// The approximate interval at which the device checks that it has missed nothing, in addition to checks that have
    /// a reason. Default 5 min.
    #[uniffi(default = None)]
    pub cursor_check_ms: Option<u64>,
    /// The time limit for establishing the transport to one endpoint. Default 10 s.
    #[uniffi(default = None)]
    pub connect_timeout_ms: Option<u64>,
    /// Name and version of the software, for operators.
    #[uniffi(default = None)]
    pub client_name: Option<String>,
    /// The user has just logged in on this device: it takes the place of other devices, as the login policy defines. Otherwise a
    /// device whose store knows a user continues its login.
    #[uniffi(default = false)]
    pub new_login: bool,
    /// Provides new endpoints when none of the known ones could be reached.
    #[uniffi(default = None)]
    pub endpoint_provider: Option<Arc<dyn EndpointProvider>>,
}

impl ClientConfig {
    pub(crate) fn parse(self, tokens: Arc<dyn TokenProvider>) -> Result<sdk::ClientConfig, OpenError> {
        let device_id = DeviceId::parse(&self.device_id).map_err(OpenError::invalid)?;
        let device = Device::new(self.terminal.into(), device_id);
        let endpoints = parse_endpoints(&self.endpoints)?;
        let mut config = sdk::ClientConfig::new(
            endpoints,
            device,
            Arc::new(Foreign { tokens, endpoints: self.endpoint_provider }),
        );
        if let Some(trust) = self.trust {
            config.trust = trust.parse()?;
        }
        if let Some(path) = self.store_path {
            config.store = Arc::new(im_sdk::client::device_store::SqliteStore::open(path)?);
        }
        set(&mut config.publish_timeout, self.publish_timeout_ms.map(Duration::from_millis));
        set(&mut config.request_timeout, self.request_timeout_ms.map(Duration::from_millis));
        set(&mut config.cursor_check, self.cursor_check_ms.map(Duration::from_millis));
        set(&mut config.connect_timeout, self.connect_timeout_ms.map(Duration::from_millis));
        set(&mut config.client_name, self.client_name);
        config.new_login = self.new_login;
        Ok(config)
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *field = value;
    }
}

/// A kind of device, by which the login policy distinguishes devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Terminal {
    /// A browser.
    Web,
    /// An Android phone or tablet.
    Android,
    /// An iPhone or iPad.
    Ios,
    /// A program on a PC.
    Desktop,
    /// A mini program inside another application.
    MiniProgram,
    /// Any other device.
    Other,
}

impl From<Terminal> for im_sdk::id::Terminal {
    fn from(terminal: Terminal) -> Self {
        match terminal {
            Terminal::Web => Self::Web,
            Terminal::Android => Self::Android,
            Terminal::Ios => Self::Ios,
            Terminal::Desktop => Self::Desktop,
            Terminal::MiniProgram => Self::MiniProgram,
            Terminal::Other => Self::Other,
        }
    }
}

impl From<im_sdk::id::Terminal> for Terminal {
    fn from(terminal: im_sdk::id::Terminal) -> Self {
        match terminal {
            im_sdk::id::Terminal::Web => Self::Web,
            im_sdk::id::Terminal::Android => Self::Android,
            im_sdk::id::Terminal::Ios => Self::Ios,
            im_sdk::id::Terminal::Desktop => Self::Desktop,
            im_sdk::id::Terminal::MiniProgram => Self::MiniProgram,
            _ => Self::Other,
        }
    }
}

/// The server certificates to trust.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Trust {
    /// The certificate authorities that browsers trust.
    WebPki,
    /// Those authorities and the certificates of this PEM text.
    Pem {
        /// The text.
        text: String,
    },
    /// Only a server whose own certificate has this SHA-256 fingerprint. For development servers.
    CertificateSha256 {
        /// 64 hexadecimal digits.
        hex: String,
    },
}

impl Trust {
    fn parse(self) -> Result<sdk::Trust, OpenError> {
        match self {
            Self::WebPki => Ok(sdk::Trust::WebPki),
            Self::Pem { text } => sdk::Trust::pem(text.as_bytes()).map_err(OpenError::invalid),
            Self::CertificateSha256 { hex } => sdk::Trust::sha256_hex(&hex).map_err(OpenError::invalid),
        }
    }
}
