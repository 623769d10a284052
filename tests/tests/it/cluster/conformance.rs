//! Conformance suites of `Routes`, `Bus`, `LogStore`, `MemberStore`, `ConversationStore`, `ArchiveQueue` and `MessageStore` on
//! real servers.

use std::sync::atomic::{AtomicU32, Ordering};

use im_sdk::backend::message_store::{SqlMessageStore, conformance::check_message_store};
use im_sdk::cluster::{
    ClusterConfig, JetStreamArchiveQueue, NatsBus, RedisConversations, RedisLastSeen, RedisLog, RedisMembers,
    RedisRoutes,
    conformance::{
        check_archive_queue, check_bus, check_conversation_limit, check_conversations, check_last_seen,
        check_log, check_members, check_routes,
    },
};
use im_tests::{NatsServer, PostgresServer, RedisCluster, RedisServer};

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
async fn conversations_in_redis() {
    let redis = RedisServer::start().await;
    let config = ClusterConfig::new([redis.address()], NONE);
    check_conversations(&RedisConversations::connect(&config).await.unwrap()).await;
    let few = RedisConversations::connect(&config).await.unwrap().with_max_conversations(8);
    check_conversation_limit(&few, 8).await;
}

#[tokio::test]
async fn conversations_in_a_redis_cluster() {
    let redis = RedisCluster::start().await;
    let config = ClusterConfig::new(redis.addresses(), NONE);
    check_conversations(&RedisConversations::connect(&config).await.unwrap()).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_in_jetstream() {
    let nats = NatsServer::start().await;
    let deployments = AtomicU32::new(0);
    check_archive_queue(async |settings| {
        let mut config = ClusterConfig::new(NONE, [nats.address()]);
        config.prefix = format!("im{}", deployments.fetch_add(1, Ordering::Relaxed));
        config.archive = Some(settings);
        JetStreamArchiveQueue::connect(&config).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_postgresql() {
    let postgres = PostgresServer::start().await;
    let url = postgres.url();
    // Several at once, as when several processes start.
    let (first, second) = tokio::join!(SqlMessageStore::connect(&url), SqlMessageStore::connect(&url));
    check_message_store(&first.unwrap()).await;
    check_message_store(&second.unwrap()).await;
}

#[tokio::test]
async fn last_seen_in_redis() {
    let redis = RedisServer::start().await;
    let config = ClusterConfig::new([redis.address()], NONE);
    check_last_seen(&RedisLastSeen::connect(&config).await.unwrap()).await;
}

#[tokio::test]
async fn last_seen_in_a_redis_cluster() {
    let redis = RedisCluster::start().await;
    let config = ClusterConfig::new(redis.addresses(), NONE);
    check_last_seen(&RedisLastSeen::connect(&config).await.unwrap()).await;
}
