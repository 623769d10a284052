//! The table of all keys: their section, their type, and the setting that they set. The file and the variables both use it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use im_sdk::cluster::LoginPolicy;

use super::{auth::Algorithm, partial::PartialConfig, variable};

/// A key of a section.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    takes: Setter,
}

/// The type of a key's value, and the setting that it sets.
#[derive(Clone, Copy)]
enum Setter {
    Text(fn(&mut PartialConfig, String)),
    Texts(fn(&mut PartialConfig, Vec<String>)),
    Path(fn(&mut PartialConfig, PathBuf)),
    Address(fn(&mut PartialConfig, SocketAddr)),
    Flag(fn(&mut PartialConfig, bool)),
    Millis(fn(&mut PartialConfig, Duration)),
    Size(fn(&mut PartialConfig, usize)),
    Count(fn(&mut PartialConfig, u32)),
    Policy(fn(&mut PartialConfig, LoginPolicy)),
    Algorithm(fn(&mut PartialConfig, Algorithm)),
}

const fn key(section: &'static str, name: &'static str, takes: Setter) -> Key {
    Key { section, name, takes }
}

/// All keys except `auth.keys`, which is a list of tables.
pub(super) const KEYS: &[Key] = &[
    key("server", "name", Setter::Text(|to, it| to.name = Some(it))),
    key("server", "incarnation", Setter::Text(|to, it| to.server.incarnation = Some(it))),
    key("server", "advertise", Setter::Texts(|to, it| to.server.advertise = it)),
    key("server", "login_policy", Setter::Policy(|to, it| to.server.login_policy = it)),
    key("server", "heartbeat_ms", Setter::Millis(|to, it| to.server.heartbeat = it)),
    key("server", "hello_timeout_ms", Setter::Millis(|to, it| to.server.hello_timeout = it)),
    key("server", "publish_timeout_ms", Setter::Millis(|to, it| to.server.publish_timeout = it)),
    key("server", "lease_ms", Setter::Millis(|to, it| to.server.lease = it)),
    key("server", "route_audit_ms", Setter::Millis(|to, it| to.server.route_audit = it)),
    key("server", "presence_delay_ms", Setter::Millis(|to, it| to.server.presence_delay = it)),
    key("server", "drain_grace_ms", Setter::Millis(|to, it| to.server.drain_grace = it)),
    key("cluster", "redis", Setter::Texts(|to, it| to.cluster.redis = it)),
    key("cluster", "routes_redis", Setter::Texts(|to, it| to.cluster.routes_redis = it)),
    key("cluster", "nats", Setter::Texts(|to, it| to.cluster.nats = it)),
    key("cluster", "prefix", Setter::Text(|to, it| to.cluster.prefix = it)),
    key("cluster", "request_timeout_ms", Setter::Millis(|to, it| to.cluster.request_timeout = it)),
    key("cluster", "connect_timeout_ms", Setter::Millis(|to, it| to.cluster.connect_timeout = it)),
    key("websocket", "listen", Setter::Address(|to, it| to.server.websocket = Some(it))),
    key("websocket", "tls", Setter::Flag(|to, it| to.server.websocket_tls = it)),
    key("quic", "listen", Setter::Address(|to, it| to.server.quic = Some(it))),
    key("tls", "certificate", Setter::Path(|to, it| to.certificate = Some(it))),
    key("tls", "key", Setter::Path(|to, it| to.private_key = Some(it))),
    key("auth", "issuer", Setter::Text(|to, it| to.auth.issuer = Some(it))),
    key("auth", "audience", Setter::Text(|to, it| to.auth.audience = Some(it))),
    key("auth", "explain_refusals", Setter::Flag(|to, it| to.server.explain_refusals = it)),
    key("auth", "close_expired", Setter::Flag(|to, it| to.server.close_expired = it)),
    key("auth", "hs256_key_id", Setter::Text(|to, it| to.auth.hs256.id = Some(it))),
    key("auth", "hs256_secret", Setter::Text(|to, it| to.auth.hs256.secret = Some(it))),
    key("auth", "public_key_id", Setter::Text(|to, it| to.auth.public.id = Some(it))),
    key("auth", "public_key_algorithm", Setter::Algorithm(|to, it| to.auth.public.algorithm = Some(it))),
    key("auth", "public_key_path", Setter::Path(|to, it| to.auth.public.path = Some(it))),
    key("limits", "max_connections", Setter::Size(|to, it| to.server.limits.max_connections = it)),
    key("limits", "max_handshakes", Setter::Size(|to, it| to.server.limits.max_handshakes = it)),
    key(
        "limits",
        "max_handshakes_per_address",
        Setter::Size(|to, it| to.server.limits.max_handshakes_per_address = it),
    ),
    key(
        "limits",
        "max_connects_per_second_per_address",
        Setter::Count(|to, it| to.server.limits.max_connects_per_second_per_address = it),
    ),
    key("limits", "max_handshake_bytes", Setter::Size(|to, it| to.server.limits.max_handshake_bytes = it)),
    key("limits", "max_devices_per_user", Setter::Size(|to, it| to.server.limits.max_devices_per_user = it)),
    key(
        "limits",
        "max_connects_per_second_per_user",
        Setter::Count(|to, it| to.server.limits.max_connects_per_second_per_user = it),
    ),
    key("limits", "max_frame_bytes", Setter::Size(|to, it| to.server.limits.max_frame_bytes = it)),
    key(
        "limits",
        "max_inflight_publishes",
        Setter::Count(|to, it| to.server.limits.max_inflight_publishes = it),
    ),
    key(
        "limits",
        "max_publishes_per_second",
        Setter::Count(|to, it| to.server.limits.max_publishes_per_second = it),
    ),
    key("limits", "outbox_bytes", Setter::Size(|to, it| to.server.limits.outbox_bytes = it)),
];

