//! QUIC connections migrate to a device's new address.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use im_sdk::{
    Transport,
    backend::{Im, Incoming, Message, user},
    client::{Event, State},
};
use im_tests::{Setup, Stack, TestClient, Via, stack::PATIENCE, wait_until};
use tokio::{net::UdpSocket, task::JoinHandle};

/// A relay between a device and its server that can change the address that the server sees. Packets to the old address
/// are lost, as behind a router whose NAT mapping has expired.
struct Router {
    address: SocketAddr,
    moved: Arc<AtomicBool>,
    /// Number of packets that the server has sent to the new address.
    by_the_new_way: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Router {
    async fn to(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ways =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let (address, moved) = (inside.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let by_the_new_way = Arc::<AtomicU64>::default();
        let task = tokio::spawn(route(inside, ways, server, moved.clone(), by_the_new_way.clone()));
        Self { address, moved, by_the_new_way, task }
    }

    fn change_address(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn route(
    inside: UdpSocket,
    ways: [UdpSocket; 2],
    server: SocketAddr,
    moved: Arc<AtomicBool>,
    by_the_new_way: Arc<AtomicU64>,
) {
    let (mut from_device, mut old, mut new) = ([0; 2048], [0; 2048], [0; 2048]);
    let mut device = None;
    loop {
        tokio::select! {
            Ok((bytes, from)) = inside.recv_from(&mut from_device) => {
                device = Some(from);
                let way = &ways[usize::from(moved.load(Ordering::Relaxed))];
                way.send_to(&from_device[..bytes], server).await.unwrap();
            }
            Ok((bytes, _)) = ways[0].recv_from(&mut old) => {
                if let Some(device) = device.filter(|_| !moved.load(Ordering::Relaxed)) {
                    inside.send_to(&old[..bytes], device).await.unwrap();
                }
            }
            Ok((bytes, _)) = ways[1].recv_from(&mut new) => {
                by_the_new_way.fetch_add(1, Ordering::Relaxed);
                if let Some(device) = device {
                    inside.send_to(&new[..bytes], device).await.unwrap();
                }
            }
        }
    }
}

/// Sends a text to the device, which must arrive on the existing connection.
async fn goes_on(im: &Im, bob: &mut TestClient, text: &str) {
    im.send(Message::to(user("bob")).text(text)).await.unwrap();
    bob.next(text, |event| match event {
        Event::Message(message) => (message.content.as_text() == Some(text)).then_some(()),
        Event::Disconnected { .. } | Event::Connected { .. } => panic!("{event:?}"),
        _ => None,
    })
    .await;
}

async fn quic_survives_a_new_address(setup: Setup) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    let server = stack.servers[0].endpoint(Via::Quic);
    let router = Router::to(server.strip_prefix("quic://").unwrap().parse().unwrap()).await;
    let mut bob = stack.open("bob", "ios/phone", &[format!("quic://{}", router.address)]);
    bob.connected().await;
    bob.up_to_date().await;
    goes_on(&im, &mut bob, "at home").await;

    router.change_address();
    // The device does not notice: its next packet comes from the new address.
    bob.publish("alice", "I am on my way").await.unwrap();
    for text in ["on the bus", "at work"] {
        goes_on(&im, &mut bob, text).await;
    }
    bob.publish("alice", "I am there").await.unwrap();
    wait_until("the server answers to the new address", PATIENCE, async || {
        router.by_the_new_way.load(Ordering::Relaxed) > 0
    })
    .await;
    assert_eq!((bob.client().state(), bob.client().transport()), (State::Connected, Some(Transport::Quic)));
    stack.wait_online(&im, "bob", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_survives_a_new_address_embedded() {
    quic_survives_a_new_address(Setup::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_survives_a_new_address_clustered() {
    quic_survives_a_new_address(Setup::Clustered).await;
}
