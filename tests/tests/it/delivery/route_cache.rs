//! A back end's cached routes are never older than the append that it delivers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use im_sdk::{
    cluster::{Claim, Cluster, ClusterConfig, LogId, LoginPolicy, NewEntry, Route},
    id::{ConnectionId, Device, MessageId, NodeId, ServerId, UserId},
};
use im_tests::{NatsServer, RedisServer};

const PATIENCE: Duration = Duration::from_secs(20);

fn user(number: usize) -> UserId {
    format!("u{number}").parse().unwrap()
}

fn device() -> Device {
    "web/tab".parse().unwrap()
}

fn route(number: u64) -> Route {
    Route { server: ServerId::parse("s1").unwrap(), connection: ConnectionId(number) }
}

fn claim(user: &UserId, number: u64) -> Claim {
    let (user, policy) = (user.clone(), LoginPolicy::OnePerTerminal);
    Claim { user, device: device(), route: route(number), policy }
}

async fn connect(redis: &RedisServer, nats: &NatsServer) -> Cluster {
    let mut config = ClusterConfig::new([redis.address()], [nats.address()]);
    config.request_timeout = Duration::from_millis(500);
    Cluster::connect(config).await.unwrap()
}

async fn try_append(cluster: &Cluster, user: &UserId) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let id = MessageId::from_parts(now, NodeId::new(1).unwrap(), 1);
    let log = LogId::Inbox(user.clone());
    cluster.log().append(&log, NewEntry::new(id, "hi".into())).await.is_ok()
}

async fn append_at_last(cluster: &Cluster, user: &UserId) {
    let start = Instant::now();
    while !try_append(cluster, user).await {
        assert!(start.elapsed() < PATIENCE, "nothing can be appended");
    }
}

/// Returns the connection of the user's only device.
async fn heard(cluster: &Cluster, user: &UserId) -> Option<u64> {
    let routes = cluster.routes().locate_cached(std::slice::from_ref(user)).await.unwrap().remove(0);
    routes.first().map(|(_, route)| route.connection.0)
}

/// Returns how often routes were read from Redis so far.
async fn reads(redis: &RedisServer) -> u64 {
    let mut connection = redis.connection().await;
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_hgetall:calls="));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

async fn ask(redis: &RedisServer, command: &[&str]) {
    let mut connection = redis.connection().await;
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]);
    asked.query_async::<redis::Value>(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_was_claimed_before_an_append_is_known_behind_it() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let lane = async |lane: usize| {
        let user = user(lane);
        for number in 0..200 {
            server.routes().claim(&claim(&user, number)).await.unwrap();
            assert!(try_append(&back_end, &user).await);
            assert_eq!(heard(&back_end, &user).await, Some(number), "claimed before the append");
            assert_eq!(heard(&back_end, &user).await, Some(number), "again, as it is kept");
        }
    };
    join_all((0..16).map(lane)).await;
}

#[tokio::test]
async fn routes_that_do_not_change_are_read_once() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let (bob, nobody) = (user(1), user(2));
    server.routes().claim(&claim(&bob, 7)).await.unwrap();
    for _ in 0..100 {
        assert_eq!(heard(&back_end, &bob).await, Some(7));
        assert_eq!(heard(&back_end, &nobody).await, None, "that nobody is there is kept, too");
    }
    let reads = reads(&redis).await;
    // One more for a device that connected while the connection was being made.
    assert!((2..=4).contains(&reads), "{reads} reads");
    assert!(server.routes().release(&bob, &device(), &route(7)).await.unwrap());
    assert!(try_append(&back_end, &bob).await);
    assert_eq!(heard(&back_end, &bob).await, None);
    server.routes().claim(&claim(&nobody, 8)).await.unwrap();
    assert!(try_append(&back_end, &nobody).await);
    assert_eq!(heard(&back_end, &nobody).await, Some(8));
}

#[tokio::test]
async fn what_changes_while_the_connection_is_lost_is_known_over_the_next_one() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let bob = user(1);
    for number in 0..10 {
        append_at_last(&back_end, &bob).await;
        heard(&back_end, &bob).await;
        ask(&redis, &["CLIENT", "KILL", "TYPE", "normal"]).await;
        let start = Instant::now();
        while server.routes().claim(&claim(&bob, number)).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "nothing can be claimed");
        }
        append_at_last(&back_end, &bob).await;
        assert_eq!(heard(&back_end, &bob).await, Some(number));
    }
}

#[tokio::test]
async fn what_the_next_master_knows_counts() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let bob = user(1);
    server.routes().claim(&claim(&bob, 1)).await.unwrap();
    assert!(try_append(&back_end, &bob).await);
    let mut replica = redis.start_replica().await;
    replica.detach().await;
    server.routes().claim(&claim(&bob, 2)).await.unwrap();
    assert!(try_append(&back_end, &bob).await);
    assert_eq!(heard(&back_end, &bob).await, Some(2));
    assert_eq!(heard(&back_end, &bob).await, Some(2));
    replica.take_over(redis).await;
    append_at_last(&back_end, &bob).await;
    assert_eq!(heard(&back_end, &bob).await, Some(1), "the claim was lost with the master");
}

#[tokio::test]
async fn what_redis_cannot_remember_is_read_again() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    ask(&redis, &["CONFIG", "SET", "tracking-table-max-keys", "5"]).await;
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    for number in 0..3 {
        for user in (0..50).map(user) {
            server.routes().claim(&claim(&user, number)).await.unwrap();
        }
        for user in (0..50).map(user) {
            assert!(try_append(&back_end, &user).await);
            assert_eq!(heard(&back_end, &user).await, Some(number));
        }
    }
}

#[tokio::test]
async fn a_redis_that_may_not_tell_is_asked_each_time() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    ask(&redis, &["ACL", "SETUSER", "default", "-client|tracking"]).await;
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let bob = user(1);
    for number in 0..20 {
        server.routes().claim(&claim(&bob, number)).await.unwrap();
        assert_eq!(heard(&back_end, &bob).await, Some(number));
    }
    assert!(reads(&redis).await >= 20);
}

#[tokio::test]
async fn an_emptied_database_is_noticed() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let (back_end, server) = (connect(&redis, &nats).await, connect(&redis, &nats).await);
    let bob = user(1);
    server.routes().claim(&claim(&bob, 7)).await.unwrap();
    assert!(try_append(&back_end, &bob).await);
    for _ in 0..2 {
        assert_eq!(heard(&back_end, &bob).await, Some(7));
    }
    ask(&redis, &["FLUSHALL"]).await;
    assert!(try_append(&back_end, &bob).await);
    assert_eq!(heard(&back_end, &bob).await, None);
}
