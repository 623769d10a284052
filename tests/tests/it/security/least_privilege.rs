//! Least permissions of servers and back ends. Every clustered test runs with them. These tests show what they forbid,
//! and that the documents list the same ones.

use std::collections::HashSet;

use im_sdk::backend::{Message, channel, user};
use im_tests::{
    Setup, Stack, Via,
    channels::serve,
    permissions::{self, Role},
};
use redis::{Cmd, RedisError, Value, aio::MultiplexedConnection};

async fn connect(stack: &Stack, role: Role) -> MultiplexedConnection {
    let address = stack.services().unwrap().redis.address_as(role);
    redis::Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn command(text: &str) -> Cmd {
    let mut words = text.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| _ = command.arg(word));
    command
}

async fn run(connection: &mut MultiplexedConnection, text: &str) -> Result<Value, RedisError> {
    command(text).query_async(connection).await
}

async fn refused(connection: &mut MultiplexedConnection, commands: &[&str]) {
    for text in commands {
        let error = run(connection, text).await.expect_err(text);
        assert_eq!(error.code(), Some("NOPERM"), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_server_can_read_no_log_and_write_no_membership() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let im = stack.backend().await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    im.send(Message::to(user("bob")).from("alice").text("nobody else's business")).await.unwrap();
    im.send(Message::to(channel("team")).from("alice").text("nor this")).await.unwrap();
    let mut server = connect(&stack, Role::Server).await;
    refused(
        &mut server,
        &[
            "XRANGE im:{u:bob}:inbox - +",
            "XRANGE im:{c:team}:channel - +",
            "XADD im:{u:bob}:inbox * p forged",
            "DEL im:{u:bob}:inbox",
            "ZADD im:{c:team}:members 0 mallory",
            "ZRANGE im:{c:team}:members 0 -1",
            "SADD im:{u:mallory}:channels team",
            "HGETALL im:{u:bob}:conversations",
            "ZRANGE im:{u:bob}:acks 0 -1",
            "ZADD im:{nodes}:leases 0 1",
            "SET im:{u:bob}:inbox:record x",
            "KEYS *",
            "SCAN 0",
            "FLUSHALL",
            "CONFIG GET *",
            "ACL WHOAMI",
            "MONITOR",
            "SCRIPT FLUSH",
            "CLIENT LIST",
            "PUBLISH im:anything x",
        ],
    )
    .await;
    // A script cannot read it either.
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('XRANGE', KEYS[1], '-', '+')").arg(1).arg("im:{u:bob}:inbox");
    let error = script.query_async::<Value>(&mut server).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("perm"), "{error}");
    // The server may read routes.
    run(&mut server, "HGETALL im:{u:bob}:routes").await.unwrap();
}

#[tokio::test]
async fn a_back_end_can_do_nothing_to_redis_itself_or_to_others_keys() {
    let stack = Stack::start(Setup::Clustered, 0).await;
    let mut backend = connect(&stack, Role::Backend).await;
    let commands =
        ["GET other:key", "FLUSHALL", "KEYS *", "CONFIG GET *", "SHUTDOWN", "MONITOR", "REPLICAOF NO ONE"];
    refused(&mut backend, &commands).await;
    run(&mut backend, "XRANGE im:{u:bob}:inbox - +").await.unwrap();
}

#[tokio::test]
async fn nothing_that_they_do_is_denied() {
    let mut stack = Stack::start(Setup::Clustered, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut alice = stack.connect("alice", "web/tab", 0, Via::WebSocket).await;
    alice.up_to_date().await;
    let mut bob = stack.connect("bob", "ios/phone", 1, Via::Quic).await;
    bob.up_to_date().await;
    alice.publish("bob", "hi").await.unwrap();
    assert_eq!(bob.text().await, "hi");
    im.send(Message::to(channel("team")).from("alice").text("hi all")).await.unwrap();
    assert_eq!(bob.text().await, "hi all");
    bob.client().conversations(0, 10).await.unwrap();
    // Another phone displaces this one, across servers, and a server shuts down.
    let mut other = stack.connect("bob", "ios/other", 0, Via::WebSocket).await;
    other.up_to_date().await;
    stack.servers.remove(1).shutdown().await;
    let mut redis = stack.services().unwrap().redis.connection().await;
    let denied: Vec<Value> = redis::cmd("ACL").arg("LOG").query_async(&mut redis).await.unwrap();
    assert!(denied.is_empty(), "{denied:?}");
    let nats = stack.services().unwrap().nats.output();
    assert!(!nats.to_lowercase().contains("violation"), "{nats}");
}

/// Returns the set of words of a text.
fn words(text: &str) -> HashSet<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_guide_shows_these_rights() {
    let (name, text) = ("operating.md", include_str!("../../../../im-sdk/src/guide/operating.md"));
    for role in [Role::Server, Role::Backend] {
        let start = format!("user {} on >... ", role.user());
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("{name} lacks a line that begins with {start:?}"));
        assert_eq!(words(line), words(role.redis()), "{name}: {}", role.user());
    }
    for allowed in [
        format!("publish: {{ allow: {} }}", permissions::NATS_SERVER_PUBLISH),
        format!("subscribe: {{ allow: {} }}", permissions::NATS_BACKEND_SUBSCRIBE),
        format!("publish: {{ allow: {} }}", permissions::NATS_BACKEND_PUBLISH),
    ] {
        assert!(text.contains(&allowed), "{name} lacks {allowed}");
    }
}
