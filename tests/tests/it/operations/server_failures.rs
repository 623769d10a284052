//! Servers that crash or freeze.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use im_proto::pb::frame::Body;
use im_sdk::{
    backend::{Durability, Im, Message, user, users},
    client::{CloseCode, Event},
    id::UserId,
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, SLACK, ServerOptions, StackServer},
    wait_until,
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{interval, sleep},
};

/// Default interval at which a back end reads the list of live servers.
const DIRECTORY_REFRESH: Duration = Duration::from_secs(1);

everywhere!(
    routes_of_a_dead_server_count_as_offline,
    devices_of_a_dead_server_come_back_elsewhere,
    a_silent_back_end_leaves_no_send_hanging,
);

async fn servers_of(im: &Im, user: &str) -> BTreeSet<String> {
    let user = UserId::parse(user).unwrap();
    let online = im.online(std::slice::from_ref(&user)).await.unwrap();
    online.get(&user).into_iter().flatten().map(|device| device.server.to_string()).collect()
}

async fn routes_of_a_dead_server_count_as_offline(setup: Setup, via: Via) {
    let lease = Duration::from_secs(2);
    let options = ServerOptions { lease, ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let _dead = stack.connect("bob", "ios/phone", 0, via).await;
    let mut alive = stack.connect("bob", "web/tab", 1, via).await;
    let bob = [UserId::parse("bob").unwrap()];
    let dead = stack.server_id(&stack.servers[0]).await;
    wait_until("it has renewed its lease: it says how many are connected", PATIENCE, async || {
        let live = stack.cluster().routes().live_servers().await.unwrap();
        live.iter().any(|server| server.id == dead && server.info.connections == 1)
    })
    .await;
    stack.servers.remove(0).kill();
    let killed = Instant::now();
    let left = stack.cluster().routes().locate(&bob).await.unwrap();
    assert_eq!(left[0].len(), 2, "a server that dies releases nothing: {left:?}");

    // Until then, sends report that they did not reach the phone.
    wait_until("the dead server's device counts as offline", PATIENCE, async || {
        let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
        assert!(receipt.pushed.len() <= 1, "{receipt:?}");
        servers_of(&im, "bob").await.len() == 1
    })
    .await;
    // After the expiry of its lease, a server counts as dead at a back end's next refresh.
    let promised = lease + DIRECTORY_REFRESH;
    assert!(killed.elapsed() < promised + SLACK, "it took {:?}, not {promised:?}", killed.elapsed());
    alive.text().await;
    wait_until("its route is swept", PATIENCE, async || {
        stack.cluster().routes().locate(&bob).await.unwrap()[0].len() == 1
    })
    .await;
}

async fn devices_of_a_dead_server_come_back_elsewhere(setup: Setup, via: Via) {
    // Over QUIC, only silence reveals that a server is gone: a short heartbeat shortens it.
    let options = ServerOptions { heartbeat: Duration::from_millis(500), ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let mut bob = stack.open("bob", "web/tab", &endpoints);
    assert_eq!(bob.connected().await, endpoints[0]);
    stack.servers.remove(0).kill();
    wait_until("bob is on the other server", PATIENCE, async || {
        let live = stack.server_id(&stack.servers[0]).await.to_string();
        servers_of(&im, "bob").await.contains(&live)
    })
    .await;
    im.send(Message::to(user("bob")).text("welcome back")).await.unwrap();
    assert_eq!(bob.text().await, "welcome back");
}

async fn a_silent_back_end_leaves_no_send_hanging(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    // The back end is shut down during sends: each one ends as done or as unconfirmed.
    let sends = (0..50).map(|number| {
        let im = im.clone();
        tokio::spawn(async move { im.send(Message::to(user("bob")).text(number.to_string())).await })
    });
    let sends: Vec<_> = sends.collect();
    im.shutdown().await;
    for send in sends {
        let receipt = tokio::time::timeout(PATIENCE, send).await.unwrap().unwrap();
        if let Ok(receipt) = receipt {
            assert_eq!(receipt.pushed.len() + receipt.offline.len() + receipt.unconfirmed.len(), 1);
        }
    }
    bob.client().shutdown().await;
    let closed = bob.client().next_events(100).await;
    assert!(!closed.iter().any(|event| matches!(event, Event::Stopped { .. })), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_only_dropped_sends_its_devices_elsewhere() {
    for via in [Via::Quic, Via::WebSocket] {
        let mut stack = Stack::start(Setup::Embedded, 1).await;
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in("bob").await;
        let id = stack.server_id(&stack.servers[0]).await;
        let StackServer::Embedded(server) = &mut stack.servers[0] else { unreachable!() };
        server.drop_server();
        assert_eq!(raw.closed().await, CloseCode::GoingAway, "{via:?}");
        let (routes, bob) = (stack.cluster().routes(), [UserId::parse("bob").unwrap()]);
        let is_released = async || routes.locate(&bob).await.unwrap()[0].is_empty();
        wait_until("its route is released", PATIENCE, is_released).await;
        let lives = async || routes.live_servers().await.unwrap().iter().any(|server| server.id == id);
        assert!(lives().await, "nobody ends its lease");
        wait_until("its lease runs out", PATIENCE, async || !lives().await).await;
    }
}

/// Tests a failover that also loses a server's lease. Its devices may have received entries of the new epoch
/// before they left, so their last entry does not reveal that earlier ones were replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_lease_in_a_failover_has_devices_compare_their_logs() {
    let options = ServerOptions { lease: Duration::from_secs(1), ..ServerOptions::default() };
    let stack = Stack::start_with(Setup::Clustered, 1, options).await;
    let frozen_id = stack.server_id(&stack.servers[0]).await;
    let StackServer::Process(frozen) = &stack.servers[0] else { unreachable!() };
    frozen.stop();
    let routes = stack.cluster().routes();
    wait_until("the frozen server counts as dead", PATIENCE, async || {
        routes.live_servers().await.unwrap().iter().all(|server| server.id != frozen_id)
    })
    .await;
    // A replica that takes over starts a new epoch.
    let mut redis = stack.services().unwrap().redis.connection().await;
    for master in [["127.0.0.1", "1"], ["NO", "ONE"]] {
        redis::cmd("REPLICAOF").arg(&master).exec_async(&mut redis).await.unwrap();
    }
    frozen.resume();
    wait_until("it goes on under a new id", PATIENCE, async || {
        routes.live_servers().await.unwrap().iter().any(|server| server.id != frozen_id)
    })
    .await;
    for via in [Via::Quic, Via::WebSocket] {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in("bob").await;
        while !matches!(raw.heard().await, Heard::Frame(Body::SyncHint(hint)) if hint.rolled_back) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_past_its_lease_goes_on_under_a_new_id() {
    let options = ServerOptions { lease: Duration::from_secs(1), ..ServerOptions::default() };
    let stack = Stack::start_with(Setup::Clustered, 2, options).await;
    let im = stack.backend().await;
    let frozen_id = stack.server_id(&stack.servers[0]).await;
    let StackServer::Process(frozen) = &stack.servers[0] else { unreachable!() };
    let mut stays = stack.connect("stays", "web/tab", 0, Via::WebSocket).await;
    let mut moves = stack.connect("moves", "web/tab", 0, Via::WebSocket).await;
    frozen.stop();
    let routes = stack.cluster().routes();
    wait_until("the frozen server counts as dead", PATIENCE, async || {
        routes.live_servers().await.unwrap().iter().all(|server| server.id != frozen_id)
    })
    .await;
    // Meanwhile one of its devices has connected elsewhere, and the other server has its route.
    let moved = stack.connect("moves", "web/tab", 1, Via::WebSocket).await;
    frozen.resume();

    // The devices of the frozen server notice and reconnect, to a server with a new id.
    stays.connected().await;
    let new_id = stack.server_id(&stack.servers[0]).await;
    assert_ne!(new_id, frozen_id);
    let device = |user: &str| [UserId::parse(user).unwrap()];
    wait_until("the device is on the new server", PATIENCE, async || {
        let found = routes.locate(&device("stays")).await.unwrap();
        found[0].len() == 1 && found[0][0].1.server == new_id
    })
    .await;
    // The old connection of `moves` ends: it is kicked, or closed with the others and then back as the same device.
    // Whichever of the two remains, there is one route, and not under the old id.
    let ended =
        |event: &Event| matches!(event, Event::Stopped { .. } | Event::Disconnected { .. }).then_some(());
    moves.next("the old connection has ended", ended).await;
    let found = routes.locate(&device("moves")).await.unwrap();
    assert_eq!(found[0].len(), 1);
    assert_ne!(found[0][0].1.server, frozen_id, "the frozen server did not write under its old id");
    im.send(Message::to(user("stays")).text("welcome back")).await.unwrap();
    assert_eq!(stays.text().await, "welcome back");
    assert!(!frozen.output().contains("cannot start again"), "{}", frozen.output());
    moved.client().disconnect();
}

/// Reads everything that a device receives until it is closed.
async fn read(device: TestClient) {
    while !device.client().next_events(100).await.is_empty() {}
}

/// Tests a freeze over QUIC: an acknowledgement that arrives during it makes connections drain for three times as
/// long, on the address that the server needs again. A busy server has an acknowledgement in flight for nearly every
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_that_wakes_from_a_freeze_serves_again_within_seconds() {
    const DEVICES: usize = 60;
    // Connections that drain for three times the freeze would keep the address for 45 s.
    const WITHIN: Duration = Duration::from_secs(25);
    let options = ServerOptions { lease: Duration::from_secs(10), ..ServerOptions::default() };
    let stack = Stack::start_with(Setup::Clustered, 1, options).await;
    let im = stack.backend().await;
    let (mut names, mut devices) = (Vec::new(), JoinSet::new());
    for number in 0..DEVICES {
        for (kind, via) in [("quic", Via::Quic), ("websocket", Via::WebSocket)] {
            names.push(format!("{kind}-{number}"));
            devices.spawn(read(stack.connect(&names[names.len() - 1], "web/tab", 0, via).await));
        }
    }
    let (sender, receivers) = (im.clone(), names.clone());
    let mut pushed = 0;
    let (started, busy) = oneshot::channel();
    let mut started = Some(started);
    let traffic = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            // Without online users a send waits for nothing, and this loop would block its thread.
            ticks.tick().await;
            let message = Message::to(users(&receivers)).text("busy").durability(Durability::Transient);
            pushed += sender.send(message).await.map_or(0, |receipt| receipt.pushed.len());
            if pushed >= 20 * receivers.len() {
                started.take().map(|started| started.send(()));
            }
        }
    });
    busy.await.unwrap();
    let StackServer::Process(server) = &stack.servers[0] else { unreachable!() };
    server.stop();
    // The time matters: acknowledgements have waited for that long.
    sleep(Duration::from_secs(15)).await;
    server.resume();
    let woken = Instant::now();
    for via in [Via::WebSocket, Via::Quic] {
        let new = stack.connect(&format!("new-{via:?}"), "web/tab", 0, via).await;
        let took = woken.elapsed();
        assert!(took < WITHIN, "it served {via:?} after {took:?}:\n{}", server.output());
        new.client().shutdown().await;
    }
    let names: Vec<_> = names.iter().map(|name| UserId::parse(name).unwrap()).collect();
    wait_until("all devices are back", PATIENCE, async || {
        im.online(&names).await.is_ok_and(|online| online.len() == names.len())
    })
    .await;
    traffic.abort();
}
