//! A single server without Redis or NATS: its devices move to other servers, and it recovers by itself.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_proto::{frame, pb, pb::frame::Body};
use im_sdk::{
    backend::{Im, Incoming, Message, Service, user},
    client::{Client, ClientConfig, CloseCode},
    cluster::{BusEvent, Cluster, ClusterConfig, Publication, Subscription},
    id::UserId,
};
use im_server::{Server, ServerConfig, dev};
use im_tests::{
    NatsServer, RedisServer, TcpProxy, TestClient,
    raw::{Heard, Raw, hello},
    stack::PATIENCE,
    wait_until,
};
use prost::Message as _;
use tokio::time::timeout;

/// Short, so that the tests are.
const LEASE: Duration = Duration::from_secs(2);

fn server_config(name: &str) -> ServerConfig {
    let mut config = dev::config().unwrap();
    config.name = name.to_owned();
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config.quic = None;
    config.lease = LEASE;
    config
}

/// Logs in. A server that is restarting does not answer, or closes the connection.
async fn try_to_log_in(server: &Server, user: &str) -> Result<Raw, CloseCode> {
    let Ok((socket, _)) = tokio_tungstenite::connect_async(&server.endpoints()[0]).await else {
        return Err(CloseCode::Unknown(0));
    };
    let mut raw = Raw::WebSocket { socket: Box::new(socket), frames: frame::split(Bytes::new(), 0) };
    raw.send_frame(hello(dev::token(&UserId::parse(user).unwrap()).unwrap())).await;
    match raw.heard().await {
        Heard::Frame(Body::Welcome(_)) => Ok(raw),
        Heard::Closed(code) => Err(code),
        other => panic!("{other:?}"),
    }
}

async fn log_in(server: &Server, user: &str) -> Raw {
    try_to_log_in(server, user).await.unwrap()
}

/// Waits until the device is asked to leave, or disconnected.
async fn is_sent_away(raw: &mut Raw, within: Duration) {
    let gone = async {
        while !matches!(
            raw.heard().await,
            Heard::Frame(Body::GoAway(_)) | Heard::Closed(CloseCode::GoingAway)
        ) {}
    };
    timeout(within, gone).await.expect("the server lets its device go");
}

