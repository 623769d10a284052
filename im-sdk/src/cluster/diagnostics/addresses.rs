//! Checks of Redis and NATS addresses, and detection of another service behind one.

use std::time::Duration;

use redis::IntoConnectionInfo as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::cluster::config::{ConnectError, place, without_credentials};

/// The form of a Redis address, for errors.
const REDIS_FORM: &str = "it must be redis://[user:password@]host:port[/db]";
const REDIS_TLS: &str = "there is no TLS towards Redis yet: use redis://host:port, in a private network";
/// The supported schemes.
const REDIS_SCHEMES: [&str; 5] = ["redis", "valkey", "unix", "redis+unix", "valkey+unix"];

/// The form of a NATS address, for errors.
const NATS_FORM: &str = "it must be nats://[user:password@]host:port";
const NATS_TLS: &str = "there is no TLS towards NATS yet: use nats://host:port, in a private network";
const NATS_WEBSOCKET: &str = "there is no WebSocket towards NATS: use nats://host:port";

/// Refuses invalid Redis addresses before any connection is attempted.
pub(in crate::cluster) fn check_redis(addresses: &[String]) -> Result<(), ConnectError> {
    let problem = |address: &String| match scheme(address) {
        Some("rediss" | "valkeys") => Some(REDIS_TLS),
        Some(scheme) if REDIS_SCHEMES.contains(&scheme) => {
            address.as_str().into_connection_info().err().map(|_| REDIS_FORM)
        }
        _ => Some(REDIS_FORM),
    };
    check("Redis", addresses, problem)
}

/// Refuses invalid NATS addresses before any connection is attempted. Without a scheme, `nats://`
/// is assumed, as NATS's own tools do.
pub(in crate::cluster) fn check_nats(addresses: &[String]) -> Result<(), ConnectError> {
    let problem = |address: &String| match scheme(address) {
        Some("tls") => Some(NATS_TLS),
        Some("ws" | "wss") => Some(NATS_WEBSOCKET),
        Some("nats") | None => address.parse::<async_nats::ServerAddr>().err().map(|_| NATS_FORM),
        Some(_) => Some(NATS_FORM),
    };
    check("NATS", addresses, problem)
}

fn check(
    service: &'static str,
    addresses: &[String],
    problem: impl Fn(&String) -> Option<&'static str>,
) -> Result<(), ConnectError> {
    if addresses.iter().any(|address| address.trim().is_empty()) {
        let (address, problem) = ("\"\"".to_owned(), "it is empty: is the variable that it comes from set?");
        return Err(ConnectError::InvalidAddress { service, address, problem });
    }
    let found = addresses.iter().find_map(|address| Some((address, problem(address)?)));
    found.map_or(Ok(()), |(address, problem)| {
        Err(ConnectError::InvalidAddress { service, address: shown(address), problem })
    })
}

fn scheme(address: &str) -> Option<&str> {
    address.split_once("://").map(|(scheme, _)| scheme)
}

/// Returns the address with its scheme, which may be wrong, and without its password.
fn shown(address: &str) -> String {
    let is_scheme = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    let scheme = scheme(address).filter(is_scheme).map_or(String::new(), |scheme| format!("{scheme}://"));
    place(address).map_or("(not shown)".to_owned(), |place| format!("{scheme}{place}"))
}

/// Another service than the expected one answered.
#[derive(Debug, thiserror::Error)]
#[error("found {found} there instead of {expected}")]
struct Stranger {
    found: &'static str,
    expected: &'static str,
}

/// The time limit of the detection.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns why a connection failed: another service answers there, or else the client library's
/// error, which may just be a timeout.
pub(in crate::cluster) async fn reason(
    expected: &'static str,
    address: &str,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Box<dyn std::error::Error + Send + Sync> {
    match timeout(ASK_TIMEOUT, ask(without_credentials(address))).await {
        Ok(Ok(Some(found))) if found != expected => Stranger { found, expected }.into(),
        _ => source,
    }
}

/// Sends `PING`, which both services know, and detects the service that answers. NATS speaks first;
/// Redis answers even if it demands a password.
async fn ask(address: &str) -> std::io::Result<Option<&'static str>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 16];
    let read = stream.read(&mut answer).await?;
    Ok(speaker(&answer[..read]))
}

