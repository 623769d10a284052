//! How to reach Redis and NATS.

use std::time::Duration;

use super::{archive::ArchiveConfig, log::LogBounds, names::Names};

/// What [`ClusterConfig::prefix`] is unless it is set.
pub(crate) const DEFAULT_PREFIX: &str = "im";

/// The longest time that a setting may be: what the system takes as a limit for a connection ends at some weeks.
const DAY: Duration = Duration::from_secs(24 * 3600);

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
    /// Redis addresses, `redis://[user:password@]host:port[/db]`: the master and whatever may take its place, or an address
    /// that leads to the master. When it does not answer, or is no master any more, the next one is tried. With a Redis
    /// Cluster, some of its nodes.
    pub redis: Vec<String>,
    /// Addresses of a Redis of its own for control data: leases of servers, routes, node numbers and the clock. Default
    /// empty: they are in [`ClusterConfig::redis`]. With one, a Redis full of logs, or one that is away, costs nobody the
    /// connection. It holds little and needs no disk. Members and all else stay with the logs, which they are read
    /// together with. Each logged send reads its routes from there, behind the append. All processes must agree on it.
    pub routes_redis: Vec<String>,
    /// NATS addresses, `nats://[user:password@]host:port`: some servers of one NATS cluster.
    pub nats: Vec<String>,
    /// What every Redis key and NATS subject starts with. Default `im`. Change it to keep two deployments on the same
    /// Redis and NATS apart; all processes of one deployment must agree on it.
    pub prefix: String,
    /// How long a request to Redis, or the wait for a place on the way to NATS, may take before it counts as failed.
    /// Default 2 s; from a millisecond to a day.
    pub request_timeout: Duration,
    /// How long the first connection may take. Default 5 s; from a millisecond to a day.
    pub connect_timeout: Duration,
    /// How much each log keeps. All back ends of one deployment should agree on it.
    pub log_bounds: LogBounds,
    /// How many replicas of a Redis master must acknowledge an entry before it counts as appended. Default 0: the
    /// master alone decides, and a failover may lose what it had not passed on yet. What a master with
    /// `appendfsync everysec` answers may be lost for up to a second if its machine fails; `appendfsync always` closes
    /// that gap too.
    pub min_replicas: usize,
    /// At how many percent of a Redis's `maxmemory` devices' messages are refused, so that what is left is for back ends
    /// and for whoever makes room: a Redis that is full refuses everybody. Default 90; from 1 to 100. A Redis without
    /// `maxmemory` has no such limit.
    pub watermark_percent: u8,
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

    /// Whether the values make sense. Whatever connects asks this first.
    ///
    /// # Errors
    /// [`ConnectError::InvalidPrefix`], [`ConnectError::InvalidTimeout`], [`ConnectError::InvalidWatermark`].
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

    /// How to reach the Redis that is for control data alone, if there is one.
    pub(crate) fn of_routes_alone(&self) -> Option<Self> {
        let redis = self.routes_redis.clone();
        (!redis.is_empty()).then(|| Self { redis, routes_redis: Vec::new(), ..self.clone() })
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
    place(address).unwrap_or(UNREADABLE)
}

/// The same. `None`: the host cannot be told from the password.
pub(crate) fn place(address: &str) -> Option<&str> {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    // From the right: a password may hold an `@` that nobody escaped.
    let after_credentials = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    let place = after_credentials.split(['/', '?']).next().unwrap_or_default();
    is_host_and_port(place).then_some(place)
}

/// What is shown of an address whose host cannot be told from its password, such as `redis://:password`.
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
    /// Addresses can hold passwords: only how many there are is shown.
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
    /// An address cannot be meant. Nothing was tried.
    #[error("the {service} address {address} is not valid: {problem}")]
    InvalidAddress {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// What was configured, without any password.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A timeout of nothing, or longer than a day.
    #[error("{setting} is not valid: it takes from 1 millisecond to 1 day")]
    InvalidTimeout {
        /// `request_timeout` or `connect_timeout`.
        setting: &'static str,
    },
    /// A watermark that is no share of the memory.
    #[error("watermark_percent is not valid: it takes 1 to 100, not {percent}")]
    InvalidWatermark {
        /// What was configured.
        percent: u8,
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
    /// NATS takes smaller messages than servers and back ends send each other.
    #[error(
        "NATS at {address} takes messages of {max_payload} bytes at most, and servers and back ends send each other up to \
         {needed}: set `max_payload: {needed}` in its configuration"
    )]
    SmallMessages {
        /// The host and port, without any password.
        address: String,
        /// Its `max_payload`.
        max_payload: usize,
        /// The smallest `max_payload` that does.
        needed: usize,
    },
    /// The connection failed.
    #[error("cannot connect to {service} at {address}: {source}")]
    Unreachable {
        /// `Redis` or `NATS`.
        service: &'static str,
        /// The host and port, without any password.
        address: String,
        /// What the client library says, or what was found there instead.
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
