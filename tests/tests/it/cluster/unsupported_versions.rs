//! Redis and NATS versions that are too old, simulated by proxies that rewrite the reported version.

use im_sdk::{
    backend::Im,
    cluster::{ArchiveConfig, Cluster, ClusterConfig, ConnectError},
};
use im_tests::{NatsServer, RedisServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// Starts a proxy that changes what the server sends; returns its address.
async fn between(server: &str, change: impl Fn(&mut Vec<u8>) + Clone + Send + 'static) -> u16 {
    let server = server.split_once("://").unwrap().1.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The proxy ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, change) = (TcpStream::connect(&server).await.unwrap(), change.clone());
            tokio::spawn(async move {
                let ((mut asks, mut hears), (mut answers, mut asked)) =
                    (client.into_split(), server.into_split());
                let asking = tokio::spawn(async move { copy(&mut asks, &mut asked).await });
                let mut said = Vec::new();
                while answers.read_buf(&mut said).await.is_ok_and(|read| read > 0) {
                    change(&mut said);
                    if hears.write_all(&said).await.is_err() {
                        break;
                    }
                    said.clear();
                }
                asking.abort();
            });
        }
    });
    port
}

/// Replaces the value after a text.
fn rewrite(said: &mut Vec<u8>, before: &str, end: u8, value: &[u8]) {
    let Some(found) = said.windows(before.len()).position(|window| window == before.as_bytes()) else {
        return;
    };
    let start = found + before.len();
    let length = said[start..].iter().position(|byte| *byte == end).unwrap();
    said.splice(start..start + length, value.iter().copied());
}

async fn old_nats(nats: &NatsServer, version: &'static str) -> String {
    let change = move |said: &mut Vec<u8>| rewrite(said, r#""version":""#, b'"', version.as_bytes());
    format!("nats://127.0.0.1:{}", between(&nats.address(), change).await)
}

/// Returns the error of connecting to it.
async fn refusal(config: ClusterConfig) -> String {
    let error = Cluster::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_refused_when_connecting() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    // Replaces one digit by one digit, since the length of the answer precedes it.
    let older = |said: &mut Vec<u8>| rewrite(said, "redis_version:", b'.', b"6");
    let port = between(&redis.address(), older).await;
    let said = refusal(ClusterConfig::new([format!("redis://127.0.0.1:{port}")], [nats.address()])).await;
    assert!(said.starts_with(&format!("Redis at 127.0.0.1:{port} is 6.")), "{said}");
    assert!(said.contains("and 7.0 or newer is needed"), "{said}");
}

#[tokio::test]
async fn a_redis_without_the_newer_protocol_is_too_old() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Answers as version 5 does.
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut said = Vec::new();
            while client.read_buf(&mut said).await.is_ok_and(|read| read > 0) {
                let unknown = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";
                let commands = said.split(|byte| *byte == b'\n').filter(|line| line.first() == Some(&b'*'));
                client.write_all(unknown.repeat(commands.count()).as_bytes()).await.unwrap();
                said.clear();
            }
        }
    });
    let said = refusal(ClusterConfig::new([format!("redis://{address}")], ["nats://127.0.0.1:9"])).await;
    assert!(said.starts_with(&format!("Redis at {address} is 5 or older, and 7.0")), "{said}");
}

#[tokio::test]
async fn a_nats_that_is_too_old_is_refused_when_connecting() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let old = old_nats(&nats, "2.1.9").await;
    let said = refusal(ClusterConfig::new([redis.address()], [old.clone()])).await;
    let address = old.trim_start_matches("nats://");
    assert!(said.starts_with(&format!("NATS at {address} is 2.1.9, and 2.2 or newer is needed")), "{said}");

    // A version that is new enough for the bus is too old for the archive.
    let old = old_nats(&nats, "2.8.4").await;
    let mut config = ClusterConfig::new([redis.address()], [old]);
    Im::connect(config.clone()).await.unwrap().shutdown().await;
    config.archive = Some(ArchiveConfig::default());
    let said = refusal(config).await;
    assert!(said.contains("is 2.8.4, and 2.9 or newer is needed"), "{said}");
}
