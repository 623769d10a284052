//! The suites that every implementation of `Routes` and `Bus` must pass, on real servers.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use im_sdk::cluster::{
    ClusterConfig, NatsBus, RedisRoutes,
    conformance::{check_bus, check_routes},
};
use im_tests::{NatsServer, RedisCluster, RedisServer};

const NONE: [&str; 0] = [];

#[tokio::test]
async fn routes_in_redis() {
    let redis = RedisServer::start().await;
    let routes = RedisRoutes::connect(&ClusterConfig::new([redis.address()], NONE)).await.unwrap();
    check_routes(&routes).await;
}

#[tokio::test]
async fn routes_in_a_redis_cluster() {
    let redis = RedisCluster::start().await;
    let routes = RedisRoutes::connect(&ClusterConfig::new(redis.addresses(), NONE)).await.unwrap();
    check_routes(&routes).await;
}

#[tokio::test]
async fn bus_on_nats() {
    let nats = NatsServer::start().await;
    let config = ClusterConfig::new(NONE, [nats.address()]);
    let (near, far) = (NatsBus::connect(&config).await.unwrap(), NatsBus::connect(&config).await.unwrap());
    check_bus(&near, &far).await;
}
