//! The binary's configuration: a TOML file, and variables of the environment that override it. `im-server.example.toml`
//! shows every key. A key or an `IM_...` variable that does not exist is an error: a typing mistake must not pass for
//! a setting.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf, time::Duration};

use im_sdk::{
    cluster::{ClusterConfig, LoginPolicy},
    token::{KeyError, TokenVerifier, VerificationKey},
};
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{InvalidConfig, ServerConfig, TlsConfig};

/// What every variable starts with.
pub const VARIABLE_PREFIX: &str = "IM_";

/// Every key that a variable can set: `server.name` by `IM_SERVER_NAME`, and so on.
const KEYS: &[(&str, &str, Kind)] = &[
    ("server", "name", Kind::Text),
    ("server", "incarnation", Kind::Text),
    ("server", "advertise", Kind::List),
    ("server", "login_policy", Kind::Text),
    ("server", "heartbeat_ms", Kind::Number),
    ("server", "hello_timeout_ms", Kind::Number),
    ("server", "publish_timeout_ms", Kind::Number),
    ("server", "lease_ms", Kind::Number),
    ("server", "route_audit_ms", Kind::Number),
    ("server", "drain_grace_ms", Kind::Number),
    ("cluster", "redis", Kind::List),
    ("cluster", "nats", Kind::List),
    ("cluster", "prefix", Kind::Text),
    ("cluster", "request_timeout_ms", Kind::Number),
    ("cluster", "connect_timeout_ms", Kind::Number),
    ("websocket", "listen", Kind::Text),
    ("websocket", "tls", Kind::Flag),
    ("quic", "listen", Kind::Text),
    ("tls", "certificate", Kind::Text),
    ("tls", "key", Kind::Text),
    ("auth", "issuer", Kind::Text),
    ("auth", "audience", Kind::Text),
    ("auth", "close_expired", Kind::Flag),
    ("auth", "hs256_key_id", Kind::Text),
    ("auth", "hs256_secret", Kind::Text),
    ("limits", "max_connections", Kind::Number),
    ("limits", "max_handshakes", Kind::Number),
    ("limits", "max_handshakes_per_address", Kind::Number),
    ("limits", "max_connects_per_second_per_address", Kind::Number),
    ("limits", "max_frame_bytes", Kind::Number),
    ("limits", "max_inflight_publishes", Kind::Number),
    ("limits", "max_publishes_per_second", Kind::Number),
    ("limits", "outbox_bytes", Kind::Number),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    /// Separated by commas.
    List,
    Number,
    Flag,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It is no TOML, has a key that does not exist, lacks one, or a value is of the wrong kind.
    #[error("the configuration is not valid: {0}")]
    Invalid(#[from] toml::de::Error),
    /// A variable that does not exist.
    #[error("the variable {0} does not exist: see im-server.example.toml for those that do")]
    UnknownVariable(String),
    /// A variable's value is of the wrong kind.
    #[error("the variable {name} takes {expected}, not {value:?}")]
    WrongVariable {
        /// Which variable.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What it has.
        value: String,
    },
    /// A token key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A public key's file cannot be read.
    #[error("cannot read the public key of token key {id:?} from {}: {source}", path.display())]
    UnreadableKey {
        /// The key's id.
        id: String,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A value makes no sense.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// What is set does not fit together.
    #[error("{0}")]
    Contradiction(String),
}

/// Reads the file, if one is given, and the variables, and returns the server's configuration and how to reach the
/// cluster.
///
/// # Errors
/// [`FileError`].
pub fn load(
    path: Option<&PathBuf>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(ServerConfig, ClusterConfig), FileError> {
    let text = match path {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| FileError::Unreadable { path: path.clone(), source })?,
        None => String::new(),
    };
    parse(&text, variables)
}

fn parse(
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(ServerConfig, ClusterConfig), FileError> {
    // Read as it stands first, so that an error tells its line.
    toml::from_str::<Partial>(text)?;
    let mut table: Table = toml::from_str(text)?;
    for (name, value) in variables {
        if let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) {
            set(&mut table, &name, rest, value)?;
        }
    }
    let file: File = Value::Table(table).try_into()?;
    Ok((file.server_config()?, file.cluster_config()))
}

/// Sets the key that a variable names.
fn set(table: &mut Table, name: &str, rest: &str, value: String) -> Result<(), FileError> {
    let named =
        |(section, key, _): &&(&str, &str, Kind)| format!("{section}_{key}").eq_ignore_ascii_case(rest);
    let (section, key, kind) =
        KEYS.iter().find(named).ok_or_else(|| FileError::UnknownVariable(name.to_owned()))?;
    let value = kind.parse(value).map_err(|(expected, value)| {
        let name = name.to_owned();
        FileError::WrongVariable { name, expected, value }
    })?;
    let section = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
    if let Some(section) = section.as_table_mut() {
        section.insert((*key).to_owned(), value);
    }
    Ok(())
}

impl Kind {
    fn parse(self, value: String) -> Result<Value, (&'static str, String)> {
        match self {
            Self::Text => Ok(Value::String(value)),
            Self::List => Ok(Value::Array(list(&value))),
            Self::Number => value.parse().map(Value::Integer).map_err(|_| ("a whole number", value)),
            Self::Flag => value.parse().map(Value::Boolean).map_err(|_| ("true or false", value)),
        }
    }
}

fn list(value: &str) -> Vec<Value> {
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::String(item.to_owned())).collect()
}

/// The file as it is, before variables add what is missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for the sake of its errors, which tell the line")]
struct Partial {
    server: Option<ServerSection>,
    cluster: Option<ClusterSection>,
    websocket: Option<WebSocketSection>,
    quic: Option<QuicSection>,
    tls: Option<TlsSection>,
    auth: Option<AuthSection>,
    limits: Option<LimitsSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: ServerSection,
    #[serde(default)]
    cluster: ClusterSection,
    websocket: Option<WebSocketSection>,
    quic: Option<QuicSection>,
    tls: Option<TlsSection>,
    #[serde(default)]
    auth: AuthSection,
    #[serde(default)]
    limits: LimitsSection,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerSection {
    name: Option<String>,
    incarnation: Option<String>,
    advertise: Vec<String>,
    login_policy: Policy,
    heartbeat_ms: Option<u64>,
    hello_timeout_ms: Option<u64>,
    publish_timeout_ms: Option<u64>,
    lease_ms: Option<u64>,
    route_audit_ms: Option<u64>,
    drain_grace_ms: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    #[default]
    OnePerTerminal,
    Single,
    Unlimited,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClusterSection {
    redis: Vec<String>,
    nats: Vec<String>,
    prefix: Option<String>,
    request_timeout_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebSocketSection {
    listen: Option<SocketAddr>,
    #[serde(default)]
    tls: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuicSection {
    listen: Option<SocketAddr>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuthSection {
    issuer: Option<String>,
    audience: Option<String>,
    close_expired: Option<bool>,
    hs256_key_id: Option<String>,
    hs256_secret: Option<String>,
    keys: Vec<KeySection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySection {
    id: String,
    algorithm: Algorithm,
    secret: Option<String>,
    public_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsSection {
    max_connections: Option<usize>,
    max_handshakes: Option<usize>,
    max_handshakes_per_address: Option<usize>,
    max_connects_per_second_per_address: Option<u32>,
    max_frame_bytes: Option<usize>,
    max_inflight_publishes: Option<u32>,
    max_publishes_per_second: Option<u32>,
    outbox_bytes: Option<usize>,
}

/// Sets what was given and leaves the default otherwise.
fn put<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

fn put_ms(target: &mut Duration, given: Option<u64>) {
    put(target, given.map(Duration::from_millis));
}

impl File {
    fn server_config(&self) -> Result<ServerConfig, FileError> {
        let name = required(self.server.name.as_ref(), "server.name")?;
        let mut config = ServerConfig::new(name, self.auth.verifier()?);
        self.server.apply(&mut config);
        put(&mut config.close_expired, self.auth.close_expired);
        self.limits.apply(&mut config);
        config.websocket = self.websocket.as_ref().map(WebSocketSection::listen).transpose()?;
        config.websocket_tls = self.websocket.as_ref().is_some_and(|section| section.tls);
        config.quic = self.quic.as_ref().map(QuicSection::listen).transpose()?;
        config.tls = self.tls.clone().map_or(Ok(TlsConfig::SelfSigned), TlsSection::into_config)?;
        config.check()?;
        Ok(config)
    }

    fn cluster_config(&self) -> ClusterConfig {
        let section = &self.cluster;
        let mut config = ClusterConfig::new(section.redis.clone(), section.nats.clone());
        put(&mut config.prefix, section.prefix.clone());
        put_ms(&mut config.request_timeout, section.request_timeout_ms);
        put_ms(&mut config.connect_timeout, section.connect_timeout_ms);
        config
    }
}

impl ServerSection {
    fn apply(&self, config: &mut ServerConfig) {
        config.incarnation.clone_from(&self.incarnation);
        config.advertise.clone_from(&self.advertise);
        config.login_policy = match self.login_policy {
            Policy::OnePerTerminal => LoginPolicy::OnePerTerminal,
            Policy::Single => LoginPolicy::Single,
            Policy::Unlimited => LoginPolicy::Unlimited,
        };
        put_ms(&mut config.heartbeat, self.heartbeat_ms);
        put_ms(&mut config.hello_timeout, self.hello_timeout_ms);
        put_ms(&mut config.publish_timeout, self.publish_timeout_ms);
        put_ms(&mut config.lease, self.lease_ms);
        put_ms(&mut config.route_audit, self.route_audit_ms);
        put_ms(&mut config.drain_grace, self.drain_grace_ms);
    }
}

impl LimitsSection {
    fn apply(&self, config: &mut ServerConfig) {
        put(&mut config.limits.max_connections, self.max_connections);
        put(&mut config.limits.max_handshakes, self.max_handshakes);
        put(&mut config.limits.max_handshakes_per_address, self.max_handshakes_per_address);
        let per_second = self.max_connects_per_second_per_address;
        put(&mut config.limits.max_connects_per_second_per_address, per_second);
        put(&mut config.limits.max_frame_bytes, self.max_frame_bytes);
        put(&mut config.limits.max_inflight_publishes, self.max_inflight_publishes);
        put(&mut config.limits.max_publishes_per_second, self.max_publishes_per_second);
        put(&mut config.limits.outbox_bytes, self.outbox_bytes);
    }
}

impl WebSocketSection {
    fn listen(&self) -> Result<SocketAddr, FileError> {
        self.listen.map_or_else(|| contradiction("websocket.listen is missing"), Ok)
    }
}

impl QuicSection {
    fn listen(&self) -> Result<SocketAddr, FileError> {
        self.listen.map_or_else(|| contradiction("quic.listen is missing"), Ok)
    }
}

impl TlsSection {
    fn into_config(self) -> Result<TlsConfig, FileError> {
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Ok(TlsConfig::Files { certificate, key }),
            (None, None) => Ok(TlsConfig::SelfSigned),
            _ => Err(FileError::Contradiction("tls.certificate and tls.key go together: set both".into())),
        }
    }
}

impl AuthSection {
    fn verifier(&self) -> Result<TokenVerifier, FileError> {
        let issuer = required(self.issuer.as_ref(), "auth.issuer")?;
        let audience = required(self.audience.as_ref(), "auth.audience")?;
        self.check_key_ids()?;
        let mut keys = self.keys.iter().map(KeySection::load).collect::<Result<Vec<_>, _>>()?;
        match (&self.hs256_key_id, &self.hs256_secret) {
            (Some(id), Some(secret)) => keys.push(VerificationKey::hs256(id, secret.as_bytes())?),
            (None, None) => {}
            _ => return contradiction("auth.hs256_key_id and auth.hs256_secret go together: set both"),
        }
        if keys.is_empty() {
            return contradiction(
                "no token key is configured: add one below auth.keys, or set auth.hs256_secret",
            );
        }
        Ok(TokenVerifier::new(issuer, audience, keys))
    }

    /// Of two keys with one id, one would never be used.
    fn check_key_ids(&self) -> Result<(), FileError> {
        let mut seen = HashSet::new();
        let ids = self.keys.iter().map(|key| &key.id).chain(&self.hs256_key_id);
        match ids.into_iter().find(|id| !seen.insert(*id)) {
            Some(id) => contradiction(&format!("two token keys have the id {id:?}")),
            None => Ok(()),
        }
    }
}

impl KeySection {
    fn load(&self) -> Result<VerificationKey, FileError> {
        match (self.algorithm, &self.secret, &self.public_key) {
            (Algorithm::Hs256, Some(secret), None) => {
                Ok(VerificationKey::hs256(&self.id, secret.as_bytes())?)
            }
            (Algorithm::EdDsa, None, Some(path)) => {
                Ok(VerificationKey::eddsa_pem(&self.id, &self.read(path)?)?)
            }
            (Algorithm::Es256, None, Some(path)) => {
                Ok(VerificationKey::es256_pem(&self.id, &self.read(path)?)?)
            }
            (Algorithm::Hs256, ..) => contradiction("an HS256 key takes `secret` and nothing else"),
            _ => contradiction("an EdDSA or ES256 key takes `public_key` and nothing else"),
        }
    }

    fn read(&self, path: &PathBuf) -> Result<Vec<u8>, FileError> {
        let unreadable =
            |source| FileError::UnreadableKey { id: self.id.clone(), path: path.clone(), source };
        std::fs::read(path).map_err(unreadable)
    }
}

fn required<'a>(value: Option<&'a String>, key: &str) -> Result<&'a str, FileError> {
    value.map(String::as_str).ok_or_else(|| FileError::Contradiction(format!("{key} is missing")))
}

fn contradiction<T>(what: &str) -> Result<T, FileError> {
    Err(FileError::Contradiction(what.to_owned()))
}

#[cfg(test)]
mod tests;
