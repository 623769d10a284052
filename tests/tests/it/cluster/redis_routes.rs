//! `RedisRoutes` on a Redis that fails.

use std::time::{Duration, Instant};

use im_sdk::{
    cluster::{Claim, ClusterConfig, ConnectError, LoginPolicy, RedisRoutes, Route, Routes},
    id::{ConnectionId, Device, DeviceId, ServerId, Terminal, UserId},
};
use im_tests::{RedisCluster, RedisOptions, RedisServer, wait_until};
use redis::aio::MultiplexedConnection;

const NONE: [&str; 0] = [];
const PATIENCE: Duration = Duration::from_secs(20);

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

fn phone() -> Device {
    Device::new(Terminal::Ios, DeviceId::parse("phone").unwrap())
}

fn route(connection: u64) -> Route {
    Route { server: ServerId::parse("edge-1").unwrap(), connection: ConnectionId(connection) }
}

fn claim(user: UserId) -> Claim {
    Claim { user, device: phone(), route: route(1), policy: LoginPolicy::Unlimited }
}

fn config(redis: &RedisServer) -> ClusterConfig {
    let mut config = ClusterConfig::new([redis.address()], NONE);
    config.request_timeout = Duration::from_millis(500);
    config
}

async fn located(routes: &RedisRoutes) -> Option<Vec<(Device, Route)>> {
    Some(routes.locate(&[bob()]).await.ok()?.remove(0))
}

#[tokio::test]
async fn what_cannot_be_read_is_skipped_and_then_removed() {
    let redis = RedisServer::start().await;
    let routes = RedisRoutes::connect(&config(&redis)).await.unwrap();
    routes.claim(&claim(bob())).await.unwrap();
    let mut connection = redis.connection().await;
    let stored: &[(&[u8], &[u8])] = &[
        (b"toaster/1", b"edge-1:1"),
        (b"web/tab", b"nonsense"),
        (b"\xff\xfe", b"\xff"),
        (b"web/x", b"edge-1:zz"),
    ];
    for (field, value) in stored {
        let mut set = redis::cmd("HSET");
        set.arg("im:{u:bob}:routes").arg(*field).arg(*value);
        set.query_async::<()>(&mut connection).await.unwrap();
    }
    assert_eq!(located(&routes).await.unwrap(), [(phone(), route(1))]);
    assert_eq!(routes.claim(&claim(bob())).await.unwrap(), []);
    let mut count = redis::cmd("HLEN");
    let left: u32 = count.arg("im:{u:bob}:routes").query_async(&mut connection).await.unwrap();
    assert_eq!(left, 1, "only the phone is left");
}

#[tokio::test]
async fn a_restarted_redis_is_found_again() {
    let mut redis = RedisServer::start_with(RedisOptions { append_only: true, ..Default::default() }).await;
    let routes = RedisRoutes::connect(&config(&redis)).await.unwrap();
    routes.claim(&claim(bob())).await.unwrap();
    redis.kill();
    assert_eq!(located(&routes).await, None);
    redis.restart().await;
    wait_until("routes are back", PATIENCE, async || located(&routes).await.is_some()).await;
    assert_eq!(located(&routes).await.unwrap(), [(phone(), route(1))]);
}

#[tokio::test]
async fn a_redis_that_refuses_for_a_while_is_found_again() {
    let redis = RedisServer::start().await;
    let routes = RedisRoutes::connect(&config(&redis)).await.unwrap();
    let mut admin = redis.connection().await;
    order(&mut admin, &["CONFIG", "SET", "requirepass", "secret"]).await;
    order(&mut admin, &["CONFIG", "RESETSTAT"]).await;
    order(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    // More attempts than the default of the client library.
    wait_until("attempts to connect", PATIENCE, async || {
        assert_eq!(located(&routes).await, None);
        let stats = order(&mut admin, &["INFO", "stats"]).await;
        let attempts = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        attempts.unwrap().parse::<u32>().unwrap() > 8
    })
    .await;
    order(&mut admin, &["CONFIG", "SET", "requirepass", ""]).await;
    wait_until("routes are back", PATIENCE, async || located(&routes).await.is_some()).await;
}

async fn order(connection: &mut MultiplexedConnection, words: &[&str]) -> String {
    let answer = redis::cmd(words[0]).arg(&words[1..]).query_async::<redis::Value>(connection).await;
    redis::from_redis_value(answer.unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_frozen_redis_fails_requests_in_time() {
    let redis = RedisServer::start().await;
    let routes = RedisRoutes::connect(&config(&redis)).await.unwrap();
    redis.stop();
    let start = Instant::now();
    assert!(routes.claim(&claim(bob())).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(2), "after {:?}", start.elapsed());
    redis.resume();
    wait_until("routes are back", PATIENCE, async || located(&routes).await.is_some()).await;
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let redis = RedisServer::start().await;
    let routes = RedisRoutes::connect(&config(&redis)).await.unwrap();
    for _ in 0..2 {
        routes.claim(&claim(bob())).await.unwrap();
        order(&mut redis.connection().await, &["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn the_first_connection_fails_with_a_reason() {
    let mut redis = RedisServer::start().await;
    let address = redis.address();
    let mut config = ClusterConfig::new([address.replace("//", "//user:secret@")], NONE);
    config.connect_timeout = Duration::from_millis(500);
    let disturbances: [fn(&mut RedisServer); 3] = [|_| {}, |redis| redis.stop(), |redis| redis.kill()];
    for disturb in disturbances {
        disturb(&mut redis);
        let start = Instant::now();
        let error = RedisRoutes::connect(&config).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Redis at 127.0.0.1:") && !text.contains("secret"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(2), "{text} after {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn one_of_several_addresses_is_enough() {
    let redis = RedisServer::start().await;
    let config = ClusterConfig::new(["redis://127.0.0.1:1", &redis.address()], NONE);
    let routes = RedisRoutes::connect(&config).await.unwrap();
    routes.claim(&claim(bob())).await.unwrap();
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_named() {
    let config = ClusterConfig::new(NONE, NONE);
    let error = RedisRoutes::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress { service: "Redis" }), "{error}");
    let mut config = ClusterConfig::new(["nonsense"], NONE);
    let error = RedisRoutes::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidAddress { service: "Redis", .. }), "{error}");
    config.prefix = "a.b".into();
    let error = RedisRoutes::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidPrefix { .. }), "{error}");
}

#[tokio::test]
async fn a_restarted_cluster_node_is_found_again() {
    let mut redis = RedisCluster::start().await;
    let routes = RedisRoutes::connect(&ClusterConfig::new(redis.addresses(), NONE)).await.unwrap();
    let users: Vec<UserId> =
        (0..20).map(|number| UserId::parse(&format!("user-{number}")).unwrap()).collect();
    redis.nodes()[1].restart().await;
    redis.wait_until_ok().await;
    for user in users {
        let claim = claim(user);
        wait_until("a claim", PATIENCE, async || routes.claim(&claim).await.is_ok()).await;
    }
}
