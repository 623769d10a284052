//! Configuration of the connections to Redis and NATS.

use std::time::Duration;

use crate::cluster::{
    names::{DEFAULT_PREFIX, Names},
    traits::{ArchiveConfig, LogBounds},
};

/// The longest timeout: the operating system's limit for a connection is some weeks.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Configuration of the connections to Redis and NATS.
///
/// ```
/// use im_sdk::cluster::ClusterConfig;
/// let config = ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"]);
/// assert_eq!(config.prefix, "im");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Redis addresses, `redis://[user:password@]host:port[/db]`: the master and its possible
    /// successors, or an address that leads to the master. If one does not answer, or is no longer
    /// a master, the next one is tried. For a Redis Cluster: some of its nodes.
    pub redis: Vec<String>,
    /// Addresses of a separate Redis for control data: leases of servers, routes, node numbers and
    /// the clock. Default empty: control data is in [`ClusterConfig::redis`].
    ///
    /// With a separate Redis, no device loses its connection when the Redis of the logs is full or
    /// unavailable. It holds little and needs no disk. Members and everything else stay with the logs,
    /// with which they are read together. Each logged send reads its routes from the separate
    /// Redis, after the append. All processes must agree on it.
    pub routes_redis: Vec<String>,
    /// NATS addresses, `nats://[user:password@]host:port`: some servers of one NATS cluster.
    pub nats: Vec<String>,
    /// The prefix of every Redis key and NATS subject. Default `im`. Set it to keep two deployments
    /// on the same Redis and NATS apart; all processes of one deployment must agree on it.
    pub prefix: String,
    /// The time limit of a request to Redis, and of the wait for room in the send queue of NATS.
    /// Default 2 s; from a millisecond to a day.
    pub request_timeout: Duration,
    /// The time limit of the first connection. Default 5 s; from a millisecond to a day.
    pub connect_timeout: Duration,
    /// The bounds of each log. All backends of one deployment should agree on them.
    pub log_bounds: LogBounds,
    /// The number of replicas of a Redis master that must acknowledge an entry before it counts as
    /// appended.
    ///
    /// Default 0: the master alone decides, and a failover may lose entries that were not yet
    /// replicated. With `appendfsync everysec`, a master whose machine fails may also lose entries
    /// of up to the last second; `appendfsync always` closes that gap too.
    pub min_replicas: usize,
    /// The percentage of a Redis's `maxmemory` at which devices' messages are refused, so that the
    /// remaining memory is for backends, and for operations that free memory: a full Redis refuses
    /// every append. Default 90; from 1 to 100. Without `maxmemory` there is no such limit.
    pub watermark_percent: u8,
    /// Settings of the archive's queue, which `Durability::Archived` needs. The queue is a
    /// JetStream stream on the same NATS servers, which is created if it is missing. Default
    /// `None`: there is no archive, and NATS needs no JetStream.
    pub archive: Option<ArchiveConfig>,
}

impl ClusterConfig {
    /// Creates a configuration with these addresses and defaults.
    pub fn new<R, N>(redis: R, nats: N) -> Self
    where
        R: IntoIterator<Item: Into<String>>,
        N: IntoIterator<Item: Into<String>>,
    {
        Self {
            redis: redis.into_iter().map(Into::into).collect(),
            routes_redis: Vec::new(),
            nats: nats.into_iter().map(Into::into).collect(),
            prefix: DEFAULT_PREFIX.into(),
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            log_bounds: LogBounds::default(),
            min_replicas: 0,
            watermark_percent: 90,
            archive: None,
        }
    }

    /// Checks the values. Every connect function calls it first.
    ///
    /// # Errors
    /// [`ConnectError::InvalidPrefix`], [`ConnectError::InvalidTimeout`],
    /// [`ConnectError::InvalidWatermark`].
    pub fn check(&self) -> Result<(), ConnectError> {
        self.names()?;
        let timeouts = [("request_timeout", self.request_timeout), ("connect_timeout", self.connect_timeout)];
        let wrong = |(_, value): &(_, Duration)| !(Duration::from_millis(1)..=DAY).contains(value);
        if let Some((setting, _)) = timeouts.into_iter().find(wrong) {
            return Err(ConnectError::InvalidTimeout { setting });
        }
        if !(1..=100).contains(&self.watermark_percent) {
            return Err(ConnectError::InvalidWatermark { percent: self.watermark_percent });
        }
        Ok(())
    }

    /// Returns the configuration of the separate Redis for control data, if there is one.
    pub(crate) fn of_routes_alone(&self) -> Option<Self> {
        let redis = self.routes_redis.clone();
        (!redis.is_empty()).then(|| Self { redis, routes_redis: Vec::new(), ..self.clone() })
    }

    pub(crate) fn names(&self) -> Result<Names, ConnectError> {
        Names::new(&self.prefix).ok_or_else(|| ConnectError::InvalidPrefix { prefix: self.prefix.clone() })
    }
}

