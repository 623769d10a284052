//! Draining servers: their devices move to other servers gradually and lose nothing.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    backend::{Message, user},
    client::CloseCode,
    id::UserId,
};
use im_tests::{
    DrainingServer, Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};
use quinn::ConnectionError;
use tokio::{net::TcpStream, task::yield_now};

everywhere!(
    a_server_hands_its_devices_over,
    who_stays_is_closed,
    devices_are_asked_to_leave_one_after_another,
    who_has_not_left_is_served,
    who_comes_is_refused_at_once,
    a_drain_ends_when_nobody_is_left,
    a_drain_ends_with_the_lease,
);

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

async fn start(setup: Setup, servers: usize, drain_grace: Duration) -> Stack {
    Stack::start_with(setup, servers, ServerOptions { drain_grace, ..ServerOptions::default() }).await
}

async fn log_in(stack: &Stack, user: &str, via: Via) -> Raw {
    let mut raw = Raw::connect(stack, 0, via).await;
    raw.log_in(user).await;
    raw
}

/// Waits until a device is asked to leave; returns the time that it is given.
async fn asked_to_leave(raw: &mut Raw) -> Duration {
    loop {
        match raw.heard().await {
            Heard::Frame(Body::GoAway(asked)) => {
                return Duration::from_millis(asked.reconnect_within_ms.into());
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code} instead of being asked to leave"),
        }
    }
}

