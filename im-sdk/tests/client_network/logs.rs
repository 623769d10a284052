//! Logs, acknowledgements and sends, also over the end of a process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use im_proto::pb;
use im_sdk::{
    client::{
        Event, LocalId, Position, SendError, SendState, State, StopCause, Trust,
        device_store::{Batch, DeviceStore, MemoryStore, SavedState, StoreError},
    },
    content::Content,
    id::UserId,
};

use super::{
    Device,
    server::{Peer, Server, accepted, push, welcome},
};

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

fn cursor(seq: u64) -> pb::Cursor {
    pb::Cursor { channel: String::new(), seq, id: 1000 + seq }
}

fn entry(seq: u64) -> pb::frame::Body {
    let pb::frame::Body::Push(push) = push(1000 + seq, "hello") else { panic!("no push") };
    pb::frame::Body::Push(pb::Push { seq, ..push })
}

async fn start_at(peer: &mut Peer, seq: u64) {
    let reason = pb::ResetReason::New.into();
    peer.send(pb::frame::Body::Reset(pb::Reset { cursor: Some(cursor(seq)), reason })).await;
    peer.send(pb::frame::Body::SyncDone(pb::SyncDone { ends: vec![cursor(seq)], more: false })).await;
}

/// The next connection: the cursors of its `Hello`, after the welcome.
async fn welcomed(server: &Server) -> (Peer, Vec<pb::Cursor>) {
    let mut peer = server.accept().await;
    let pb::frame::Body::Hello(hello) = peer.receive().await else { panic!("no hello") };
    peer.send(welcome(30_000)).await;
    (peer, hello.cursors)
}

impl Device {
    async fn position(&self) -> Position {
        self.until(|event| match event {
            Event::Message(message) => message.position,
            Event::Reset { position, .. } => Some(position),
            _ => None,
        })
        .await
    }

    async fn published(&self) -> LocalId {
        self.until(|event| match event {
            Event::Published { local_id, .. } => Some(local_id),
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn a_log_is_followed_over_gaps_losses_and_restarts() {
    let (server, store) = (Server::websocket().await, Arc::new(MemoryStore::new()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let (mut peer, cursors) = welcomed(&server).await;
    assert_eq!(cursors, []);
    start_at(&mut peer, 10).await;
    assert_eq!(device.position().await.seq, 10);
    peer.send(entry(11)).await;
    let eleventh = device.position().await;
    // A gap.
    peer.send(entry(13)).await;
    let pb::frame::Body::Sync(sync) = peer.receive().await else { panic!("no sync") };
    assert_eq!(sync.cursors, [cursor(11)]);
    peer.send(entry(12)).await;
    assert_eq!((device.position().await.seq, device.position().await.seq), (12, 13));
    device.client.ack(&eleventh);
    let pb::frame::Body::Ack(ack) = peer.receive().await else { panic!("no ack") };
    assert_eq!(ack.cursors, [cursor(11)]);
    // The connection breaks: the next one goes on from what came.
    drop(peer);
    let (peer, cursors) = welcomed(&server).await;
    assert_eq!(cursors, [cursor(13)]);
    // The process ends: the next one goes on from what was acknowledged.
    device.client.shutdown().await;
    drop(peer);
    let device = Device::with_store(&[server.url()], Trust::WebPki, store);
    let (mut peer, cursors) = welcomed(&server).await;
    assert_eq!(cursors, [cursor(11)]);
    for seq in 12..=14 {
        peer.send(entry(seq)).await;
        assert_eq!(device.position().await.seq, seq);
    }
    peer.send(entry(14)).await;
    peer.send(entry(15)).await;
    assert_eq!((device.position().await.seq, device.client.repeated_messages()), (15, 1));
}

#[tokio::test]
async fn acknowledgements_are_sent_and_saved_when_the_client_closes() {
    let (server, store) = (Server::websocket().await, Arc::new(MemoryStore::new()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let (mut peer, _) = welcomed(&server).await;
    start_at(&mut peer, 3).await;
    device.client.ack(&device.position().await);
    let ((), ack) = tokio::join!(device.client.shutdown(), peer.receive());
    assert_eq!(ack, pb::frame::Body::Ack(pb::Ack { cursors: vec![cursor(3)] }));
    assert_eq!(store.load().unwrap().cursors[0].seq, 3);
}

#[tokio::test]
async fn a_send_outlives_connection_and_process() {
    let (server, store) = (Server::websocket().await, Arc::new(MemoryStore::new()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let (mut peer, _) = welcomed(&server).await;
    let local_id = device.client.send(bob(), "hi").await.unwrap().local_id();
    let pb::frame::Body::Publish(first) = peer.receive().await else { panic!("no publish") };
    let later = device.client.send(bob(), "again").await.unwrap().local_id();
    let states: Vec<_> = device.client.unsettled_sends().await.iter().map(|one| one.state).collect();
    assert_eq!(states, [SendState::Sent, SendState::Pending]);
    // As if the process died: nothing is said to anyone.
    drop((device, peer));

    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let (mut peer, _) = welcomed(&server).await;
    assert_eq!(peer.receive().await, pb::frame::Body::Publish(first.clone()));
    peer.send(accepted(first.number)).await;
    assert_eq!(device.published().await, local_id);
    let pb::frame::Body::Publish(second) = peer.receive().await else { panic!("no publish") };
    assert!(second.number > first.number);
    assert_eq!(Content::from(second.content), Content::text("again"));
    peer.send(accepted(second.number)).await;
    assert_eq!(device.published().await, later);
    device.client.shutdown().await;
    assert_eq!((store.load().unwrap().outbox, device.client.unsettled_sends().await), (vec![], vec![]));
    assert_eq!(device.client.send(bob(), "late").await, Err(SendError::Closed));
}

/// A store that works when it is told to.
#[derive(Default)]
struct Moody {
    inner: MemoryStore,
    works: AtomicBool,
}

impl Moody {
    fn mood(&self) -> Result<(), StoreError> {
        let works = self.works.load(Ordering::Relaxed);
        if works { Ok(()) } else { Err(StoreError::Failed("in a mood".to_owned())) }
    }
}

impl DeviceStore for Moody {
    fn load(&self) -> Result<SavedState, StoreError> {
        self.mood()?;
        self.inner.load()
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        self.mood()?;
        self.inner.save(batch)
    }
}

#[tokio::test]
async fn without_its_store_a_client_does_not_start() {
    let (server, store) = (Server::websocket().await, Arc::new(Moody::default()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let cause = StopCause::Store(StoreError::Failed("in a mood".to_owned()));
    let stopped = Event::Stopped { code: None, cause, reason: "the store failed: in a mood".to_owned() };
    assert_eq!((device.event().await, device.client.state()), (stopped, State::Stopped));
    let refused = device.client.send(bob(), "hi").await;
    assert_eq!(refused, Err(SendError::Store(StoreError::Failed("in a mood".to_owned()))));
    store.works.store(true, Ordering::Relaxed);
    device.client.connect();
    let _peer = server.welcome().await;
    device.connected().await;
    assert!(device.client.send(bob(), "hi").await.is_ok());
    store.works.store(false, Ordering::Relaxed);
    assert_eq!(device.client.send(bob(), "hi").await.unwrap_err().code(), "store");

    let device = Device::with_store(&[server.url()], Trust::WebPki, store);
    assert!(matches!(device.event().await, Event::Stopped { .. }));
    device.client.shutdown().await;
    assert_eq!(device.client.state(), State::Closed);
}
