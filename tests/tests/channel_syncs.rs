//! The order of a sync: a connection has joined its channels before their logs are read.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use im_proto::{pb, pb::frame::Body, pb::record::Effect};
use im_sdk::{
    backend::{Im, Incoming, Message, Service, channel},
    cluster::{
        Appended, BusEvent, Cluster, Ends, LogBounds, LogError, LogId, LogStore, MemoryBus, MemoryLog,
        MemoryRoutes, NewEntry, Page, Publication, Routes, Subject,
    },
    id::{MessageId, ServerId},
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};
use im_tests::{
    raw::{Heard, Raw},
    stack::{AUDIENCE, ISSUER, KEY_ID, PATIENCE, SECRET},
};
use prost::Message as _;
use tokio::time::timeout;

/// A log that counts the reads of channels, and those while no server has joined.
#[derive(Debug)]
struct Witness {
    log: MemoryLog,
    routes: MemoryRoutes,
    reads: AtomicUsize,
    early: AtomicUsize,
}

impl Witness {
    async fn look(&self, log: &LogId) {
        if let LogId::Channel(channel) = log {
            let is_early = self.routes.channel_servers(channel).await.unwrap().is_empty();
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.early.fetch_add(is_early.into(), Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl LogStore for Witness {
    async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
        self.log.append(log, entry).await
    }

    async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
        self.log.append_many(entries).await
    }

    async fn read(&self, log: &LogId, after: u64, limit: usize) -> Result<Page, LogError> {
        self.look(log).await;
        self.log.read(log, after, limit).await
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: usize) -> Result<Page, LogError> {
        self.look(log).await;
        self.log.read_back(log, before, limit).await
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        self.log.id_at(log, seq).await
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<Ends>, LogError> {
        self.log.ends(logs).await
    }
}

async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap()
}

#[tokio::test]
async fn logs_are_read_after_the_routes_are_there() {
    let routes = MemoryRoutes::new();
    let witness = Arc::new(Witness {
        log: MemoryLog::new(LogBounds::default()),
        routes: routes.clone(),
        reads: AtomicUsize::new(0),
        early: AtomicUsize::new(0),
    });
    let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), witness.clone());
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new("s", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    let server = Server::start(config, cluster.clone()).await.unwrap();
    let im = Im::with_cluster(cluster).await.unwrap();
    let _service = serve(&im).await;
    for number in 0..50 {
        let name = format!("team-{number}");
        im.channel(&*name).add_members(["bob"]).await.unwrap();
        im.send(Message::to(channel(&*name)).text("hi")).await.unwrap();
    }
    let mut bob = Raw::websocket(&format!("ws://{}", server.websocket_addr().unwrap())).await;
    bob.log_in("bob").await;
    while !matches!(bob.heard().await, Heard::Frame(Body::SyncDone(_))) {}
    assert!(witness.reads.load(Ordering::Relaxed) >= 50);
    assert_eq!(witness.early.load(Ordering::Relaxed), 0);
}

/// Nothing may be told to be up to date that would not hear of what comes next.
#[tokio::test]
async fn a_sync_ends_when_the_join_is_not_confirmed() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    // A server that this test plays.
    let server = ServerId::parse("s1").unwrap();
    let names = cluster.names().clone();
    let mut told = cluster.bus().subscribe(names.server(&server)).await.unwrap();
    for connection in 1..=2 {
        let sync = pb::UpstreamSync {
            server: server.to_string(),
            connection,
            user: "bob".into(),
            ..Default::default()
        };
        let payload = sync.encode_to_vec().into();
        let publication = Publication { subject: names.upstream_sync(), return_to: None, payload };
        cluster.bus().publish(publication).await.unwrap();
        let record = loop {
            let event = timeout(PATIENCE, told.next()).await.unwrap();
            let Some(BusEvent::Message(message)) = event else { panic!("{event:?}") };
            let envelope = pb::Envelope::decode(message.payload).unwrap();
            let Some(record) = envelope.records.first().cloned() else { continue };
            let missed = vec![pb::Missed { record: 0, connections: record.connections.clone() }];
            let answer = pb::Delivered { server: server.to_string(), number: envelope.number, missed };
            let subject = Subject::answer(&names, &envelope.answer_to).unwrap();
            let payload = answer.encode_to_vec().into();
            cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
            break record;
        };
        // So the first sync has said nothing else before the second one began.
        assert_eq!(record.connections, [connection]);
        assert!(matches!(record.effect, Some(Effect::Join(_))), "{record:?}");
    }
}
