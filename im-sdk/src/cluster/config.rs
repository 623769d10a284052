//! How to reach Redis and NATS.

use std::time::Duration;

use super::{archive::ArchiveConfig, log::LogBounds, names::Names};

/// What [`ClusterConfig::prefix`] is unless it is set.
pub(crate) const DEFAULT_PREFIX: &str = "im";

/// Where Redis and NATS are.
///
/// ```
/// use im_sdk::cluster::ClusterConfig;
/// let config = ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"]);
/// assert_eq!(config.prefix, "im");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Redis addresses, `redis://[user:password@]host:port[/db]`. With a Redis Cluster, some of its nodes.
    pub redis: Vec<String>,
    /// NATS addresses, `nats://[user:password@]host:port`: some servers of one NATS cluster.
    pub nats: Vec<String>,
    /// What every Redis key and NATS subject starts with. Default `im`. Change it to keep two deployments on the same
    /// Redis and NATS apart; all processes of one deployment must agree on it.
    pub prefix: String,
    /// How long a request to Redis, or the wait for a place on the way to NATS, may take before it counts as failed.
    /// Default 2 s.
    pub request_timeout: Duration,
    /// How long the first connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How much each log keeps. All back ends of one deployment should agree on it.
    pub log_bounds: LogBounds,
    /// How many replicas of a Redis master must acknowledge an entry before it counts as appended. Default 0: the
    /// master alone decides, and a failover may lose what it had not passed on yet. What a master with
    /// `appendfsync everysec` answers may be lost for up to a second if its machine fails; `appendfsync always` closes
    /// that gap too.
    pub min_replicas: usize,
    /// Settings of the archive, which `Durability::Archived` needs. It lies in a JetStream stream of the same NATS
    /// servers, which is created if it is missing. Default `None`: there is no archive, and NATS needs no JetStream.
    pub archive: Option<ArchiveConfig>,
}

impl ClusterConfig {
    /// A configuration with defaults beside the addresses.
    pub fn new<R, N>(redis: R, nats: N) -> Self
    where
        R: IntoIterator<Item: Into<String>>,
        N: IntoIterator<Item: Into<String>>,
    {
        Self {
            redis: redis.into_iter().map(Into::into).collect(),
            nats: nats.into_iter().map(Into::into).collect(),
            prefix: DEFAULT_PREFIX.into(),
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            log_bounds: LogBounds::default(),
            min_replicas: 0,
            archive: None,
        }
    }

    pub(crate) fn names(&self) -> Result<Names, ConnectError> {
        Names::new(&self.prefix).ok_or_else(|| ConnectError::InvalidPrefix { prefix: self.prefix.clone() })
    }
}

/// The archive's stream cannot be used.
pub(crate) fn unreachable_archive(
    stream: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectError {
    ConnectError::Archive { stream: stream.to_owned(), source: source.into() }
}

/// The host and port of an address, for error messages.
pub(crate) fn without_credentials(address: &str) -> &str {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    // From the right: a password may hold an `@` that nobody escaped.
    let after_credentials = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    after_credentials.split(['/', '?']).next().unwrap_or_default()
}

impl std::fmt::Debug for ClusterConfig {
    /// Addresses can hold passwords: only how many there are is shown.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClusterConfig")
            .field("redis", &self.redis.len())
            .field("nats", &self.nats.len())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Redis or NATS could not be reached, or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no {service} address is configured")]
    NoAddress {
        /// `Redis` or `NATS`.
        service: &'static str,
    },
    /// The prefix cannot be part of a subject.
    #[error("prefix {prefix:?} is not valid: it takes 1-32 letters, digits, '-' and '_'")]
    InvalidPrefix {
        /// What was configured.
        prefix: String,
    },
    /// JetStream has no stream for the archive, and none could be made.
    #[error(
        "cannot use the JetStream stream {stream} for the archive (is JetStream on, with room for max_bytes?): {source}"
    )]
    Archive {
        /// The stream's name.
        stream: String,
        /// What the client library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is there, and too old.
    #[error("{service} at {address} is {version}, and {needed} or newer is needed: older ones lack {lack}")]
    TooOld {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The host and port, without any password.
        address: String,
        /// What it says of itself.
        version: String,
        /// The oldest release that does.
        needed: String,
        /// What older ones lack.
        lack: &'static str,
    },
    /// The connection failed.
    #[error("cannot connect to {service} at {address}: {source}")]
    Unreachable {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The host and port, without any password.
        address: String,
        /// What the client library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages_get_host_and_port_alone() {
        for (address, shown) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
            ("redis://user:secret@example.com:6379/3?protocol=resp3", "example.com:6379"),
            ("nats://user:se@cret@[::1]:4222", "[::1]:4222"),
            ("secret@example.com:4222", "example.com:4222"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