/// Creates the error for an archive stream that cannot be used.
pub(crate) fn unreachable_archive(
    stream: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectError {
    ConnectError::Archive { stream: stream.to_owned(), source: source.into() }
}

/// Returns the host and port of an address, for error messages.
pub(crate) fn without_credentials(address: &str) -> &str {
    place(address).unwrap_or(UNREADABLE)
}

/// Returns the host and port of an address, or `None` if the host cannot be told from the password.
pub(crate) fn place(address: &str) -> Option<&str> {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    // From the right: a password may contain an unescaped `@`.
    let after_credentials = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    let place = after_credentials.split(['/', '?']).next().unwrap_or_default();
    is_host_and_port(place).then_some(place)
}

/// Shown instead of an address whose host cannot be told from its password, such as
/// `redis://:password`.
const UNREADABLE: &str = "an address that has no host";

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of an IPv6 address is within its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(':'),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit())
}

impl std::fmt::Debug for ClusterConfig {
    /// Shows only the number of addresses: they can contain passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClusterConfig")
            .field("redis", &self.redis.len())
            .field("routes_redis", &self.routes_redis.len())
            .field("nats", &self.nats.len())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// An error of connecting to Redis or NATS.
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
        /// The configured prefix.
        prefix: String,
    },
    /// An address is invalid. No connection was attempted.
    #[error("the {service} address {address} is not valid: {problem}")]
    InvalidAddress {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The configured address, without any password.
        address: String,
        /// The problem with it.
        problem: &'static str,
    },
    /// A timeout of 0, or longer than a day.
    #[error("{setting} is not valid: it takes from 1 millisecond to 1 day")]
    InvalidTimeout {
        /// `request_timeout` or `connect_timeout`.
        setting: &'static str,
    },
    /// The watermark is not a percentage from 1 to 100.
    #[error("watermark_percent is not valid: it takes 1 to 100, not {percent}")]
    InvalidWatermark {
        /// The configured percentage.
        percent: u8,
    },
    /// JetStream has no stream for the archive, and none could be created.
    #[error(
        "cannot use the JetStream stream {stream} for the archive (is JetStream on, with room for max_bytes?): {source}"
    )]
    Archive {
        /// The name of the stream.
        stream: String,
        /// The error of the client library.
        r#source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service is too old.
    #[error("{service} at {address} is {version}, and {needed} or newer is needed: older ones lack {lack}")]
    TooOld {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The host and port, without any password.
        address: String,
        /// The version of the service.
        version: String,
        /// The minimum release.
        needed: String,
        /// The feature that older releases lack.
        lack: &'static str,
    },
    /// NATS accepts only smaller messages than servers and backends send each other.
    #[error(
        "NATS at {address} accepts messages of at most {max_payload} bytes, but servers and backends send each \
         other up to {needed}: set `max_payload: {needed}` in its configuration"
    )]
    SmallMessages {
        /// The host and port, without any password.
        address: String,
        /// The `max_payload` of NATS.
        max_payload: usize,
        /// The minimum `max_payload`.
        needed: usize,
    },
    /// The connection failed.
    #[error("cannot connect to {service} at {address}: {source}")]
    Unreachable {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The host and port, without any password.
        address: String,
        /// The error of the client library, or the service found there instead.
        r#source: Box<dyn std::error::Error + Send + Sync>,
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
            ("redis://[::1]", "[::1]"),
            ("redis://r", "r"),
            ("redis://:hunter2", UNREADABLE),
            ("redis://user:hunter2", UNREADABLE),
            ("redis://:hunter2:6379", UNREADABLE),
            ("unix:///run/redis.sock?pass=hunter2", UNREADABLE),
            ("", UNREADABLE),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }

    #[test]
    fn timeouts_that_make_no_sense_are_named() {
        let config = || ClusterConfig::new(["redis://r"], ["nats://n"]);
        assert!(config().check().is_ok());
        for wrong in [Duration::ZERO, DAY + Duration::from_millis(1), Duration::MAX] {
            let request = ClusterConfig { request_timeout: wrong, ..config() };
            assert!(request.check().unwrap_err().to_string().starts_with("request_timeout is not valid"));
            let connect = ClusterConfig { connect_timeout: wrong, ..config() };
            assert!(connect.check().unwrap_err().to_string().starts_with("connect_timeout is not valid"));
        }
        for right in [Duration::from_millis(1), DAY] {
            assert!(ClusterConfig { connect_timeout: right, ..config() }.check().is_ok());
        }
        for percent in [0, 101] {
            let watermark = ClusterConfig { watermark_percent: percent, ..config() };
            assert!(matches!(watermark.check(), Err(ConnectError::InvalidWatermark { .. })));
        }
        let prefix = ClusterConfig { prefix: "a.b".into(), ..config() };
        assert!(matches!(prefix.check(), Err(ConnectError::InvalidPrefix { .. })));
    }
}
