//! Outages of Redis or NATS: nothing hangs, and no result claims more than is certain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use im_proto::{frame, pb, pb::frame::Body};
use im_sdk::{
    backend::{Im, Incoming, Message, user},
    client::CloseCode,
    cluster::{
        BusEvent, Cluster, ClusterConfig, MemoryBus, MemoryLog, MemoryRoutes, NatsBus, Publication,
        RedisRoutes, Subject,
    },
    id::{ServerId, UserId},
};
use im_server::{Server, ServerConfig, dev};
use im_tests::{
    NatsServer, RedisServer, Setup, Stack, TcpProxy, Via,
    raw::{Heard, Raw, hello},
    stack::PATIENCE,
    wait_until,
};
use prost::Message as _;
use tokio::time::timeout;

const NONE: [&str; 0] = [];

/// Starts a server on free ports that accepts development tokens.
fn server_config() -> ServerConfig {
    let mut config = dev::config().unwrap();
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config.quic = None;
    config
}

async fn log_in(server: &Server, user: &str) -> (Raw, pb::Welcome) {
    let mut raw = Raw::websocket(&server.endpoints()[0]).await;
    let token = dev::token(&UserId::parse(user).unwrap()).unwrap();
    raw.send_frame(hello(token)).await;
    match raw.heard().await {
        Heard::Frame(Body::Welcome(welcome)) => (raw, welcome),
        other => panic!("Welcome expected: {other:?}"),
    }
}

#[tokio::test]
async fn nobody_waits_for_nats_to_stop() {
    let mut nats = NatsServer::start().await;
    let bus = NatsBus::connect(&ClusterConfig::new(NONE, [nats.address()])).await.unwrap();
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(bus), Arc::new(MemoryLog::default()));
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let server = Server::start(server_config(), cluster).await.unwrap();
    let (_bob, _) = log_in(&server, "bob").await;
    nats.kill();
    // No envelope arrives: the first ones wait for NATS in the client library, the last ones before it.
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert!(receipt.pushed.is_empty(), "{receipt:?}");
    timeout(PATIENCE, im.shutdown()).await.expect("the back end ends");
    timeout(PATIENCE, server.shutdown()).await.expect("the server ends");
}

