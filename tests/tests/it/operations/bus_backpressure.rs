//! A server keeps delivering while the bus accepts nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use im_proto::{close::CloseCode, frame, pb, pb::frame::Body};
use im_sdk::{
    cluster::{
        Bus, BusError, Cluster, MemoryBus, MemoryLog, MemoryRoutes, Names, Publication, QueueGroup,
        Routes as _, Subject, Subscription,
    },
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig, StartError, TlsConfig};
use im_tests::{
    raw::{Heard, Raw},
    stack::{AUDIENCE, Certificate, ISSUER, KEY_ID, PATIENCE, SECRET, token},
    wait_until,
};
use prost::Message as _;
use tokio::time::timeout;

/// A bus that, once stuck, still delivers subscriptions and never completes a publish.
#[derive(Debug)]
struct StuckBus(MemoryBus, Arc<AtomicBool>);

#[im_sdk::async_trait]
impl Bus for StuckBus {
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError> {
        self.0.subscribe(subject).await
    }

    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError> {
        self.0.queue_subscribe(subject, group).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), BusError> {
        if self.1.load(Ordering::Relaxed) {
            std::future::pending().await
        } else {
            self.0.publish(publication).await
        }
    }

    async fn flush(&self) -> Result<(), BusError> {
        std::future::pending().await
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

#[tokio::test]
async fn deliveries_go_on_while_answers_wait() {
    let bus = MemoryBus::new();
    let (routes, log) = (Arc::new(MemoryRoutes::new()), Arc::new(MemoryLog::default()));
    let stuck = Arc::new(AtomicBool::new(false));
    let cluster = Cluster::new(routes, Arc::new(StuckBus(bus.clone(), Arc::clone(&stuck))), log);
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new("s1", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    let server = Server::start(config, cluster.clone()).await.unwrap();
    stuck.store(true, Ordering::Relaxed);
    let mut bob = Raw::websocket(&server.endpoints()[0]).await;
    let connection = bob.log_in("bob").await.connection;

    for number in 1..=3 {
        let frames = frame::encode(Body::Push(pb::Push { seq: number, ..pb::Push::default() }));
        let record = pb::Record {
            connections: vec![connection],
            effect: Some(pb::record::Effect::Frames(frames)),
            ..pb::Record::default()
        };
        let envelope = pb::Envelope {
            publisher: "b1".into(),
            number,
            answer_to: cluster.names().answers("b1").to_string(),
            records: vec![record],
            goodbye: false,
        };
        let subject = cluster.names().server(server.id());
        let payload = envelope.encode_to_vec().into();
        bus.publish(Publication { subject, return_to: None, payload }).await.unwrap();
        match bob.heard().await {
            Heard::Frame(Body::Push(push)) => assert_eq!(push.seq, number),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hears_nothing_does_not_start() {
    let stuck = StuckBus(MemoryBus::new(), Arc::new(AtomicBool::new(true)));
    let (routes, log) = (Arc::new(MemoryRoutes::new()), Arc::new(MemoryLog::default()));
    let cluster = Cluster::new(routes, Arc::new(stuck), log);
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new("s1", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    let error = Server::start(config, cluster).await.unwrap_err();
    assert!(matches!(error, StartError::Deaf(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_half_way_in_is_told_that_the_server_stops() {
    let certificate = Certificate::make();
    let stuck = Arc::new(AtomicBool::new(false));
    let bus = StuckBus(MemoryBus::new(), Arc::clone(&stuck));
    let routes = Arc::new(MemoryRoutes::new());
    let cluster = Cluster::new(routes.clone(), Arc::new(bus), Arc::new(MemoryLog::default()));
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new("s1", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.quic = Some(([127, 0, 0, 1], 0).into());
    config.tls =
        TlsConfig::Files { certificate: certificate.certificate.clone(), key: certificate.key.clone() };
    let server = Server::start(config, cluster).await.unwrap();
    let endpoint = server.endpoints()[0].clone();
    let mut first = Raw::quic(&endpoint, &certificate).await.unwrap();
    let first_number = first.log_in("bob").await.connection;
    stuck.store(true, Ordering::Relaxed);
    // It displaces the other connection, and waits for the bus to report that.
    let mut second = Raw::quic(&endpoint, &certificate).await.unwrap();
    second.hello(token("bob")).await;
    let bob = ["bob".parse().unwrap()];
    wait_until("it has the route", PATIENCE, async || {
        let found = routes.locate(&bob).await.unwrap();
        found[0].first().is_some_and(|(_, route)| route.connection.0 != first_number)
    })
    .await;
    timeout(PATIENCE, server.shutdown_until(std::future::ready(()))).await.unwrap();
    for raw in [&mut first, &mut second] {
        assert_eq!(raw.closed().await, CloseCode::GoingAway);
    }
}
