//! The suites that every implementation of `Routes`, `Bus`, `LogStore` and `Membership` must pass, on real servers.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use im_sdk::cluster::{
    ClusterConfig, NatsBus, RedisLog, RedisMembers, RedisRoutes,
    conformance::{check_bus, check_log, check_members, check_routes},
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
async fn members_in_redis() {
    let redis = RedisServer::start().await;
    check_members(&RedisMembers::connect(&ClusterConfig::new([redis.address()], NONE)).await.unwrap()).await;
}

#[tokio::test]
async fn members_in_a_redis_cluster() {
    let redis = RedisCluster::start().await;
    let config = ClusterConfig::new(redis.addresses(), NONE);
    check_members(&RedisMembers::connect(&config).await.unwrap()).await;
}

#[tokio::test]
async fn bus_on_nats() {
    let nats = NatsServer::start().await;
    let config = ClusterConfig::new(NONE, [nats.address()]);
    let (near, far) = (NatsBus::connect(&config).await.unwrap(), NatsBus::connect(&config).await.unwrap());
    check_bus(&near, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_in_redis() {
    let redis = RedisServer::start().await;
    check_log(async |bounds| {
        let mut config = ClusterConfig::new([redis.address()], NONE);
        config.log_bounds = bounds;
        RedisLog::connect(&config).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_in_a_redis_cluster() {
    let redis = RedisCluster::start().await;
    check_log(async |bounds| {
        let mut config = ClusterConfig::new(redis.addresses(), NONE);
        config.log_bounds = bounds;
        RedisLog::connect(&config).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_that_waits_for_a_replica() {
    let redis = RedisServer::start().await;
    let _replica = redis.start_replica().await;
    check_log(async |bounds| {
        let mut config = ClusterConfig::new([redis.address()], NONE);
        (config.log_bounds, config.min_replicas) = (bounds, 1);
        RedisLog::connect(&config).await.unwrap()
    })
    .await;
}
