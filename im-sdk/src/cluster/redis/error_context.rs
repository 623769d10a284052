//! Errors of Redis with the address at which they occurred and advice, so that the reader of a log
//! need not guess.

use std::{error::Error, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError};
use tokio::time::error::Elapsed;

use crate::cluster::config::{ClusterConfig, without_credentials};

/// The error of a request.
pub(crate) type RequestError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a request. Its error is the client library's, or one that names the address already.
pub(super) type RequestResult<T> = Result<T, RequestError>;

/// A failed request, with the address of Redis.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RedisFailure {
    #[error("Redis at {address} did not answer within {limit:?}; check that it is running and reachable")]
    Silent { address: Arc<str>, limit: Duration },
    #[error("Redis at {address} did not accept earlier requests within {limit:?}; it is overloaded")]
    Busy { address: Arc<str>, limit: Duration },
    #[error("Redis at {address} is out of reach: {source}")]
    Unreachable { address: Arc<str>, r#source: RedisError },
    #[error("Redis at {address} refused: {}{advice}", one_line(source))]
    Refused { address: Arc<str>, r#source: RedisError, advice: &'static str },
    #[error("Redis at {address} failed: {}", one_line(source))]
    Other { address: Arc<str>, r#source: RedisError },
}

/// The address of requests, for error messages: host and port, never a password.
#[derive(Clone, Debug)]
pub(crate) struct RedisAddress {
    address: Arc<str>,
    limit: Duration,
}

impl RedisAddress {
    /// Names all configured addresses.
    pub(crate) fn any(config: &ClusterConfig) -> Self {
        let addresses: Vec<&str> = config.redis.iter().map(|address| without_credentials(address)).collect();
        Self { address: addresses.join(", ").into(), limit: config.request_timeout }
    }

    pub(crate) fn silent(&self) -> RedisFailure {
        RedisFailure::Silent { address: self.address.clone(), limit: self.limit }
    }

    pub(crate) fn busy(&self) -> RedisFailure {
        RedisFailure::Busy { address: self.address.clone(), limit: self.limit }
    }

    /// Classifies an error of the client library.
    pub(crate) fn failed(&self, source: RedisError) -> RedisFailure {
        let address = self.address.clone();
        if source.is_timeout() {
            return self.silent();
        }
        match source.kind() {
            ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => {
                RedisFailure::Unreachable { address, source }
            }
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                let advice = source.code().map_or("", advice);
                RedisFailure::Refused { address, source, advice }
            }
            _ => RedisFailure::Other { address, source },
        }
    }

    /// Adds the address to an error.
    pub(crate) fn with_address(&self, error: RequestError) -> RequestError {
        match error.downcast::<RedisError>() {
            Ok(error) => self.failed(*error).into(),
            Err(error) if error.is::<Elapsed>() => self.silent().into(),
            Err(error) => error,
        }
    }
}

impl std::fmt::Display for RedisAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.address)
    }
}

/// Returns advice about an error reply, if something can be done.
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

/// Puts an error into one line: those of scripts and parsers span several.
pub(crate) fn one_line(error: &dyn Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{Value, parse_redis_value};

    use super::*;

    fn address() -> RedisAddress {
        let mut config =
            ClusterConfig::new(["redis://u:hunter2@r1:1", "redis://:hunter2@r2:2/3"], ["nats://n"]);
        config.request_timeout = Duration::from_secs(2);
        RedisAddress::any(&config)
    }

    fn with_address(error: impl Into<RequestError>) -> String {
        address().with_address(error.into()).to_string()
    }

    fn answer(text: &str) -> RedisError {
        let value = parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = value else { panic!("an error: {value:?}") };
        error.into()
    }

    #[tokio::test]
    async fn a_failure_says_which_redis_it_was_and_for_how_long() {
        let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        let silent = "Redis at r1:1, r2:2 did not answer within 2s; check that it is running and reachable";
        assert_eq!(with_address(elapsed), silent);
        assert_eq!(with_address(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))), silent);
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(with_address(refused), "Redis at r1:1, r2:2 is out of reach: connection refused");
        assert_eq!(with_address("something else"), "something else");
    }

    #[test]
    fn what_redis_refuses_comes_with_what_to_do() {
        let full = with_address(answer("OOM command not allowed when used memory > 'maxmemory'."));
        assert!(full.starts_with("Redis at r1:1, r2:2 refused: ") && full.contains("used memory"), "{full}");
        assert!(full.ends_with("(its memory is full: give it more, or let logs keep less)"), "{full}");
        let several = with_address(answer("ERR one  \ttwo"));
        assert!(several.ends_with("one two"), "{several}");
    }
}
