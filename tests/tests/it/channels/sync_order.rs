//! Order of a sync: a connection joins its channels before their logs are read, and users removed meanwhile have left
//! at the end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use im_proto::{pb, pb::ResetReason, pb::frame::Body, pb::record::Effect};
use im_sdk::{
    async_trait,
    backend::{Im, Message, channel},
    cluster::{
        AckQuery, AckStore, Appended, BusEvent, Cluster, DeviceAck, LogBounds, LogEnds, LogError, LogId,
        LogStore, MemberStore, MembersError, MemoryBus, MemoryLog, MemoryRoutes, NewEntry, Page, Publication,
        ReadLimit, Routes, Subject,
    },
    id::{ChannelId, Device, MessageId, ServerId, UserId},
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};
use im_tests::{
    Setup, Stack, Via,
    channels::serve,
    raw::{Heard, Raw},
    stack::{AUDIENCE, ISSUER, KEY_ID, PATIENCE, SECRET},
};
use prost::Message as _;
use tokio::time::timeout;

/// A log that counts the reads of channels, and the reads before any server has joined.
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
impl AckStore for Witness {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        self.log.note_acks(acks).await
    }

    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        self.log.acked(questions).await
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        self.log.lower_ack(ack).await
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

    async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
        self.look(log).await;
        self.log.read(log, after, limit).await
    }

    async fn read_back(&self, log: &LogId, before: Option<u64>, limit: ReadLimit) -> Result<Page, LogError> {
        self.look(log).await;
        self.log.read_back(log, before, limit).await
    }

    async fn replace(
        &self,
        log: &LogId,
        seq: u64,
        message_id: MessageId,
        payload: Bytes,
    ) -> Result<bool, LogError> {
        self.log.replace(log, seq, message_id, payload).await
    }

    async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
        self.log.id_at(log, seq).await
    }

    async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
        self.log.ends(logs).await
    }
}

fn server_config() -> ServerConfig {
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let mut config = ServerConfig::new("s", TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config
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
    let server = Server::start(server_config(), cluster.clone()).await.unwrap();
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

/// A connection that would miss the next message must not be told that it is up to date.
#[tokio::test]
async fn a_sync_ends_when_the_join_is_not_confirmed() {
    let cluster = Cluster::embedded();
    let im = Im::with_cluster(cluster.clone()).await.unwrap();
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    // A server that this test simulates.
    let server = ServerId::parse("s1").unwrap();
    let names = cluster.names().clone();
    let mut told = cluster.bus().subscribe(names.server(&server)).await.unwrap();
    for connection in 1..=2 {
        let sync = pb::UpstreamSync {
            server: server.to_string(),
            connection,
            user: "bob".into(),
            device: Some(pb::Device { terminal: pb::Terminal::Web.into(), id: "tab".into() }),
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
            let answer = pb::Delivered {
                server: server.to_string(),
                number: envelope.number,
                missed,
                reached: vec![],
            };
            let subject = Subject::answer(&names, &envelope.answer_to).unwrap();
            let payload = answer.encode_to_vec().into();
            cluster.bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
            break record;
        };
        // So the first sync has sent nothing else before the second one began.
        assert_eq!(record.connections, [connection]);
        assert!(matches!(record.effect, Some(Effect::Join(_))), "{record:?}");
    }
}

/// Devices are notified of a removal, but the bus may lose that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_did_not_arrive_is_made_up_for() {
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let mut bob = Raw::connect(&stack, 0, Via::WebSocket).await;
    bob.log_in("bob").await;
    while !matches!(bob.heard().await, Heard::Frame(Body::SyncDone(_))) {}
    let (team, user) = (ChannelId::parse("team").unwrap(), UserId::parse("bob").unwrap());
    stack.cluster().members().remove(&team, &[user]).await.unwrap();
    im.send(Message::to(channel("team")).text("not told yet")).await.unwrap();
    assert!(matches!(bob.heard().await, Heard::Frame(Body::Push(_))));
    let cursor = pb::Cursor { channel: "team".into(), seq: 1, id: 0 };
    bob.send_frame(Body::Sync(pb::Sync { cursors: vec![cursor] })).await;
    let mut left = false;
    loop {
        match bob.heard().await {
            Heard::Frame(Body::Reset(reset)) => left |= reset.reason() == ResetReason::Left,
            Heard::Frame(Body::SyncDone(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(left);
    im.send(Message::to(channel("team")).text("too late")).await.unwrap();
    bob.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
    assert_eq!(bob.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 1 })));
}

/// Members of an application: one user stays a member of one channel for a number of queries.
#[derive(Debug)]
struct Fickle {
    left: AtomicUsize,
}

#[async_trait]
impl MemberStore for Fickle {
    async fn channels(&self, _: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let is_member = |left: usize| left.checked_sub(1);
        let answer = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_member);
        Ok(answer.map(|_| ChannelId::parse("team").unwrap()).into_iter().collect())
    }

    async fn is_member(&self, _: &ChannelId, _: &UserId) -> Result<bool, MembersError> {
        Ok(self.left.load(Ordering::Relaxed) > 0)
    }

    async fn members(
        &self,
        _: &ChannelId,
        _: Option<&UserId>,
        _: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        Ok(Vec::new())
    }

    async fn add(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }

    async fn remove(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }
}

/// Removes the user before the sync, after the channels were looked up, and while entries are sent. The record that
/// makes the connection leave has come too early then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_during_a_sync_has_left_at_its_end() {
    for times in 0..=3 {
        let cluster = Cluster::embedded().with_members(Arc::new(Fickle { left: times.into() }));
        let server = Server::start(server_config(), cluster.clone()).await.unwrap();
        let im = Im::with_cluster(cluster).await.unwrap();
        let _service = serve(&im).await;
        im.send(Message::to(channel("team")).text("one")).await.unwrap();
        let mut bob = Raw::websocket(&format!("ws://{}", server.websocket_addr().unwrap())).await;
        bob.log_in_with("bob", vec![pb::Cursor { channel: "team".into(), seq: 0, id: 0 }]).await;
        let mut left = false;
        let ends = loop {
            match bob.heard().await {
                Heard::Frame(Body::Reset(reset)) => left |= reset.reason() == ResetReason::Left,
                Heard::Frame(Body::Push(_)) => assert!(!left && times > 1),
                Heard::Frame(Body::SyncDone(done)) => break done.ends,
                other => panic!("{other:?}"),
            }
        };
        let stays = times == 3;
        assert_eq!((left, ends.len()), (!stays, 1 + usize::from(stays)), "a member for {times} looks");
        im.send(Message::to(channel("team")).text("two")).await.unwrap();
        bob.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
        let heard = bob.heard().await;
        assert_eq!(matches!(heard, Heard::Frame(Body::Push(_))), stays, "{heard:?}");
    }
}
