//! Which Redis a request failed at, and how: whoever reads that a message was not sent should not have to guess.

use std::{error::Error, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError};
use tokio::time::error::Elapsed;

use super::RequestError;
use crate::cluster::config::{ClusterConfig, without_credentials};

/// What a request failed with at which Redis.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "Redis at {address} did not answer within {limit:?}: is it running, and can it be reached from here?"
    )]
    Silent { address: Arc<str>, limit: Duration },
    #[error(
        "Redis at {address} has not taken all of what it was sent before within {limit:?}: it is too slow"
    )]
    Busy { address: Arc<str>, limit: Duration },
    #[error("Redis at {address} is out of reach: {source}")]
    Unreachable { address: Arc<str>, source: RedisError },
    #[error("Redis at {address} refused: {}{advice}", line(source))]
    Refused { address: Arc<str>, source: RedisError, advice: &'static str },
    #[error("Redis at {address} failed: {}", line(source))]
    Other { address: Arc<str>, source: RedisError },
}

/// Where requests go, for what is said when they fail: host and port, never a password.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: Arc<str>,
    limit: Duration,
}

impl Place {
    /// Any of those that are configured.
    pub(crate) fn any(config: &ClusterConfig) -> Self {
        let addresses: Vec<&str> = config.redis.iter().map(|address| without_credentials(address)).collect();
        Self { address: addresses.join(", ").into(), limit: config.request_timeout }
    }

    pub(crate) fn silent(&self) -> Failure {
        Failure::Silent { address: self.address.clone(), limit: self.limit }
    }

    pub(crate) fn busy(&self) -> Failure {
        Failure::Busy { address: self.address.clone(), limit: self.limit }
    }

    /// What the client library says.
    pub(crate) fn failed(&self, source: RedisError) -> Failure {
        let address = self.address.clone();
        if source.is_timeout() {
            return self.silent();
        }
        match source.kind() {
            ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => Failure::Unreachable { address, source },
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                let advice = source.code().map_or("", advice);
                Failure::Refused { address, source, advice }
            }
            _ => Failure::Other { address, source },
        }
    }

    /// Says where it was that a request failed.
    pub(crate) fn named(&self, error: RequestError) -> RequestError {
        match error.downcast::<RedisError>() {
            Ok(error) => self.failed(*error).into(),
            Err(error) if error.is::<Elapsed>() => self.silent().into(),
            Err(error) => error,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.address)
    }
}

/// What to do about an answer of Redis, where something can be done.
fn advice(code: &str) -> &'static str {
    match code {
        "OOM" => " (its memory is full: give it more, or let logs keep less)",
        "READONLY" => " (it is a replica: connect to the master, or to the nodes of a cluster)",
        "NOAUTH" | "WRONGPASS" => {
            " (put user and password into the address: redis://user:password@host:port)"
        }
        "NOPERM" => " (its user needs more rights)",
        "MISCONF" => " (it cannot write to its disk)",
        _ => "",
    }
}

/// In one line: scripts' errors and parsers' have several.
pub(crate) fn line(error: &dyn Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{Value, parse_redis_value};

    use super::*;

    fn place() -> Place {
        let mut config =
            ClusterConfig::new(["redis://u:hunter2@r1:1", "redis://:hunter2@r2:2/3"], ["nats://n"]);
        config.request_timeout = Duration::from_secs(2);
        Place::any(&config)
    }

    fn named(error: impl Into<RequestError>) -> String {
        place().named(error.into()).to_string()
    }

    fn answer(text: &str) -> RedisError {
        let value = parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = value else { panic!("an error: {value:?}") };
        error.into()
    }

    #[tokio::test]
    async fn a_failure_says_which_redis_it_was_and_for_how_long() {
        let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        let silent =
            "Redis at r1:1, r2:2 did not answer within 2s: is it running, and can it be reached from here?";
        assert_eq!(named(elapsed), silent);
        assert_eq!(named(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))), silent);
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(named(refused), "Redis at r1:1, r2:2 is out of reach: connection refused");
        assert_eq!(named("something else"), "something else");
    }

    #[test]
    fn what_redis_refuses_comes_with_what_to_do() {
        let full = named(answer("OOM command not allowed when used memory > 'maxmemory'."));
        assert!(full.starts_with("Redis at r1:1, r2:2 refused: ") && full.contains("used memory"), "{full}");
        assert!(full.ends_with("(its memory is full: give it more, or let logs keep less)"), "{full}");
        let several = named(answer("ERR one  \ttwo"));
        assert!(several.ends_with("one two"), "{several}");
    }
}
