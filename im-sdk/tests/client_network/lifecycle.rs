//! Applications in the background, and changes of the network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use im_proto::pb;
use im_sdk::{
    client::{
        Event, State, Trust,
        device_store::{Batch, DeviceStore, MemoryStore, SavedState, StoreError},
    },
    id::UserId,
};

use super::{
    Device,
    server::{PATIENCE, Server, accepted},
};

/// A store that counts how often it has opened and released its files.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    released: AtomicUsize,
    shrunk: AtomicUsize,
}

impl Counting {
    fn released(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }
}

impl DeviceStore for Counting {
    fn load(&self) -> Result<SavedState, StoreError> {
        self.inner.load()
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.save(batch)
    }

    fn release(&self) {
        self.released.fetch_add(1, Ordering::SeqCst);
    }

    fn shrink(&self) {
        self.shrunk.fetch_add(1, Ordering::SeqCst);
    }
}

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_background_finishes_what_was_sent_and_releases_the_store() {
    let (server, store) = (Server::websocket().await, Arc::new(Counting::default()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let mut peer = server.welcome().await;
    device.connected().await;
    let sent = device.client.send(bob(), "hi").await.unwrap();
    let answer = async {
        let pb::frame::Body::Publish(publish) = peer.receive().await else { panic!("no publish") };
        peer.send(accepted(publish.number)).await;
    };
    let (complete, ()) = tokio::join!(device.client.entered_background(PATIENCE), answer);
    assert!(complete);
    assert_eq!((device.client.state(), store.released()), (State::Disconnected, 1));
    assert!(sent.outcome().await.unwrap().message_id.is_some());
    let gone = |event| match event {
        Event::Disconnected { retry_in, .. } => Some(retry_in),
        _ => None,
    };
    assert_eq!(device.until(gone).await, None);

    // A send in the background is kept, and the store let go again.
    device.client.send(bob(), "from a notification").await.unwrap();
    until(|| store.released() == 2).await;
    assert_eq!(device.client.state(), State::Disconnected);

    device.client.entered_foreground();
    let mut peer = server.welcome().await;
    device.connected().await;
    let later = async {
        loop {
            if let pb::frame::Body::Publish(publish) = peer.receive().await {
                return publish;
            }
        }
    };
    let publish = tokio::time::timeout(PATIENCE, later).await.unwrap();
    assert_eq!(im_sdk::content::Content::from(publish.content).as_text(), Some("from a notification"));
}

#[tokio::test]
async fn the_background_returns_when_its_time_is_over_or_the_application_is_back() {
    let (server, store) = (Server::websocket().await, Arc::new(Counting::default()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let _peer = server.welcome().await;
    device.connected().await;
    device.client.send(bob(), "never answered").await.unwrap();
    // Nothing is answered, so that it waits for as long as it may.
    let mut entered = Box::pin(device.client.entered_background(Duration::from_secs(600)));
    assert_eq!(entered.as_mut().now_or_never(), None);
    device.client.entered_foreground();
    assert_eq!(tokio::time::timeout(PATIENCE, entered).await, Ok(false));
    assert_eq!(device.client.state(), State::Connected);

    let began = Instant::now();
    assert!(device.client.entered_background(Duration::from_secs(1)).await, "there was a quarter of it left");
    assert!(began.elapsed() >= Duration::from_millis(600), "it did not wait for the answer");
    assert_eq!((device.client.state(), store.released()), (State::Disconnected, 1));
    device.client.shutdown().await;
    assert!(device.client.entered_background(PATIENCE).await, "a closed client holds nothing");
}

#[tokio::test]
async fn a_client_without_its_store_or_without_a_connection_is_in_the_background_at_once() {
    struct Broken;
    impl DeviceStore for Broken {
        fn load(&self) -> Result<SavedState, StoreError> {
            Err(StoreError::Failed("broken".to_owned()))
        }
        fn save(&self, _: &Batch) -> Result<(), StoreError> {
            Err(StoreError::Failed("broken".to_owned()))
        }
    }
    let device = Device::with_store(&["ws://127.0.0.1:9".to_owned()], Trust::WebPki, Arc::new(Broken));
    device.until(|event| matches!(event, Event::Stopped { .. }).then_some(())).await;
    let began = Instant::now();
    assert!(device.client.entered_background(PATIENCE).await);

    let device = Device::connecting(&["ws://127.0.0.1:9".to_owned()], Trust::WebPki);
    assert!(device.client.entered_background(PATIENCE).await);
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(device.client.state(), State::Disconnected);
}

#[tokio::test]
async fn a_changed_network_is_probed_and_memory_is_given_back() {
    let (server, store) = (Server::websocket().await, Arc::new(Counting::default()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, store.clone());
    let mut peer = server.welcome().await;
    device.connected().await;
    device.client.network_changed();
    let ping = async {
        loop {
            if let pb::frame::Body::Ping(ping) = peer.receive().await {
                return ping;
            }
        }
    };
    let ping = tokio::time::timeout(PATIENCE, ping).await.unwrap();
    peer.send(pb::frame::Body::Pong(pb::Pong { echo: ping.echo })).await;
    device.client.memory_pressure();
    until(|| store.shrunk.load(Ordering::SeqCst) == 1).await;
    assert_eq!(device.client.state(), State::Connected);
}
