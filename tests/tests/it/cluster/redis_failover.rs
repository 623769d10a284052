//! Redis failover: control data outlives the logs, and clients leave a Redis that is no longer a master.

use std::{sync::Arc, time::Duration};

use im_proto::pb::ServerInfo;
use im_sdk::{
    Conversation, HistoryRange,
    backend::{Acceptance, Handler, Im, Incoming, Message, Refusal, SendError, Service, user},
    client::{Client, ClientConfig, Event},
    cluster::{Cluster, ClusterConfig},
    content::Content,
    id::{ServerId, UserId},
};
use im_server::dev;
use im_tests::{EmbeddedServer, NatsServer, RedisServer, TcpProxy, TestClient, stack::PATIENCE, wait_until};
use tokio::time::{Instant, timeout};

/// Time limit for requests to work again once an address leads to a master: twice `request_timeout`, which is 2 s, and
/// a second, and one more for a busy machine.
const BOUND: Duration = Duration::from_secs(2 * 2 + 1 + 1);

/// Lease of the servers.
const LEASE: Duration = Duration::from_secs(4);

/// Time after which a lease that is not renewed has expired.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(6);

/// Accepts everything.
struct Accept;

impl Handler for Accept {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }
}

/// A back end and a server.
struct Deployment {
    im: Im,
    _service: Service,
    server: EmbeddedServer,
}

impl Deployment {
    /// Starts both, each on connections of its own, like two processes.
    async fn start(config: &ClusterConfig) -> Self {
        let im = Im::connect(config.clone()).await.unwrap();
        let service = im.serve(Accept).await.unwrap();
        let mut server = dev::config().unwrap();
        server.websocket = Some(([127, 0, 0, 1], 0).into());
        server.quic = None;
        server.lease = LEASE;
        let cluster = Cluster::connect_server(config.clone()).await.unwrap();
        Self { im, _service: service, server: EmbeddedServer::start(server, cluster).await }
    }

    async fn connect(&self, name: &str) -> TestClient {
        let token = dev::token(&UserId::parse(name).unwrap()).unwrap();
        let endpoints = self.server.endpoints().iter().map(|endpoint| endpoint.parse().unwrap()).collect();
        let config = ClientConfig::new(endpoints, format!("web/{name}").parse().unwrap(), Arc::new(token));
        let mut client = TestClient::new(Client::open(config).unwrap());
        client.client().connect();
        client.connected().await;
        client
    }

    async fn send(&self, to: &str, text: &str) -> Result<(), SendError> {
        self.im.send(Message::to(user(to)).text(text)).await.map(drop)
    }

    async fn is_online(&self, name: &str) -> bool {
        self.im.online(&[UserId::parse(name).unwrap()]).await.unwrap().len() == 1
    }

