//! Second and third shutdown signals cut a drain short.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use im_sdk::{
    backend::{Message, user},
    client::CloseCode,
    id::{ChannelId, UserId},
};
use im_tests::{
    DrainingServer, ImServer, Setup, Stack, Via,
    channels::serve,
    raw::Raw,
    stack::{PATIENCE, ServerOptions, StackServer, variables},
};

const VIAS: [Via; 2] = [Via::Quic, Via::WebSocket];

/// Longer than any test waits.
const GRACE: Duration = Duration::from_secs(3600);

/// Time within which a notified device has moved. Without notice, a QUIC device moves when its heartbeat (30 s)
/// expires.
const SOON: Duration = Duration::from_secs(10);

/// Time limit of a shutdown in a hurry, which takes two seconds, on a busy machine.
const HURRIED: Duration = Duration::from_secs(5);

async fn start(setup: Setup, servers: usize) -> Stack {
    Stack::start_with(setup, servers, ServerOptions { drain_grace: GRACE, ..ServerOptions::default() }).await
}

fn parse(users: &[&str]) -> Vec<UserId> {
    users.iter().map(|user| user.parse().unwrap()).collect()
}

/// Connects a device that knows no other server, over each transport.
async fn stranded(stack: &Stack) -> [Raw; 2] {
    let [mut quic, mut websocket] =
        [Raw::connect(stack, 0, Via::Quic).await, Raw::connect(stack, 0, Via::WebSocket).await];
    quic.log_in("stranded-quic").await;
    websocket.log_in("stranded-websocket").await;
    [quic, websocket]
}

/// Starts to drain the first server, a process.
async fn drain(stack: &mut Stack) -> ImServer {
    let DrainingServer::Process(server) = DrainingServer::drain_first(stack).await else { unreachable!() };
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_sends_everybody_elsewhere_at_once() {
    let mut stack = start(Setup::Clustered, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["device-0", "device-1"]).await.unwrap();
    let mut devices = Vec::new();
    for number in 0..6 {
        let via = VIAS[number % 2];
        let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
        let mut device = stack.open(&format!("device-{number}"), "web/tab", &endpoints);
        assert_eq!(device.connected().await, endpoints[0]);
        device.up_to_date().await;
        devices.push(device);
    }
    let mut stranded = stranded(&stack).await;
    let id = stack.server_id(&stack.servers[0]).await;
    let team: ChannelId = "team".parse().unwrap();
    let routes = stack.cluster().routes().clone();
    assert!(routes.channel_servers(&team).await.unwrap().contains(&id));
    let mut server = drain(&mut stack).await;

    server.ask_to_end();
    let asked = Instant::now();
    server.exited(HURRIED).await;
    for (number, device) in devices.iter_mut().enumerate() {
        // Some devices may have been asked to leave before, and have left by themselves.
        assert_eq!(device.connected().await, stack.servers[0].endpoint(VIAS[number % 2]));
    }
    assert!(asked.elapsed() < SOON, "some device came back after {:?}", asked.elapsed());
    for raw in &mut stranded {
        assert_eq!(raw.closed().await, CloseCode::GoingAway);
    }
    let left = routes.locate(&parse(&["stranded-quic", "stranded-websocket"])).await.unwrap();
    assert!(left.iter().all(Vec::is_empty), "routes are left: {left:?}");
    assert!(routes.live_servers().await.unwrap().iter().all(|server| server.id != id), "its lease has ended");
    assert!(!routes.channel_servers(&team).await.unwrap().contains(&id), "its channels' routes are removed");
    for (number, device) in devices.iter_mut().enumerate() {
        im.send(Message::to(user(format!("device-{number}"))).text("still there")).await.unwrap();
        assert_eq!(device.text().await, "still there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_holds_up_no_hurry() {
    let mut stack = start(Setup::Clustered, 0).await;
    let services = stack.services().unwrap();
    let options = ServerOptions { drain_grace: GRACE, ..ServerOptions::default() };
    let mut variables = variables(&options, &stack.certificate);
    // Only the second signal ends waits for Redis.
    variables.push(("IM_CLUSTER_REQUEST_TIMEOUT_MS".to_owned(), "60000".to_owned()));
    let (redis, nats) = (services.redis.address(), services.nats.address());
    stack.servers.push(StackServer::Process(ImServer::start("s1", &redis, &nats, &variables).await));
    let mut stranded = stranded(&stack).await;
    let mut server = drain(&mut stack).await;
    let services = stack.services().unwrap();
    services.redis.stop();
    services.nats.stop();
    server.ask_to_end();
    for raw in &mut stranded {
        assert_eq!(raw.closed().await, CloseCode::GoingAway);
    }
    server.exited(HURRIED).await;
    services.redis.resume();
    services.nats.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_signal_stops_at_once() {
    let mut stack = start(Setup::Clustered, 1).await;
    let _stranded = stranded(&stack).await;
    let mut server = drain(&mut stack).await;
    // Without a stopped Redis, the second signal would be enough.
    stack.services().unwrap().redis.stop();
    server.ask_to_end();
    server.wait_for_log("second signal").await;
    server.ask_to_end();
    server.exited(HURRIED).await;
    let output = server.output();
    assert!(output.contains("third signal"), "{output}");
    stack.services().unwrap().redis.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_server_hurries_too() {
    let mut stack = start(Setup::Embedded, 1).await;
    let mut stranded = stranded(&stack).await;
    let StackServer::Embedded(server) = stack.servers.remove(0) else { unreachable!() };
    let asked = Instant::now();
    let closed = async {
        for raw in &mut stranded {
            assert_eq!(raw.closed().await, CloseCode::GoingAway);
        }
    };
    tokio::join!(server.shutdown_until(ready(())), closed);
    assert!(asked.elapsed() < PATIENCE);
    let left = stack.cluster().routes().locate(&parse(&["stranded-quic", "stranded-websocket"])).await;
    assert!(left.unwrap().iter().all(Vec::is_empty));
}