/// Returns the service whose first bytes these are.
fn speaker(answer: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 6] = [
        (b"INFO ", "NATS"),
        (b"+", "Redis"),
        (b"-", "Redis"),
        (b"HTTP/", "a web server"),
        // A TLS alert.
        (b"\x15\x03", "a server that speaks TLS"),
        (b"SSH-", "an SSH server"),
    ];
    known.into_iter().find_map(|(beginning, who)| answer.starts_with(beginning).then_some(who))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(checked: Result<(), ConnectError>) -> String {
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    fn redis(address: &str) -> String {
        said(check_redis(&["redis://r:1".to_owned(), address.to_owned()]))
    }

    fn nats(address: &str) -> String {
        said(check_nats(&["nats://n:1".to_owned(), address.to_owned()]))
    }

    #[test]
    fn an_empty_address_is_called_empty() {
        for said in [redis(""), redis(" "), nats("")] {
            assert!(
                said.ends_with(
                    "address \"\" is not valid: it is empty: is the variable that it comes from set?"
                ),
                "{said}"
            );
        }
    }

    #[test]
    fn addresses_of_redis_are_told_from_others() {
        for good in
            ["redis://h", "redis://u:p@h:1/2", "redis://[::1]:1", "valkey://h:1", "unix:///run/redis.sock"]
        {
            assert_eq!(redis(good), "");
        }
        let wrong = |shown: &str, problem: &str| format!("the Redis address {shown} is not valid: {problem}");
        assert_eq!(redis("localhost:6379"), wrong("localhost:6379", REDIS_FORM));
        assert_eq!(redis("http://x"), wrong("http://x", REDIS_FORM));
        assert_eq!(redis("nats://u:hunter2@h:4222"), wrong("nats://h:4222", REDIS_FORM));
        assert_eq!(redis("rediss://:hunter2@h:6380"), wrong("rediss://h:6380", REDIS_TLS));
        assert_eq!(redis("valkeys://h:6380"), wrong("valkeys://h:6380", REDIS_TLS));
        assert_eq!(redis("redis://u:hunter2@h:1/nonsense"), wrong("redis://h:1", REDIS_FORM));
    }

    #[test]
    fn addresses_of_nats_are_told_from_others() {
        for good in ["nats://h", "nats://u:p@h:1", "nats://[::1]:1", "token@h:1", "h:4222"] {
            assert_eq!(nats(good), "");
        }
        let wrong = |shown: &str, problem: &str| format!("the NATS address {shown} is not valid: {problem}");
        assert_eq!(nats("tls://u:hunter2@h:4222"), wrong("tls://h:4222", NATS_TLS));
        assert_eq!(nats("wss://h:443"), wrong("wss://h:443", NATS_WEBSOCKET));
        assert_eq!(nats("redis://:hunter2@h:6379"), wrong("redis://h:6379", NATS_FORM));
        assert_eq!(nats("nats://h:port"), wrong("(not shown)", NATS_FORM));
    }

    #[test]
    fn services_are_told_by_how_they_begin() {
        for (answer, who) in [
            (&b"INFO {\"server_id\""[..], Some("NATS")),
            (b"+PONG\r\n", Some("Redis")),
            (b"-NOAUTH Authentication", Some("Redis")),
            (b"HTTP/1.1 400 Bad", Some("a web server")),
            (b"\x15\x03\x01\x00\x02", Some("a server that speaks TLS")),
            (b"220 mail", None),
            (b"", None),
        ] {
            assert_eq!(speaker(answer), who);
        }
    }
}
