//! Panics in the parts that the application gives the client, and a runtime that is taken away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use im_proto::pb;
use im_sdk::{
    client::{
        Client, ClientConfig, Event, MAX_QUEUED_EVENTS, PublishError, RequestError, SendError, State,
        StopCause, Trust,
        device_store::{Batch, DeviceStore, MemoryStore, SavedState, StoreError},
    },
    id::UserId,
};
use tracing::{Metadata, Subscriber, span};

use super::{
    Device,
    server::{PATIENCE, Server, push},
};

/// A log that panics once something is written.
struct Fragile(Arc<AtomicBool>);

impl Subscriber for Fragile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("im_sdk")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        assert!(self.0.swap(true, Ordering::Relaxed), "the log is full");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A message that makes no sense, which is logged.
fn nonsense() -> pb::frame::Body {
    pb::frame::Body::Push(pb::Push::default())
}

async fn failed(device: &Device) {
    let reason = device
        .until(|event| match event {
            Event::Stopped { code: None, cause: StopCause::Failed, reason } => Some(reason),
            _ => None,
        })
        .await;
    assert!(reason.contains("failed") && reason.contains("the log is full"), "{reason}");
    assert_eq!((device.client.state(), device.client.transport()), (State::Closed, None));
    assert_eq!(device.client.next_events(9).await, [], "that was the last one");
    tokio::time::timeout(PATIENCE, device.client.shutdown()).await.expect("it is closed");
}

#[tokio::test]
async fn a_client_that_fails_is_closed_and_says_why() {
    let silent = Arc::new(AtomicBool::new(false));
    let _log = tracing::subscriber::set_default(Fragile(silent.clone()));
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let mut peer = server.welcome().await;
    device.connected().await;
    let bob = UserId::parse("bob").unwrap();
    let (published, asked, ()) = tokio::join!(
        device.client.send(bob.clone(), "hi").outcome(),
        device.client.watch([bob.clone()]),
        async {
            peer.receive().await;
            peer.send(nonsense()).await;
        }
    );
    assert!(matches!(published, Err(PublishError::Unconfirmed { .. })), "it was sent: {published:?}");
    assert_eq!(asked, Err(RequestError::Closed));
    assert!(silent.load(Ordering::Relaxed));
    failed(&device).await;
    assert_eq!(device.client.send(bob, "hi").await, Err(SendError::Closed));
}

#[tokio::test]
async fn there_is_room_for_the_last_event() {
    let _log = tracing::subscriber::set_default(Fragile(Arc::default()));
    let server = Server::websocket().await;
    let device = Device::connecting(&[server.url()], Trust::WebPki);
    let mut peer = server.welcome().await;
    // With the one that it is connected, as many as may wait.
    for id in 1..MAX_QUEUED_EVENTS as u64 {
        peer.send(push(id, "x")).await;
    }
    peer.send(nonsense()).await;
    tokio::time::timeout(PATIENCE, async {
        while device.client.state() != State::Closed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the log is full");
    failed(&device).await;
}

/// A store that cannot even be let go of.
struct Sticky(MemoryStore);

impl DeviceStore for Sticky {
    fn load(&self) -> Result<SavedState, StoreError> {
        self.0.load()
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.save(batch)
    }
}

impl Drop for Sticky {
    fn drop(&mut self) {
        panic!("the log is full");
    }
}

#[tokio::test]
async fn a_client_whose_store_fails_at_the_end_is_closed() {
    let server = Server::websocket().await;
    let device = Device::with_store(&[server.url()], Trust::WebPki, Arc::new(Sticky(MemoryStore::new())));
    let mut peer = server.welcome().await;
    device.connected().await;
    _ = tokio::join!(tokio::time::timeout(PATIENCE, device.client.shutdown()), peer.try_receive());
    failed(&device).await;
}

#[test]
fn a_client_without_its_runtime_is_closed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::websocket());
    let endpoints = vec![server.url().parse().unwrap()];
    let config = ClientConfig::new(endpoints, "desktop/test".parse().unwrap(), Arc::new("token"));
    let client = Client::open_on(config, runtime.handle()).unwrap();
    client.connect();
    runtime.block_on(async {
        let _peer = server.welcome().await;
        while client.state() != State::Connected {
            client.next_events(1).await;
        }
    });
    runtime.shutdown_timeout(PATIENCE);
    assert_eq!(client.state_changed(State::Connected).now_or_never(), Some(State::Closed));
    assert_eq!((client.state(), client.transport()), (State::Closed, None));
}