    /// Returns the time until a send succeeds.
    async fn sends_again(&self) -> Duration {
        let since = Instant::now();
        wait_until("a send is Ok again", PATIENCE, async || self.send("bob", "again").await.is_ok()).await;
        since.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_costs_sends_and_nothing_else() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let config = ClusterConfig::new([redis.address()], [nats.address()]);
    let deployment = Deployment::start(&config).await;
    let mut bob = deployment.connect("bob").await;
    deployment.send("bob", "before").await.unwrap();
    assert_eq!(bob.text().await, "before");
    redis.fill(true).await;
    let refused = deployment.send("bob", "lost").await.unwrap_err().to_string();
    assert!(refused.contains("full"), "{refused}");

    // Devices connect and read, and another server and back end start.
    let mut carol = deployment.connect("carol").await;
    carol.up_to_date().await;
    let inbox = bob.client().history(Conversation::Inbox, HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(inbox.messages.len(), 1);
    deployment.im.channel("team").add_members(["bob"]).await.unwrap();
    let other = Deployment::start(&config).await;
    // A server that had lost its lease also starts: a new lease begins while the memory is full.
    let routes = other.im.cluster().routes();
    let (late, lease) = (ServerId::parse("late-1").unwrap(), Duration::from_secs(10));
    assert!(routes.lease_server(&late, &ServerInfo::default(), lease, true).await.unwrap());
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    assert!(deployment.is_online("bob").await);

    redis.fill(false).await;
    deployment.sends_again().await;
    assert_eq!(bob.text().await, "again", "the connection that was there all the time");
    assert_eq!(history_of(&deployment, "bob").await, ["before", "again"]);
}

async fn history_of(deployment: &Deployment, name: &str) -> Vec<String> {
    let owner = UserId::parse(name).unwrap();
    let page = deployment.im.history(&owner, &Conversation::Inbox, HistoryRange::Newest, 10).await.unwrap();
    let mut texts: Vec<String> =
        page.messages.iter().filter_map(|entry| entry.content.as_text()).map(str::to_owned).collect();
    texts.dedup();
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_refused_before_redis_refuses_everybody() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let mut config = ClusterConfig::new([redis.address()], [nats.address()]);
    config.watermark_percent = 1;
    let deployment = Deployment::start(&config).await;
    let bob = deployment.connect("bob").await;
    let mut connection = redis.connection().await;
    let set = async |connection: &mut redis::aio::MultiplexedConnection, limit: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(limit);
        command.query_async::<()>(connection).await.unwrap();
    };
    // An empty Redis takes some megabytes: more than a hundredth of this limit, and far less than all of it.
    set(&mut connection, "64mb").await;
    wait_until("it is known to be nearly full", PATIENCE, async || deployment.im.cluster().is_nearly_full())
        .await;
    deployment.send("bob", "from the back end").await.unwrap();
    let content = Content::text("from a device");
    let refused = timeout(
        Duration::from_secs(3),
        bob.client().send(UserId::parse("carol").unwrap(), content).outcome(),
    );
    assert!(refused.await.is_err(), "it is tried again, later");
    set(&mut connection, "0").await;
    wait_until("there is room", PATIENCE * 2, async || bob.publish("carol", "hi").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_redis_of_its_own_control_goes_on_without_the_logs() {
    let (mut logs, control, nats) =
        (RedisServer::start().await, RedisServer::start().await, NatsServer::start().await);
    let mut config = ClusterConfig::new([logs.address()], [nats.address()]);
    config.routes_redis = vec![control.address()];
    let deployment = Deployment::start(&config).await;
    let mut bob = deployment.connect("bob").await;
    deployment.send("bob", "before").await.unwrap();
    assert_eq!(bob.text().await, "before");
    let stored = async |redis: &RedisServer, pattern: &str| -> Vec<String> {
        redis::cmd("KEYS").arg(pattern).query_async(&mut redis.connection().await).await.unwrap()
    };
    assert!(stored(&control, "im:{u:*").await.iter().all(|key| key.ends_with(":routes")));
    assert!(stored(&logs, "*:routes").await.is_empty() && stored(&logs, "im:{nodes}:*").await.is_empty());

    logs.kill();
    assert!(deployment.send("bob", "lost").await.is_err());
    let _carol = deployment.connect("carol").await;
    let server = Cluster::connect_server(config.clone()).await.unwrap();
    assert!(server.routes().incarnation().await.is_ok(), "a server starts while the logs are away");
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    assert!(deployment.is_online("bob").await);
    let before = server.routes().incarnation().await.unwrap();
    logs.restart().await;
    let took = deployment.sends_again().await;
    assert!(took < BOUND, "{took:?}");
    assert_eq!(bob.text().await, "again");
    assert_ne!(server.routes().incarnation().await.unwrap(), before, "logs may have been lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_became_a_replica_is_left() {
    let (old, nats) = (RedisServer::start().await, NatsServer::start().await);
    let new = old.start_replica().await;
    let address = TcpProxy::before(&old.address()).await;
    let deployment = Deployment::start(&ClusterConfig::new([address.url()], [nats.address()])).await;
    let mut bob = deployment.connect("bob").await;
    deployment.send("bob", "before").await.unwrap();
    assert_eq!(bob.text().await, "before");
    // Like a virtual address that moves: existing connections stay on the old server.
    old.hand_over_to(&new).await;
    address.lead_to(&new.address());
    let took = deployment.sends_again().await;
    assert!(took < BOUND, "{took:?}");
    assert_eq!(bob.text().await, "again", "the device was not disconnected");
    // The server has switched, too: a device can connect, and the lease is renewed.
    deployment.connect("carol").await;
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    assert!(deployment.is_online("bob").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_addresses_the_masters_is_used() {
    let (old, nats) = (RedisServer::start().await, NatsServer::start().await);
    let new = old.start_replica().await;
    // The replica comes first: it is not mistaken for the master at the start either.
    let config = ClusterConfig::new([new.address(), old.address()], [nats.address()]);
    let deployment = Deployment::start(&config).await;
    deployment.send("bob", "before").await.unwrap();
    old.hand_over_to(&new).await;
    let took = deployment.sends_again().await;
    assert!(took < BOUND, "{took:?}");
    let alone = Im::connect(ClusterConfig::new([old.address()], [nats.address()])).await;
    let refused = alone.unwrap_err().to_string();
    assert!(refused.contains("it is a replica"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_swallows_everything_is_left_for_the_next() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    for direction in [TcpProxy::hold, TcpProxy::hold_up, TcpProxy::hold_down] {
        let (first, second) =
            (TcpProxy::before(&redis.address()).await, TcpProxy::before(&redis.address()).await);
        let config = ClusterConfig::new([first.url(), second.url()], [nats.address()]);
        let deployment = Deployment::start(&config).await;
        deployment.send("bob", "before").await.unwrap();
        direction(&first);
        let took = deployment.sends_again().await;
        assert!(took < BOUND, "{took:?}");
        assert!(second.connections() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_to_nats_is_noticed() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let deployment = Deployment::start(&ClusterConfig::new([redis.address()], [nats.address()])).await;
    let mut bob = deployment.connect("bob").await;
    for direction in [TcpProxy::hold, TcpProxy::hold_up, TcpProxy::hold_down] {
        let (first, second) =
            (TcpProxy::before(&nats.address()).await, TcpProxy::before(&nats.address()).await);
        let config = ClusterConfig::new([redis.address()], [first.url(), second.url()]);
        let im = Im::connect(config).await.unwrap();
        im.send(Message::to(user("bob")).text("before")).await.unwrap();
        bob.next("before", |event| is_text(event, "before")).await;
        // The client chooses one of the two at random.
        let held = if first.connections() > 0 { &first } else { &second };
        direction(held);
        let since = Instant::now();
        wait_until("a send reaches the device", PATIENCE * 2, async || {
            let receipt = im.send(Message::to(user("bob")).text("again")).await;
            receipt.is_ok_and(|receipt| !receipt.pushed.is_empty())
        })
        .await;
        // 10 s until the failure is noticed, 2.5 s for an address where nothing answers, and the time of the last
        // send.
        assert!(since.elapsed() < Duration::from_secs(25), "{:?}", since.elapsed());
        im.shutdown().await;
    }
}

fn is_text(event: &Event, text: &str) -> Option<()> {
    matches!(event, Event::Message(message) if message.content.as_text() == Some(text)).then_some(())
}
