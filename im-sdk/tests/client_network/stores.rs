//! Stores that have no room, and stores that are damaged.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_proto::pb;
use im_sdk::{
    client::{
        Event, SendError, State, StopCause, Trust,
        device_store::{Batch, DeviceStore, MemoryStore, SavedState, SqliteStore, StoreError},
    },
    content::Content,
    id::UserId,
};

use super::{
    Device,
    server::{PATIENCE, Peer, Server},
};

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

/// Reads frames until a publish comes. Returns its text.
async fn published(peer: &mut Peer) -> String {
    loop {
        if let pb::frame::Body::Publish(publish) = peer.receive().await {
            return Content::from(publish.content).as_text().unwrap_or_default().to_owned();
        }
    }
}

/// A store on a disk that may be full.
#[derive(Default)]
struct Disk {
    store: MemoryStore,
    is_full: AtomicBool,
}

impl DeviceStore for Disk {
    fn load(&self) -> Result<SavedState, StoreError> {
        self.store.load()
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(StoreError::Full("no space left".to_owned())),
            false => self.store.save(batch),
        }
    }
}

/// The pause between two tries grows up to ten seconds. A send must not wait for its end.
#[tokio::test]
async fn a_send_on_a_full_disk_is_refused_at_once_however_long_it_has_been_full() {
    let (server, disk) = (Server::websocket().await, Arc::new(Disk::default()));
    let device = Device::with_store(&[server.url()], Trust::WebPki, Arc::<Disk>::clone(&disk));
    let mut peer = server.welcome().await;
    device.connected().await;
    disk.is_full.store(true, Ordering::Relaxed);
    let refused = async {
        for _ in 0..20 {
            let full = StoreError::Full("no space left".to_owned());
            assert_eq!(device.client.send(bob(), "hi").await, Err(SendError::Store(full)));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("each is refused at once");
    assert_eq!(device.client.state(), State::Connected);
    disk.is_full.store(false, Ordering::Relaxed);
    device.client.send(bob(), "there is room").await.unwrap();
    assert_eq!(published(&mut peer).await, "there is room", "none of those that were refused");
}

/// Connects a client with the store in this file, and has it send something that nobody answers.
async fn use_store(path: &Path) {
    let (server, store) = (Server::websocket().await, SqliteStore::open(path).unwrap());
    let device = Device::with_store(&[server.url()], Trust::WebPki, Arc::new(store));
    let mut peer = server.welcome().await;
    device.connected().await;
    device.client.send(bob(), "hi").await.unwrap();
    assert_eq!(published(&mut peer).await, "hi");
    drop(peer);
    tokio::time::timeout(PATIENCE, device.client.shutdown()).await.expect("it is closed");
}

#[tokio::test]
async fn a_damaged_file_stops_the_client_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.db");
    use_store(&path).await;
    let mut bytes = std::fs::read(&path).unwrap();
    // All pages but the first, which says what the tables are.
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let store = SqliteStore::open(&path).expect("the first page is whole");
    let device = Device::with_store(&["ws://127.0.0.1:1".to_owned()], Trust::WebPki, Arc::new(store));
    let cause = device
        .until(|event| match event {
            Event::Stopped { code: None, cause, .. } => Some(cause),
            _ => None,
        })
        .await;
    assert!(matches!(&cause, StopCause::Store(StoreError::Damaged(_))), "{cause:?}");
    assert_eq!(cause.code(), "store_damaged");
    assert_eq!(device.client.state(), State::Stopped);
    let refused = device.client.send(bob(), "hi").await;
    assert!(matches!(refused, Err(SendError::Store(StoreError::Damaged(_)))), "{refused:?}");
    device.client.shutdown().await;

    std::fs::remove_file(&path).unwrap();
    use_store(&path).await;
}
