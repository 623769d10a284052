//! Contents of Redis and NATS, and the few permissions that a server needs.

use std::future::ready;

use async_nats::ConnectOptions;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use im_proto::{frame, pb, pb::frame::Body};
use im_sdk::{
    backend::{Im, Incoming, Message, user},
    client::{Client, ClientConfig, CloseCode},
    cluster::ClusterConfig,
};
use im_tests::{
    ImServer, NatsServer, RedisServer, Setup, Stack, TestClient, Via,
    stack::{Certificate, PATIENCE, ServerOptions, token, variables},
    wait_until,
};
use prost::Message as _;
use redis::AsyncCommands;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

async fn redis(stack: &Stack) -> redis::aio::MultiplexedConnection {
    let address = stack.services().unwrap().redis.address();
    redis::Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn listen(nats: &NatsServer, subject: &str) -> async_nats::Subscriber {
    let client = async_nats::connect(nats.address()).await.unwrap();
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    // NATS answers in order: everything published from here on is received.
    client.flush().await.unwrap();
    client.request("$SRV.NOBODY", Bytes::new()).await.unwrap_err();
    subscriber
}

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_route_is_in_redis_while_the_device_is_connected() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let mut redis = redis(&stack).await;
    let bob = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;

    let server = stack.server_id(&stack.servers[0]).await;
    let routes: Vec<(String, String)> = redis.hgetall("im:{u:bob}:routes").await.unwrap();
    let [(device, route)] = routes.as_slice() else { panic!("{routes:?}") };
    assert_eq!(device, "web/tab");
    let (on, connection) = route.split_once(':').unwrap();
    assert_eq!(on, server.as_str());
    assert!(u64::from_str_radix(connection, 16).is_ok(), "{connection}");
    let leases: Vec<String> = redis.zrange("im:{servers}:leases", 0, -1).await.unwrap();
    assert_eq!(leases, [server.to_string()]);

    bob.client().shutdown().await;
    wait_until("the route is gone", PATIENCE, async || {
        !redis.exists::<_, bool>("im:{u:bob}:routes").await.unwrap()
    })
    .await;
}

/// Waits for the next envelope with a number. Skips envelopes to an impossible server, with which a back end probes
/// the bus, and those with which servers probe themselves.
async fn next_to_a_server(all: &mut async_nats::Subscriber) -> (String, pb::Envelope) {
    loop {
        let message = next(all).await;
        let envelope = pb::Envelope::decode(message.payload).unwrap();
        if message.subject.as_str() != "im.srv.nobody" && envelope.number != 0 {
            return (message.subject.to_string(), envelope);
        }
    }
}

#[tokio::test]
async fn one_envelope_goes_to_the_servers_own_subject() {
    let stack = Stack::start(Setup::Clustered, 2).await;
    let nats = &stack.services().unwrap().nats;
    let server = stack.server_id(&stack.servers[0]).await;
    let mut all = listen(nats, "im.srv.>").await;
    let im = stack.backend().await;
    let mut phone = stack.connect("bob", "ios/phone", 0, Via::Quic).await;
    let mut tab = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;

    let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await.unwrap();
    let (subject, envelope) = next_to_a_server(&mut all).await;
    assert_eq!(subject, format!("im.srv.{server}"));
    assert_eq!((envelope.number, envelope.records.len()), (1, 1));
    let record = &envelope.records[0];
    assert_eq!(record.connections.len(), 2, "both devices in one record");
    let Some(pb::record::Effect::Frames(frames)) = &record.effect else { panic!("{record:?}") };
    // The frame is complete: the devices get the same bytes.
    let frame = frame::split(frames.clone(), usize::MAX).next().unwrap().unwrap();
    let Some(Body::Push(push)) = frame::decode(frame).unwrap() else { panic!("a push") };
    assert_eq!(push.message.unwrap().id, receipt.message_id.as_u64());
    assert_eq!((phone.text().await, tab.text().await), ("hi".into(), "hi".into()));

    // No other envelope was sent to a server: the next message belongs to the next send.
    im.send(Message::to(user("bob")).text("again")).await.unwrap();
    let (_, envelope) = next_to_a_server(&mut all).await;
    assert_eq!(envelope.number, 2);
}

#[tokio::test]
async fn a_publish_goes_to_the_back_ends_queue() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let mut up = listen(&stack.services().unwrap().nats, "im.up.publish").await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    let bob = stack.connect("bob", "ios/phone", 0, Via::Quic).await;
    bob.publish("alice", "hi").await.unwrap();

    let message = next(&mut up).await;
    let server = stack.server_id(&stack.servers[0]).await;
    assert_eq!(message.reply.unwrap().as_str(), format!("im.srv.{server}"));
    let upstream = pb::Upstream::decode(message.payload).unwrap();
    assert_eq!((upstream.server.as_str(), upstream.publishes.len()), (server.as_str(), 1));
    let publish = &upstream.publishes[0];
    assert_eq!(publish.user, "bob");
    let inner = pb::Publish::decode(publish.publish.clone()).unwrap();
    assert_eq!((inner.to.as_str(), inner.number), ("alice", publish.number));
}

