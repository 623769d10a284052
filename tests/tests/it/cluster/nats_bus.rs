//! `NatsBus` on a NATS that fails or restricts it.

use std::time::{Duration, Instant};

use im_sdk::{
    cluster::{
        Bus, BusError, BusEvent, ClusterConfig, ConnectError, Disruption, NatsBus, Publication, Subject,
        Subscription,
    },
    id::ServerId,
};
use im_tests::{LogCapture, NatsServer, wait_until};

const NONE: [&str; 0] = [];
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(address: String) -> Result<NatsBus, ConnectError> {
    let mut config = ClusterConfig::new(NONE, [address]);
    config.connect_timeout = Duration::from_millis(500);
    NatsBus::connect(&config).await
}

fn edge(bus: &NatsBus) -> Subject {
    bus.names().server(&ServerId::parse("edge-1").unwrap())
}

async fn publish(bus: &NatsBus, subject: Subject, return_to: Option<Subject>, payload: &'static [u8]) {
    bus.publish(Publication { subject, return_to, payload: payload.into() }).await.unwrap();
}

async fn next(subscription: &mut Subscription) -> BusEvent {
    tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap().unwrap()
}

async fn expect_message(subscription: &mut Subscription, payload: &[u8]) {
    match next(subscription).await {
        BusEvent::Message(message) if message.payload == payload => {}
        other => panic!("expected {payload:?}, got {other:?}"),
    }
}

#[tokio::test]
async fn every_reconnection_is_reported_to_every_subscription() {
    let mut nats = NatsServer::start().await;
    let bus = connect(nats.address()).await.unwrap();
    let mut one = bus.subscribe(edge(&bus)).await.unwrap();
    let mut other =
        bus.queue_subscribe(bus.names().upstream_publish(), bus.names().backends()).await.unwrap();
    for _ in 0..2 {
        publish(&bus, edge(&bus), None, b"before").await;
        expect_message(&mut one, b"before").await;
        nats.restart().await;
        for subscription in [&mut one, &mut other] {
            let event = next(subscription).await;
            assert!(matches!(event, BusEvent::Disrupted(Disruption::Reconnected)), "{event:?}");
        }
    }
    publish(&bus, edge(&bus), None, b"after").await;
    expect_message(&mut one, b"after").await;
}

/// Permissions of an edge server: subscribe to one subject, publish to back ends and servers.
const STRICT: &str = r#"
authorization {
  users = [{
    user: edge, password: "p@ss:word"
    permissions: { subscribe: ["im.srv.edge-1"], publish: ["im.up.*", "im.srv.*"] }
  }]
}
"#;

#[tokio::test]
async fn an_edge_server_needs_few_rights() {
    let nats = NatsServer::start_with_config(STRICT).await;
    let bus = connect(nats.address_for("edge", "p%40ss%3Aword")).await.unwrap();
    let mut own = bus.subscribe(edge(&bus)).await.unwrap();
    publish(&bus, bus.names().upstream_publish(), Some(edge(&bus)), b"nobody is there").await;
    let event = next(&mut own).await;
    assert!(matches!(&event, BusEvent::Undelivered(subject) if *subject == edge(&bus)), "{event:?}");
    publish(&bus, edge(&bus), None, b"to itself").await;
    expect_message(&mut own, b"to itself").await;
    bus.flush().await.unwrap();
    assert!(!nats.output().to_lowercase().contains("violation"), "{}", nats.output());
}

#[tokio::test]
async fn what_is_not_allowed_is_logged() {
    let log = LogCapture::start();
    let nats = NatsServer::start_with_config(STRICT).await;
    let bus = connect(nats.address_for("edge", "p%40ss%3Aword")).await.unwrap();
    let _deaf = bus.subscribe(bus.names().upstream_publish()).await.unwrap();
    wait_until("a warning", PATIENCE, async || {
        let log = log.text();
        log.contains("WARN") && log.contains("Permissions Violation for Subscription to \"im.up.publish\"")
    })
    .await;
}

#[tokio::test]
async fn the_servers_payload_limit_counts() {
    const LIMIT: usize = 1024 * 1024;
    let nats = NatsServer::start_with_config("max_payload: 1048576").await;
    let bus = connect(nats.address()).await.unwrap();
    let mut subscription = bus.subscribe(edge(&bus)).await.unwrap();
    let payload = vec![0; LIMIT + 1].into();
    let refused = bus.publish(Publication { subject: edge(&bus), return_to: None, payload }).await;
    assert!(matches!(refused, Err(BusError::TooLarge { limit: LIMIT, .. })), "{refused:?}");
    static LARGEST: [u8; LIMIT] = [7; LIMIT];
    publish(&bus, edge(&bus), None, &LARGEST).await;
    expect_message(&mut subscription, &LARGEST).await;
}

#[tokio::test]
async fn the_first_connection_fails_with_a_reason() {
    let mut nats = NatsServer::start_with_config(STRICT).await;
    let address = nats.address_for("edge", "secret");
    let disturbances: [fn(&mut NatsServer); 3] = [|_| {}, |nats| nats.stop(), |nats| nats.kill()];
    for disturb in disturbances {
        disturb(&mut nats);
        let start = Instant::now();
        let text = connect(address.clone()).await.unwrap_err().to_string();
        assert!(text.contains("NATS at 127.0.0.1:") && !text.contains("secret"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(2), "{text} after {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_named() {
    let mut config = ClusterConfig::new(NONE, NONE);
    let error = NatsBus::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress { service: "NATS" }), "{error}");
    for wrong in ["tls://127.0.0.1:1", "wss://127.0.0.1:1", "redis://127.0.0.1:1"] {
        let error = connect(wrong.to_owned()).await.unwrap_err();
        assert!(matches!(error, ConnectError::InvalidAddress { service: "NATS", .. }), "{error}");
    }
    config.prefix = "a.b".into();
    let error = NatsBus::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidPrefix { .. }), "{error}");
}

#[tokio::test]
async fn a_nats_that_takes_small_messages_alone_is_refused_with_the_number_to_set() {
    let nats = NatsServer::start_with_config("max_payload: 512KB").await;
    let error = connect(nats.address()).await.unwrap_err();
    assert!(matches!(error, ConnectError::SmallMessages { max_payload: 524_288, .. }), "{error:?}");
    assert!(error.to_string().contains("max_payload: 1048576"), "{error}");
    let nats = NatsServer::start_with_config("max_payload: 1048576").await;
    assert!(connect(nats.address()).await.is_ok());
}