/// A value as it was read.
pub(super) enum RawValue {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Flag(bool),
    /// The text of a variable, which can stand for any of these.
    Variable(String),
    /// A value of a type that no key takes.
    Other,
}

impl Key {
    /// Returns the key's name, as in `im-server.example.toml`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Returns the variable that sets the key.
    pub(super) fn variable(&self) -> String {
        variable(self.section, self.name)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// The type that the key takes, if the value has another one.
    pub(super) fn set(&self, partial: &mut PartialConfig, raw: RawValue) -> Result<(), &'static str> {
        let set = match self.takes {
            Setter::Text(set) => raw.text().map(|it| set(partial, it)),
            Setter::Texts(set) => raw.texts().map(|it| set(partial, it)),
            Setter::Path(set) => raw.text().map(|it| set(partial, it.into())),
            Setter::Address(set) => raw.parsed().map(|it| set(partial, it)),
            Setter::Flag(set) => raw.flag().map(|it| set(partial, it)),
            Setter::Millis(set) => raw.number().map(|it| set(partial, Duration::from_millis(it))),
            Setter::Size(set) => raw.number().and_then(|it| it.try_into().ok()).map(|it| set(partial, it)),
            Setter::Count(set) => raw.number().and_then(|it| it.try_into().ok()).map(|it| set(partial, it)),
            Setter::Policy(set) => raw.text().and_then(|it| policy(&it)).map(|it| set(partial, it)),
            Setter::Algorithm(set) => raw.parsed().map(|it| set(partial, it)),
        };
        set.ok_or_else(|| self.takes.expected())
    }
}

impl Setter {
    fn expected(self) -> &'static str {
        match self {
            Self::Text(_) => "a text that is not empty",
            Self::Texts(_) => "a list of texts that are not empty; a variable separates them by commas",
            Self::Path(_) => "the path of a file",
            Self::Address(_) => "an IP address and a port, such as \"0.0.0.0:7800\" or \"[::]:7800\"",
            Self::Flag(_) => "true or false",
            Self::Millis(_) => "a whole number of milliseconds",
            Self::Size(_) => "a whole number, 0 or more",
            Self::Count(_) => "a whole number from 0 to 4294967295",
            Self::Policy(_) => "\"one_per_terminal\", \"single\" or \"unlimited\"",
            Self::Algorithm(_) => "\"EdDSA\" or \"ES256\"",
        }
    }
}

impl RawValue {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Variable(text) => Some(text).filter(|text| !text.trim().is_empty()),
            _ => None,
        }
    }

    fn texts(self) -> Option<Vec<String>> {
        let texts = match self {
            Self::Texts(texts) => texts,
            Self::Variable(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(str::to_owned).collect()
            }
            _ => return None,
        };
        Some(texts).filter(|texts| texts.iter().all(|text| !text.trim().is_empty()))
    }

    pub(super) fn parsed<T: std::str::FromStr>(self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn flag(self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(flag),
            Self::Variable(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Variable(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn policy(text: &str) -> Option<LoginPolicy> {
    match text {
        "one_per_terminal" => Some(LoginPolicy::OnePerTerminal),
        "single" => Some(LoginPolicy::Single),
        "unlimited" => Some(LoginPolicy::Unlimited),
        _ => None,
    }
}