/// NATS configuration: a server may subscribe to its own subject and publish to `im.up.*` and `im.srv.*`; back ends
/// may do everything.
const LEAST_RIGHTS: &str = r#"
authorization {
  users = [
    { user: backend, password: backend-secret }
    { user: first, password: first-secret, permissions: {
        subscribe: { allow: ["im.srv.first-boot1"] }, publish: { allow: ["im.up.*", "im.srv.*"] } } }
    { user: second, password: second-secret, permissions: {
        subscribe: { allow: ["im.srv.second-boot1"] }, publish: { allow: ["im.up.*", "im.srv.*"] } } }
  ]
}
"#;

async fn restricted_server(
    name: &str,
    redis: &RedisServer,
    nats: &NatsServer,
    certificate: &Certificate,
) -> ImServer {
    let mut variables = variables(&ServerOptions::default(), certificate);
    variables.push(("IM_SERVER_INCARNATION".into(), "boot1".into()));
    let nats = nats.address_for(name, &format!("{name}-secret"));
    ImServer::start(name, &redis.address(), &nats, &variables).await
}

fn device(user: &str, server: &ImServer, certificate: &Certificate) -> TestClient {
    let endpoints = server.endpoints().iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    let mut config =
        ClientConfig::new(endpoints, "web/tab".parse().unwrap(), std::sync::Arc::new(token(user)));
    config.trust = certificate.trust();
    let client = Client::open(config).unwrap();
    client.connect();
    TestClient::new(client)
}

#[tokio::test]
async fn a_server_needs_no_more_than_its_own_subject() {
    let certificate = Certificate::make();
    let redis = RedisServer::start().await;
    let nats = NatsServer::start_with_config(LEAST_RIGHTS).await;
    let first = restricted_server("first", &redis, &nats, &certificate).await;
    let second = restricted_server("second", &redis, &nats, &certificate).await;
    let backend = nats.address_for("backend", "backend-secret");
    let im = Im::connect(ClusterConfig::new([redis.address()], [backend])).await.unwrap();

    // From a back end to a device.
    let mut bob = device("bob", &first, &certificate);
    bob.connected().await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.pushed.len(), 1, "the server's answer came through: {receipt:?}");
    assert_eq!(bob.text().await, "hi");

    // From a device to a back end, even before one serves.
    let mut alice = device("alice", &second, &certificate);
    alice.connected().await;
    let serve_late = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
    };
    let (published, _service) = tokio::join!(bob.publish("alice", "hi alice"), serve_late);
    published.unwrap();
    assert_eq!(alice.text().await, "hi alice");

    // From server to server.
    let mut elsewhere = device("bob", &second, &certificate);
    elsewhere.connected().await;
    assert_eq!(bob.stopped().await.0, Some(CloseCode::Replaced));

    for server in [&first, &second] {
        let log = server.output().to_lowercase();
        assert!(!log.contains("permission"), "{log}");
    }
    // The rights are narrow: the first server's user receives nothing that is for the second one.
    let (sender, mut violations) = unbounded_channel();
    let spy = as_user("first")
        .event_callback(move |event| {
            let _ = sender.send(event.to_string());
            ready(())
        })
        .connect(nats.address())
        .await
        .unwrap();
    let mut forbidden = spy.subscribe("im.srv.second-boot1").await.unwrap();
    violated(&mut violations, "Subscription", "im.srv.second-boot1").await;
    for subject in ["im.acks", "im.archive", "im.up.more.of.it"] {
        spy.publish(subject, Bytes::new()).await.unwrap();
        violated(&mut violations, "Publish", subject).await;
    }
    let backend = as_user("backend").connect(nats.address()).await.unwrap();
    let mut control = backend.subscribe("im.srv.second-boot1").await.unwrap();
    backend.flush().await.unwrap();
    backend.request("$SRV.NOBODY", Bytes::new()).await.unwrap_err();
    im.send(Message::to(user("alice")).text("private")).await.unwrap();
    assert_eq!(alice.text().await, "private");
    next(&mut control).await;
    // This message to the spy comes after everything that it could have overheard.
    let mut allowed = spy.subscribe("im.srv.first-boot1").await.unwrap();
    spy.publish("im.srv.first-boot1", "last".into()).await.unwrap();
    while next(&mut allowed).await.payload != "last" {}
    assert!(forbidden.next().now_or_never().is_none(), "nothing was overheard");
}

fn as_user(name: &str) -> ConnectOptions {
    ConnectOptions::with_user_and_password(name.to_owned(), format!("{name}-secret"))
}

/// Waits until NATS has refused this operation.
async fn violated(said: &mut UnboundedReceiver<String>, what: &str, subject: &str) {
    let violation = format!("Permissions Violation for {what} to \"{subject}\"").to_lowercase();
    let hearing = async { while !said.recv().await.unwrap().to_lowercase().contains(&violation) {} };
    timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("NATS does not say: {violation}"));
}