/// Asks a server to push to a connection, bypassing the routes; returns whether it reports success.
async fn is_pushed(cluster: &Cluster, server: &ServerId, connection: u64) -> bool {
    let names = cluster.names();
    let mut answers = cluster.bus().subscribe(names.answers("test")).await.unwrap();
    let frames = pb::record::Effect::Frames(frame::encode(Body::Pong(pb::Pong { echo: 7 })));
    let envelope = pb::Envelope {
        publisher: "test".into(),
        number: 1,
        answer_to: names.answers("test").to_string(),
        records: vec![pb::Record {
            connections: vec![connection],
            effect: Some(frames),
            ..pb::Record::default()
        }],
        goodbye: false,
    };
    let payload: Bytes = envelope.encode_to_vec().into();
    let publication = Publication { subject: names.server(server), return_to: None, payload };
    cluster.bus().publish(publication).await.unwrap();
    match timeout(PATIENCE, answers.next()).await.unwrap() {
        Some(BusEvent::Message(message)) => pb::Delivered::decode(message.payload).unwrap().missed.is_empty(),
        other => panic!("an answer expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_device_that_left_counts_as_missed_also_while_redis_is_away() {
    let redis = RedisServer::start().await;
    let mut config = ClusterConfig::new([redis.address()], NONE);
    // The release of the route does not time out during this test.
    config.request_timeout = PATIENCE * 2;
    let routes = RedisRoutes::connect(&config).await.unwrap();
    let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let server = Server::start(server_config(), cluster.clone()).await.unwrap();
    let (raw, welcome) = log_in(&server, "bob").await;
    assert!(is_pushed(&cluster, server.id(), welcome.connection).await);

    redis.stop();
    drop(raw);
    wait_until("the server misses the connection", PATIENCE, async || {
        !is_pushed(&cluster, server.id(), welcome.connection).await
    })
    .await;
    redis.resume();
}

#[tokio::test]
async fn a_server_without_its_lease_sends_its_devices_away() {
    for via in [Via::Quic, Via::WebSocket] {
        let stack = Stack::start(Setup::Clustered, 1).await;
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in("bob").await;
        let id = stack.server_id(&stack.servers[0]).await;
        stack.cluster().routes().end_server_lease(&id).await.unwrap();
        assert_eq!(raw.closed().await, CloseCode::GoingAway, "{via:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_server_can_be_asked_for_again() {
    let cluster = Cluster::embedded();
    let mut config = server_config();
    config.lease = Duration::from_secs(1);
    let server = Server::start(config, cluster.clone()).await.unwrap();
    server.disable_restart();
    cluster.routes().end_server_lease(server.id()).await.unwrap();
    for _ in 0..2 {
        let stopped = timeout(PATIENCE, server.stopped()).await.unwrap();
        assert_eq!(stopped, im_server::StopReason::LeaseLost);
    }
}

#[tokio::test]
async fn publishing_ends_while_nats_is_away() {
    let mut nats = NatsServer::start().await;
    let mut config = ClusterConfig::new(NONE, [nats.address()]);
    config.request_timeout = Duration::from_millis(200);
    let bus = NatsBus::connect(&config).await.unwrap();
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(bus), Arc::new(MemoryLog::default()));
    nats.kill();
    let subject = Subject::received("im.srv.nobody");
    let publishing = async {
        let publication = || Publication { subject: subject.clone(), return_to: None, payload: Bytes::new() };
        while cluster.bus().publish(publication()).await.is_ok() {}
    };
    timeout(PATIENCE, publishing).await.expect("at some point the way out is full, and says so");
}

/// A device that connected while a replica lagged has no route after the failover; it must not stay unreachable.
#[tokio::test]
async fn devices_whose_routes_a_failover_forgot_are_reachable_again() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let mut replica = redis.start_replica().await;
    let cluster = Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let server = Server::start(server_config(), cluster.clone()).await.unwrap();
    let (mut bob, _) = log_in(&server, "bob").await;
    let connection = replica.connection().await;
    wait_until("the replica knows of bob", PATIENCE, async || {
        let mut looking = redis::cmd("EXISTS");
        looking.arg("im:{u:bob}:routes").query_async::<bool>(&mut connection.clone()).await.unwrap()
    })
    .await;
    replica.detach().await;
    let (mut alice, _) = log_in(&server, "alice").await;
    replica.take_over(redis).await;

    // Parts of their logs may be lost, too.
    assert!(matches!(alice.heard().await, Heard::Frame(Body::SyncHint(_))));
    assert!(matches!(bob.heard().await, Heard::Frame(Body::SyncHint(_))));
    let both = ["alice", "bob"].map(|user| UserId::parse(user).unwrap());
    let routes = cluster.routes().locate(&both).await.unwrap();
    assert_eq!(routes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1], "her route is there again");
}

/// The bus does not depend on Redis, so it would keep giving this back end its share, and devices would fail
/// in turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_that_alone_lost_redis_leaves_devices_to_others() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let services = stack.services().unwrap();
    let redis = TcpProxy::before(&services.redis.address()).await;
    let config = ClusterConfig::new([redis.url()], [services.nats.address()]);
    let (well, cut_off) = (stack.backend().await, Im::connect(config).await.unwrap());
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let count = |index: usize| {
        let count = Arc::clone(&counts[index]);
        move |incoming: Incoming| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { Ok(incoming.accept()) }
        }
    };
    let _services = [well.serve(count(0)).await.unwrap(), cut_off.serve(count(1)).await.unwrap()];
    let alice = stack.connect("alice", "web/tab", 0, Via::WebSocket).await;
    let handled = |index: usize| counts[index].load(Ordering::Relaxed);
    let publish = async || alice.publish("alice", "note").await.unwrap();
    wait_until("both take their share", PATIENCE, async || {
        publish().await;
        handled(0) > 0 && handled(1) > 0
    })
    .await;
    redis.refuse();
    // Until the back end notices, the client's own repetitions get every publish through.
    wait_until("the other one takes all", PATIENCE, async || {
        let before = handled(1);
        for _ in 0..20 {
            publish().await;
        }
        handled(1) == before
    })
    .await;
    redis.repair();
    wait_until("it takes its share again", PATIENCE, async || {
        let before = handled(1);
        publish().await;
        handled(1) > before
    })
    .await;
}

/// The messages of a back end without NATS are in the logs, and the servers notice its silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_back_end_sent_that_alone_lost_nats_is_asked_for() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let services = stack.services().unwrap();
    let nats = TcpProxy::before(&services.nats.address()).await;
    let config = ClusterConfig::new([services.redis.address()], [nats.url()]);
    let (well, cut_off) = (stack.backend().await, Im::connect(config).await.unwrap());
    let _service = well.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    let mut bob = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;
    bob.up_to_date().await;
    cut_off.send(Message::to(user("bob")).text("before")).await.unwrap();
    assert_eq!(bob.text().await, "before");
    nats.hold();
    let receipt = cut_off.send(Message::to(user("bob")).text("unheard")).await.unwrap();
    assert!(receipt.pushed.is_empty() && receipt.logged.len() == 1, "{receipt:?}");
    assert_eq!(bob.text().await, "unheard", "by a sync");
}