/// Waits until the device receives this text.
async fn hears(raw: &mut Raw, words: &str) {
    let heard = async {
        loop {
            if let Heard::Frame(Body::Push(push)) = raw.heard().await
                && format!("{push:?}").contains(words)
            {
                return;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the message comes");
}

async fn serve(im: &Im) -> Service {
    im.serve(async |incoming: Incoming| Ok(incoming.accept())).await.unwrap()
}

/// Two servers. The first reaches Redis and NATS through links that can break.
struct Two {
    to_redis: TcpProxy,
    to_nats: TcpProxy,
    alone: Server,
    other: Server,
    im: Im,
    _service: Service,
    _processes: (RedisServer, NatsServer),
}

impl Two {
    async fn start() -> Self {
        let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
        let (to_redis, to_nats) =
            (TcpProxy::before(&redis.address()).await, TcpProxy::before(&nats.address()).await);
        let mut apart = ClusterConfig::new([to_redis.url()], [to_nats.url()]);
        apart.request_timeout = Duration::from_millis(500);
        let apart = Cluster::connect(apart).await.unwrap();
        let cluster =
            Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
        let mut config = server_config("alone");
        config.drain_grace = Duration::from_secs(2);
        let alone = Server::start(config, apart).await.unwrap();
        let other = Server::start(server_config("other"), cluster.clone()).await.unwrap();
        let im = Im::with_cluster(cluster).await.unwrap();
        let _service = serve(&im).await;
        Self { to_redis, to_nats, alone, other, im, _service, _processes: (redis, nats) }
    }

    /// Asserts that the device moves to the other server and is reached there.
    async fn is_reached_elsewhere(&self) {
        let mut bob = log_in(&self.other, "bob").await;
        self.im.send(Message::to(user("bob")).text("over here")).await.unwrap();
        hears(&mut bob, "over here").await;
    }

    /// Asserts that the isolated server accepts devices again and reaches them.
    async fn comes_back(&self) {
        wait_until("the server is back", PATIENCE * 2, async || {
            try_to_log_in(&self.alone, "carol").await.is_ok()
        })
        .await;
        let mut carol = log_in(&self.alone, "carol").await;
        self.im.send(Message::to(user("carol")).text("back again")).await.unwrap();
        hears(&mut carol, "back again").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_alone_lost_redis_lets_its_devices_go() {
    let two = Two::start().await;
    let mut bob = log_in(&two.alone, "bob").await;
    two.to_redis.hold();
    is_sent_away(&mut bob, PATIENCE).await;
    two.is_reached_elsewhere().await;
    assert!(try_to_log_in(&two.alone, "dave").await.is_err(), "nobody is let in there");
    two.to_redis.drop_connections();
    two.to_redis.repair();
    two.comes_back().await;
}

/// Tests that a server alone on NATS waits before it acts, since servers do not reconnect at the same moment after
/// an outage of NATS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_alone_lost_nats_lets_its_devices_go() {
    let two = Two::start().await;
    let mut bob = log_in(&two.alone, "bob").await;
    let is_told = |server: &Server| {
        let endpoint = server.endpoints()[0].clone();
        two.im.endpoints().iter().any(|told| told.addresses.contains(&endpoint))
    };
    wait_until("devices are told both", PATIENCE, async || is_told(&two.alone) && is_told(&two.other)).await;
    // The server loses what it would receive.
    two.to_nats.hold_down();
    wait_until("devices are told the other alone", PATIENCE, async || {
        !is_told(&two.alone) && is_told(&two.other)
    })
    .await;
    is_sent_away(&mut bob, PATIENCE * 2).await;
    two.is_reached_elsewhere().await;
    two.to_nats.drop_connections();
    two.to_nats.repair();
    two.comes_back().await;
}

/// Answers the requests of servers on this subscription, one after the other.
async fn answer(cluster: &Cluster, questions: &mut Subscription, reachable: bool) {
    let event = timeout(PATIENCE, questions.next()).await.expect("the server asks");
    let Some(BusEvent::Message(message)) = event else { panic!("{event:?}") };
    let question = pb::UpstreamStoreCheck::decode(message.payload).unwrap();
    let report = pb::StoreReport { number: question.number, reachable, leased: false };
    let effect = Some(pb::record::Effect::StoreReport(report));
    let record = pb::Record { effect, ..pb::Record::default() };
    let envelope =
        pb::Envelope { publisher: "test".into(), records: vec![record], ..pb::Envelope::default() };
    let subject = cluster.names().server(&question.server.parse().unwrap());
    let payload = envelope.encode_to_vec().into();
    cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_reaches_redis_devices_stay() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let mut config = ClusterConfig::new([redis.address()], [nats.address()]);
    config.request_timeout = Duration::from_millis(500);
    let cluster = Cluster::connect(config).await.unwrap();
    let server = Server::start(server_config("s1"), cluster.clone()).await.unwrap();
    let names = cluster.names();
    let mut questions =
        cluster.bus().queue_subscribe(names.upstream_store(), names.backends()).await.unwrap();
    let mut bob = log_in(&server, "bob").await;
    redis.stop();
    for _ in 0..5 {
        answer(&cluster, &mut questions, false).await;
    }
    // The device is still served, and has received nothing else.
    bob.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    while !matches!(bob.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 7 }))) {}
    assert_eq!(server.connections(), 1);
    // Once others are better off, the device is sent away.
    answer(&cluster, &mut questions, true).await;
    is_sent_away(&mut bob, PATIENCE).await;
    redis.resume();
    wait_until("the server is back", PATIENCE * 2, async || try_to_log_in(&server, "bob").await.is_ok())
        .await;
}

/// Opens a device that connects to a server, and again after each loss.
fn open(server: &Server, user: &str) -> TestClient {
    let endpoints = server.endpoints().iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    let token = dev::token(&UserId::parse(user).unwrap()).unwrap();
    let client =
        Client::open(ClientConfig::new(endpoints, "ios/phone".parse().unwrap(), Arc::new(token))).unwrap();
    client.connect();
    TestClient::new(client)
}

/// The pause of the report: 15 s, with the default lease, in an application that only starts a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_server_goes_on_after_a_pause_of_redis() {
    const WITHIN: Duration = Duration::from_secs(60);
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let cluster = Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let mut config = server_config("s1");
    config.lease = dev::config().unwrap().lease;
    assert!(config.lease < Duration::from_secs(15));
    let server = Server::start(config, cluster.clone()).await.unwrap();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let _service = serve(&im).await;
    let first = server.id().clone();
    let mut bob = open(&server, "bob");
    bob.up_to_date().await;
    let mut connection = redis.connection().await;
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(15_000).arg("ALL").exec_async(&mut connection).await.unwrap();
    // Redis answers nobody until the pause is over.
    let awake = async || redis::cmd("PING").exec_async(&mut connection.clone()).await;
    timeout(WITHIN, async { while awake().await.is_err() {} }).await.expect("Redis answers again");
    let send = async || im.send(Message::to(user("bob")).text("after the pause")).await.is_ok();
    wait_until("a message is sent", WITHIN, send).await;
    let online =
        async || im.online(&[UserId::parse("bob").unwrap()]).await.is_ok_and(|online| online.len() == 1);
    wait_until("the device is back", WITHIN, online).await;
    assert_eq!(bob.text().await, "after the pause");
    let live = cluster.routes().live_servers().await.unwrap();
    assert!(live.iter().all(|server| server.id != first), "its lease was over: {live:?}");
    assert_eq!((server.connections(), im.endpoints().len()), (1, 1));
    let mut late = open(&server, "dave");
    late.up_to_date().await;
    im.send(Message::to(user("dave")).text("welcome")).await.unwrap();
    assert_eq!(late.text().await, "welcome");
    server.shutdown().await;
}

/// Tests an application that only starts a server, as the guide shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_server_goes_on_by_itself() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let cluster = Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let server = Server::start(server_config("s1"), cluster.clone()).await.unwrap();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let _service = serve(&im).await;
    let mut bob = log_in(&server, "bob").await;
    let first = server.id().clone();
    let lives =
        async || cluster.routes().live_servers().await.is_ok_and(|live| live.iter().any(|of| of.id == first));
    // As after a pause of Redis or of the process that was longer than the lease.
    cluster.routes().end_server_lease(&first).await.unwrap();
    is_sent_away(&mut bob, PATIENCE).await;
    assert!(!lives().await);
    wait_until("it takes devices again", PATIENCE, async || try_to_log_in(&server, "bob").await.is_ok())
        .await;
    let mut bob = log_in(&server, "bob").await;
    im.send(Message::to(user("bob")).text("after the pause")).await.unwrap();
    hears(&mut bob, "after the pause").await;
    assert_eq!(server.connections(), 1);
    server.shutdown().await;
    assert_eq!(cluster.routes().live_servers().await.unwrap(), []);
}