/// Waits for a frame.
async fn until(raw: &mut Raw, mut wanted: impl FnMut(&Body) -> bool) {
    loop {
        match raw.heard().await {
            Heard::Frame(frame) if wanted(&frame) => return,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }
}

fn users(prefix: &str, count: usize) -> Vec<UserId> {
    (0..count).map(|number| UserId::parse(&format!("{prefix}-{number}")).unwrap()).collect()
}

/// Connects devices that know these endpoints to the first server.
async fn connect(stack: &Stack, users: &[UserId], endpoints: &[String]) -> Vec<TestClient> {
    let mut clients = Vec::new();
    for user in users {
        let mut client = stack.open(user.as_str(), "web/tab", endpoints);
        assert_eq!(client.connected().await, endpoints[0]);
        clients.push(client);
    }
    clients
}

async fn a_server_hands_its_devices_over(setup: Setup, via: Via) {
    let mut stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let (movers, lost) = (users("mover", 20), users("lost", 5));
    let mut moving = connect(&stack, &movers, &endpoints).await;
    // These know no other server, so no new route displaces theirs.
    let _stranded = connect(&stack, &lost, &endpoints[..1]).await;
    let leaving = stack.servers.remove(0);
    let id = stack.server_id(&leaving).await;
    // Checks that a process exits with 0.
    leaving.shutdown().await;

    for client in &mut moving {
        assert_eq!(client.connected().await, endpoints[1]);
    }
    let live = stack.cluster().routes().live_servers().await.unwrap();
    assert!(live.iter().all(|server| server.id != id), "its lease has ended");
    for routes in stack.cluster().routes().locate(&movers).await.unwrap() {
        assert_eq!(routes.len(), 1);
        assert_ne!(routes[0].1.server, id);
    }
    for routes in stack.cluster().routes().locate(&lost).await.unwrap() {
        assert_eq!(routes, [], "no route is left behind");
    }
    for (mover, client) in movers.iter().zip(&mut moving) {
        im.send(Message::to(user(mover.as_str())).text("still there")).await.unwrap();
        assert_eq!(client.text().await, "still there");
    }
}

async fn who_stays_is_closed(setup: Setup, via: Via) {
    let mut stack = start(setup, 1, Duration::from_millis(500)).await;
    let im = stack.backend().await;
    let mut raw = log_in(&stack, "stubborn", via).await;
    let leaving = stack.servers.remove(0);
    let (code, ()) = tokio::join!(raw.closed(), leaving.shutdown());
    assert_eq!(code, CloseCode::GoingAway);
    wait_until("it is gone from the list of servers", PATIENCE, async || im.endpoints().is_empty()).await;
    let stubborn = [UserId::parse("stubborn").unwrap()];
    assert!(stack.cluster().routes().locate(&stubborn).await.unwrap()[0].is_empty(), "its route is released");
}

async fn devices_are_asked_to_leave_one_after_another(setup: Setup, via: Via) {
    const DEVICES: u32 = 5;
    // Four fifths of the time, divided among the devices.
    const STEP: Duration = Duration::from_millis(800);
    let mut stack = start(setup, 1, Duration::from_secs(5)).await;
    let mut raws = Vec::new();
    for number in 0..DEVICES {
        raws.push(log_in(&stack, &format!("user-{number}"), via).await);
    }
    let started = Instant::now();
    let asking = raws.into_iter().map(async |mut raw| {
        assert_eq!(asked_to_leave(&mut raw).await, STEP);
        let asked = started.elapsed();
        // The connection stays open, and no device is asked twice.
        raw.send_frame(Body::Ping(pb::Ping { echo: 1 })).await;
        assert_eq!(raw.heard().await, Heard::Frame(Body::Pong(pb::Pong { echo: 1 })));
        (asked, raw)
    });
    let asking = async {
        // All connections are kept until the last device was asked, then they close.
        let mut asked: Vec<_> = join_all(asking).await.into_iter().map(|(asked, _)| asked).collect();
        asked.sort_unstable();
        asked
    };
    let (asked, ()) = tokio::join!(asking, stack.servers.remove(0).shutdown());
    for (index, asked) in (0..).zip(asked) {
        let due = STEP * index;
        assert!(asked >= due, "number {index} was asked after {asked:?}, before its turn");
        assert!(asked < due + 3 * STEP, "number {index} was asked after {asked:?}, long after its turn");
    }
}

async fn who_has_not_left_is_served(setup: Setup, via: Via) {
    let mut stack = start(setup, 2, LONG).await;
    let im = stack.backend().await;
    let _service = im_tests::channels::serve(&im).await;
    let [mut publishes, mut kicked, mut displaced] = [
        log_in(&stack, "publishes", via).await,
        log_in(&stack, "is-kicked", via).await,
        log_in(&stack, "is-displaced", via).await,
    ];
    let mut other = stack.connect("other", "web/tab", 1, via).await;
    let leaving = DrainingServer::drain_first(&mut stack).await;
    other.publish("publishes", "hi").await.unwrap();
    until(&mut publishes, |frame| matches!(frame, Body::Push(_))).await;
    let text = pb::content::Body::Text(pb::Text { text: "hi yourself".into() });
    let (to, content) = ("other".into(), Some(text.into()));
    let publish = pb::Publish { number: 1, to, content, ..Default::default() };
    publishes.send_frame(Body::Publish(publish)).await;
    until(&mut publishes, |frame| matches!(frame, Body::PublishResult(_))).await;
    // The sender's own message reaches its device.
    assert_eq!([other.text().await, other.text().await], ["hi", "hi yourself"]);
    let user = UserId::parse("is-kicked").unwrap();
    assert_eq!(im.kick(&user, None, "enough").await.unwrap(), 1);
    assert_eq!(kicked.closed().await, CloseCode::Kicked);
    let _elsewhere = stack.connect("is-displaced", "web/other", 0, via).await;
    assert_eq!(displaced.closed().await, CloseCode::Replaced);
    drop(publishes);
    leaving.exited(PATIENCE).await;
}

async fn who_comes_is_refused_at_once(setup: Setup, via: Via) {
    let mut stack = start(setup, 2, LONG).await;
    let (quic, websocket) = (stack.servers[0].endpoint(Via::Quic), stack.servers[0].endpoint(Via::WebSocket));
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let stays = log_in(&stack, "stays", via).await;
    let leaving = DrainingServer::drain_first(&mut stack).await;
    let refused = Raw::quic(&quic, &stack.certificate).await.map(drop).unwrap_err();
    assert!(matches!(refused, ConnectionError::ConnectionClosed(_)), "{refused}");
    let refused = TcpStream::connect(websocket.replace("ws://", "")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // A device that knows another server connects to that.
    let mut client = stack.open("comes", "web/tab", &endpoints);
    assert_eq!(client.connected().await, endpoints[1]);
    drop(stays);
    leaving.exited(PATIENCE).await;
}

async fn a_drain_ends_when_nobody_is_left(setup: Setup, via: Via) {
    let mut stack = start(setup, 1, LONG).await;
    let mut raws = Vec::new();
    for user in users("user", 5) {
        raws.push(log_in(&stack, user.as_str(), via).await);
    }
    // A connection before its login does not delay the drain either.
    let _arriving = Raw::connect(&stack, 0, via).await;
    let mut leaving = DrainingServer::drain_first(&mut stack).await;
    let stays = raws.remove(0);
    drop(raws);
    wait_until("the others have left", PATIENCE, async || {
        stack.cluster().routes().locate(&users("user", 5)[1..]).await.unwrap().iter().all(Vec::is_empty)
    })
    .await;
    assert!(!leaving.has_exited(), "one is still there");
    drop(stays);
    // It does not keep asking the devices that have left.
    leaving.exited(PATIENCE).await;
}

async fn a_drain_ends_with_the_lease(setup: Setup, via: Via) {
    let lease = Duration::from_secs(1);
    let options = ServerOptions { drain_grace: LONG, lease, ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 1, options).await;
    let mut raws = [log_in(&stack, "first", via).await, log_in(&stack, "second", via).await];
    let id = stack.server_id(&stack.servers[0]).await;
    let leaving = DrainingServer::drain_first(&mut stack).await;
    // Simulates a Redis that lost its data. From now on nothing is sent to these devices.
    stack.cluster().routes().end_server_lease(&id).await.unwrap();
    for raw in &mut raws {
        assert_eq!(raw.closed().await, CloseCode::GoingAway);
    }
    leaving.exited(PATIENCE).await;
}

#[tokio::test]
async fn a_device_that_says_hello_to_a_draining_server_is_sent_elsewhere() {
    for via in [Via::Quic, Via::WebSocket] {
        let mut stack = Stack::start(Setup::Embedded, 1).await;
        let mut raw = Raw::connect(&stack, 0, via).await;
        let leaving = stack.servers.remove(0);
        let late = async {
            raw.hello(token("late")).await;
            raw.heard().await
        };
        // In this order, the drain has begun before the device sends its `Hello`.
        let ((), heard) = tokio::join!(biased; leaving.shutdown(), late);
        assert_eq!(heard, Heard::Closed(CloseCode::GoingAway), "{via:?}");
    }
}

#[tokio::test]
async fn who_knocks_as_the_drain_begins_is_answered() {
    // On one thread, the drain starts at every point between a device's first packet and its last.
    for moment in 0..20 {
        let mut stack = start(Setup::Embedded, 1, LONG).await;
        let endpoint = stack.servers[0].endpoint(Via::Quic);
        // Stays connected until all are answered.
        let stays = log_in(&stack, "stays", Via::Quic).await;
        let server = stack.servers.remove(0);
        let knocking = async {
            let knocks = (0..10).map(|_| Raw::quic(&endpoint, &stack.certificate));
            for mut let_in in join_all(knocks).await.into_iter().flatten() {
                let heard = let_in.heard().await;
                assert!(matches!(heard, Heard::Closed(_)), "{heard:?}");
            }
            drop(stays);
        };
        let leaving = async {
            for _ in 0..moment {
                yield_now().await;
            }
            server.shutdown().await;
        };
        tokio::join!(knocking, leaving);
    }
}
