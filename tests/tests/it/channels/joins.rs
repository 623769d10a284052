//! Records of back ends that make a server's connections join and leave channels.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::{frame, pb, pb::ResetReason, pb::frame::Body, pb::record::Effect};
use im_sdk::{
    backend::{Im, Incoming, Message, channel},
    cluster::{
        BusEvent, Cluster, ClusterConfig, MemoryBus, MemoryLog, Publication, RedisRoutes, Subscription,
    },
    id::{ChannelId, ServerId},
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};
use im_tests::{
    NatsServer, RedisCluster, RedisServer,
    raw::{Heard, Raw},
    stack::{AUDIENCE, ISSUER, KEY_ID, PATIENCE, SECRET},
    wait_until,
};
use prost::Message as _;
use tokio::time::timeout;

const NONE: [&str; 0] = [];

/// No record was missed.
const NO_RECORD: [u32; 0] = [];

fn server_config(name: &str) -> ServerConfig {
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new(name, TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config
}

async fn log_in(server: &Server, user: &str) -> (Raw, u64) {
    let mut raw = Raw::websocket(&format!("ws://{}", server.websocket_addr().unwrap())).await;
    let welcome = raw.log_in(user).await;
    (raw, welcome.connection)
}

/// A back end that publishes arbitrary records.
struct Teller {
    cluster: Cluster,
    server: ServerId,
    answers: Subscription,
    number: u64,
}

impl Teller {
    async fn new(cluster: &Cluster, server: &ServerId) -> Self {
        let answers = cluster.bus().subscribe(cluster.names().answers("teller")).await.unwrap();
        Self { cluster: cluster.clone(), server: server.clone(), answers, number: 0 }
    }

    async fn tell(&mut self, records: Vec<pb::Record>) -> u64 {
        self.number += 1;
        let names = self.cluster.names();
        let envelope = pb::Envelope {
            publisher: "teller".into(),
            number: self.number,
            answer_to: names.answers("teller").to_string(),
            records,
            goodbye: false,
        };
        let payload: Bytes = envelope.encode_to_vec().into();
        let publication = Publication { subject: names.server(&self.server), return_to: None, payload };
        self.cluster.bus().publish(publication).await.unwrap();
        self.number
    }

    /// Waits for the next reply: the number of its envelope, and the records that were missed.
    async fn answer(&mut self) -> (u64, Vec<u32>) {
        match timeout(PATIENCE, self.answers.next()).await.unwrap() {
            Some(BusEvent::Message(message)) => {
                let delivered = pb::Delivered::decode(message.payload).unwrap();
                (delivered.number, delivered.missed.iter().map(|missed| missed.record).collect())
            }
            other => panic!("an answer expected: {other:?}"),
        }
    }

    async fn ask(&mut self, records: Vec<pb::Record>) -> Vec<u32> {
        let number = self.tell(records).await;
        let (answered, missed) = self.answer().await;
        assert_eq!(answered, number);
        missed
    }

    async fn servers_of(&self, name: &str) -> Vec<ServerId> {
        self.cluster.routes().channel_servers(&ChannelId::parse(name).unwrap()).await.unwrap()
    }
}

fn names(names: &[&str]) -> pb::Channels {
    pb::Channels { channels: names.iter().map(ToString::to_string).collect(), ..Default::default() }
}

fn to(connection: u64, effect: Effect) -> pb::Record {
    pb::Record { connections: vec![connection], effect: Some(effect), ..pb::Record::default() }
}

fn join(connection: u64, channels: &[&str]) -> pb::Record {
    to(connection, Effect::Join(names(channels)))
}

fn leave(connection: u64, channels: &[&str]) -> pb::Record {
    to(connection, Effect::Leave(names(channels)))
}

fn pong(echo: u64) -> Effect {
    Effect::Frames(frame::encode(Body::Pong(pb::Pong { echo })))
}

fn to_channel(name: &str, echo: u64) -> pb::Record {
    pb::Record {
        connections: Vec::new(),
        channel: name.into(),
        effect: Some(pong(echo)),
        ..Default::default()
    }
}

async fn echo(raw: &mut Raw) -> u64 {
    match raw.heard().await {
        Heard::Frame(Body::Pong(pong)) => pong.echo,
        other => panic!("a pong expected: {other:?}"),
    }
}

#[tokio::test]
async fn who_has_joined_gets_what_is_for_the_channel() {
    let cluster = Cluster::embedded();
    let server = Server::start(server_config("s"), cluster.clone()).await.unwrap();
    let mut teller = Teller::new(&cluster, server.id()).await;
    let ((mut one, one_id), (mut other, other_id)) = (log_in(&server, "a").await, log_in(&server, "b").await);
    assert_eq!(
        teller.ask(vec![to_channel("red", 1)]).await,
        NO_RECORD,
        "a channel without anybody is no fault"
    );
    assert_eq!(teller.ask(vec![join(one_id, &["red", "blue"]), join(other_id, &["blue"])]).await, NO_RECORD);
    assert_eq!(teller.servers_of("red").await, [server.id().clone()]);
    assert_eq!(teller.ask(vec![to_channel("red", 2), to_channel("blue", 3)]).await, NO_RECORD);
    assert_eq!((echo(&mut one).await, echo(&mut one).await, echo(&mut other).await), (2, 3, 3));

    assert_eq!(teller.ask(vec![leave(one_id, &["blue", "never joined"])]).await, NO_RECORD);
    teller.ask(vec![to_channel("blue", 4), to_channel("red", 5)]).await;
    assert_eq!((echo(&mut one).await, echo(&mut other).await), (5, 4));
    // Each record is judged alone, including one with an invalid channel name.
    let gone = one_id.wrapping_add(1000);
    let records = vec![join(one_id, &["green", "no channel"]), join(gone, &["red"]), leave(gone, &["red"])];
    assert_eq!(teller.ask(records).await, [1, 2]);
    teller.ask(vec![to_channel("green", 6)]).await;
    assert_eq!(echo(&mut one).await, 6);
}

#[tokio::test]
async fn joins_and_leaves_keep_their_order() {
    let cluster = Cluster::embedded();
    let server = Server::start(server_config("s"), cluster.clone()).await.unwrap();
    let mut teller = Teller::new(&cluster, server.id()).await;
    let (mut raw, id) = log_in(&server, "a").await;
    for round in 0..200 {
        let last = teller.tell(vec![leave(id, &["red"]), join(id, &["red"]), leave(id, &["blue"])]).await;
        teller.tell(vec![join(id, &["blue"])]).await;
        teller.tell(vec![leave(id, &["blue"])]).await;
        for number in last..last + 3 {
            assert_eq!(teller.answer().await, (number, vec![]));
        }
        teller.ask(vec![to_channel("blue", 0), to_channel("red", round + 1)]).await;
        assert_eq!(echo(&mut raw).await, round + 1);
        assert_eq!(teller.servers_of("red").await.len(), 1, "members and no route");
    }
}

#[tokio::test]
async fn a_join_waits_for_its_route_and_nothing_else_does() {
    let redis = RedisServer::start().await;
    let mut config = ClusterConfig::new([redis.address()], NONE);
    // The request does not time out during this test.
    config.request_timeout = PATIENCE * 2;
    let routes = RedisRoutes::connect(&config).await.unwrap();
    let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let mut config = server_config("s");
    config.lease = PATIENCE * 2;
    let server = Server::start(config, cluster.clone()).await.unwrap();
    let mut teller = Teller::new(&cluster, server.id()).await;
    let (mut raw, id) = log_in(&server, "a").await;
    redis.stop();
    let joins = teller.tell(vec![join(id, &["red"])]).await;
    for number in 0..100 {
        assert_eq!(teller.ask(vec![to_channel("red", 999), to(id, pong(number))]).await, NO_RECORD);
        assert_eq!(echo(&mut raw).await, number, "nobody has joined, and nothing else waits");
    }
    redis.resume();
    assert_eq!(teller.answer().await, (joins, vec![]));
    assert_eq!(teller.servers_of("red").await, [server.id().clone()]);
    teller.ask(vec![to_channel("red", 1)]).await;
    assert_eq!(echo(&mut raw).await, 1);
}

#[tokio::test]
async fn a_join_whose_route_is_not_written_is_missed() {
    let redis = RedisServer::start().await;
    let mut config = ClusterConfig::new([redis.address()], NONE);
    config.request_timeout = Duration::from_millis(200);
    let routes = RedisRoutes::connect(&config).await.unwrap();
    let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let mut config = server_config("s");
    config.lease = PATIENCE * 2;
    let server = Server::start(config, cluster.clone()).await.unwrap();
    let mut teller = Teller::new(&cluster, server.id()).await;
    let (mut raw, id) = log_in(&server, "a").await;
    assert_eq!(teller.ask(vec![join(id, &["known"])]).await, NO_RECORD);
    redis.stop();
    assert_eq!(teller.ask(vec![join(id, &["red", "blue"]), join(id, &["known"])]).await, [0]);
    teller.ask(vec![to_channel("red", 1), to_channel("known", 2)]).await;
    assert_eq!(echo(&mut raw).await, 2);
    redis.resume();
    wait_until("it joins", PATIENCE, async || teller.ask(vec![join(id, &["red"])]).await.is_empty()).await;
    assert_eq!(teller.servers_of("red").await, [server.id().clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_keeps_nobody_out_of_other_channels() {
    let mut redis = RedisCluster::start().await;
    let mut config = ClusterConfig::new(redis.addresses(), NONE);
    config.request_timeout = Duration::from_millis(300);
    let routes = RedisRoutes::connect(&config).await.unwrap();
    let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(MemoryLog::default()));
    let mut config = server_config("s");
    config.lease = PATIENCE * 2;
    let server = Server::start(config, cluster.clone()).await.unwrap();
    let mut teller = Teller::new(&cluster, server.id()).await;
    let (_raw, id) = log_in(&server, "a").await;
    redis.nodes()[0].stop();
    let names: Vec<String> = (0..30).map(|number| format!("team-{number}")).collect();
    // A single request for all of them would fail.
    let missed = teller.ask(names.iter().map(|name| join(id, &[name])).collect()).await;
    assert!(!missed.is_empty() && missed.len() < names.len(), "{missed:?}");
    redis.nodes()[0].resume();
    wait_until("all have joined", PATIENCE, async || {
        teller.ask(names.iter().map(|name| join(id, &[name])).collect()).await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_work_on_a_redis_cluster() {
    let (redis, nats) = (RedisCluster::start().await, NatsServer::start().await);
    let config = || ClusterConfig::new(redis.addresses(), [nats.address()]);
    let cluster = async || Cluster::connect(config()).await.unwrap();
    let servers = [
        Server::start(server_config("s1"), cluster().await).await.unwrap(),
        Server::start(server_config("s2"), cluster().await).await.unwrap(),
    ];
    let im = Im::connect(config()).await.unwrap();
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    // In all parts of the cluster.
    let names: Vec<String> = (0..30).map(|number| format!("team-{number}")).collect();
    for name in &names {
        im.channel(&**name).add_members(["a", "b"]).await.unwrap();
    }
    let mut members = [log_in(&servers[0], "a").await.0, log_in(&servers[1], "b").await.0];
    for raw in &mut members {
        let mut resets = 0;
        loop {
            match raw.heard().await {
                Heard::Frame(Body::Reset(_)) => resets += 1,
                Heard::Frame(Body::SyncDone(done)) => {
                    assert_eq!((resets, done.ends.len()), (names.len() + 1, names.len() + 1));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for name in &names {
        let receipt = im.send(Message::to(channel(&**name)).text("hi").idempotency_key("k")).await.unwrap();
        assert_eq!(receipt.channel.unwrap().pushed.len(), 2);
        for raw in &mut members {
            let Heard::Frame(Body::Push(push)) = raw.heard().await else { panic!() };
            assert_eq!((push.channel.as_str(), push.seq), (name.as_str(), 1));
        }
    }
    im.channel(&*names[0]).remove_members(["a"]).await.unwrap();
    let heard = members[0].heard().await;
    assert!(matches!(heard, Heard::Frame(Body::Reset(reset)) if reset.reason() == ResetReason::Left));
    assert_eq!(im.channel(&*names[0]).members(None, 10).await.unwrap().len(), 1);
}
