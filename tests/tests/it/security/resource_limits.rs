//! Server resources that one user, or a connection before its login, can use.

use im_proto::{
    frame,
    limits::{MAX_HELLO_BYTES, MAX_SIGNAL_BYTES},
    pb,
    pb::frame::Body,
};
use im_sdk::{
    Signal,
    backend::{Im, Incoming},
    client::CloseCode,
    cluster::{BusEvent, Cluster, ClusterConfig, LoginPolicy, Publication, Subscription},
    id::UserId,
};
use im_server::{Server, ServerConfig, dev};
use im_tests::{
    ImServer, NatsServer, RedisServer, Setup, Stack, Via,
    memory::{Memory, mib},
    raw::{Heard, Raw, hello},
    stack::{Certificate, PATIENCE, ServerOptions, StackServer, variables},
    wait_until,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn server_config() -> ServerConfig {
    let mut config = dev::config().unwrap();
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config.quic = None;
    config
}

async fn try_to_log_in(server: &Server, user: &str, device: &str) -> Result<Raw, CloseCode> {
    let mut raw = Raw::websocket(&server.endpoints()[0]).await;
    let Body::Hello(mut hello) = hello(dev::token(&UserId::parse(user).unwrap()).unwrap()) else {
        unreachable!()
    };
    hello.device = Some(pb::Device { terminal: pb::Terminal::Web.into(), id: device.to_owned() });
    raw.send_frame(Body::Hello(hello)).await;
    match raw.heard().await {
        Heard::Frame(Body::Welcome(_)) => Ok(raw),
        Heard::Closed(code) => Err(code),
        other => panic!("{other:?}"),
    }
}

async fn next_sync(syncs: &mut Subscription) -> pb::UpstreamSync {
    let event = timeout(PATIENCE, syncs.next()).await.expect("a sync comes");
    let Some(BusEvent::Message(message)) = event else { panic!("{event:?}") };
    pb::UpstreamSync::decode(message.payload).unwrap()
}

/// Returns a sync from this seq of the inbox.
fn sync(seq: u64) -> pb::Sync {
    pb::Sync { cursors: vec![pb::Cursor { channel: String::new(), seq, id: seq }] }
}

#[tokio::test]
async fn one_sync_of_a_connection_is_under_way_and_the_latest_follows() {
    let cluster = Cluster::embedded();
    let server = Server::start(server_config(), cluster.clone()).await.unwrap();
    let (names, bus) = (cluster.names(), cluster.bus());
    // A back end that this test simulates.
    let mut syncs = bus.queue_subscribe(names.upstream_sync(), names.backends()).await.unwrap();
    let mut bob = try_to_log_in(&server, "bob", "one").await.unwrap();
    let first = next_sync(&mut syncs).await;
    for seq in 1..=15 {
        bob.send_frame(Body::Sync(sync(seq))).await;
    }
    // The server has read all of them when it answers this.
    bob.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    while !matches!(bob.heard().await, Heard::Frame(Body::Pong(_))) {}
    let mut carol = try_to_log_in(&server, "carol", "one").await.unwrap();
    assert_eq!(next_sync(&mut syncs).await.user, "carol", "and none of bob's in between");
    let end = async |of: &pb::UpstreamSync| {
        let effect =
            Some(pb::record::Effect::SyncEnded(pb::SyncEnded { number: of.number, ..Default::default() }));
        let record = pb::Record { connections: vec![of.connection], effect, ..pb::Record::default() };
        let envelope =
            pb::Envelope { publisher: "test".into(), records: vec![record], ..pb::Envelope::default() };
        let payload = envelope.encode_to_vec().into();
        bus.publish(Publication { subject: names.server(server.id()), return_to: None, payload })
            .await
            .unwrap();
    };
    end(&first).await;
    let second = next_sync(&mut syncs).await;
    assert_eq!((second.user.as_str(), pb::Sync::decode(second.sync.clone()).unwrap()), ("bob", sync(15)));
    end(&second).await;
    carol.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    while !matches!(carol.heard().await, Heard::Frame(Body::Pong(_))) {}
    bob.send_frame(Body::Sync(sync(16))).await;
    assert_eq!(
        pb::Sync::decode(next_sync(&mut syncs).await.sync).unwrap(),
        sync(16),
        "and no other one before it"
    );
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more_whatever_the_policy() {
    let mut config = server_config();
    config.login_policy = LoginPolicy::Unlimited;
    config.limits.max_devices_per_user = 3;
    let server = Server::start(config, Cluster::embedded()).await.unwrap();
    let mut there = Vec::new();
    for device in ["a", "b", "c"] {
        there.push(try_to_log_in(&server, "mallory", device).await.unwrap());
    }
    assert_eq!(try_to_log_in(&server, "mallory", "d").await.err(), Some(CloseCode::Overloaded));
    assert!(try_to_log_in(&server, "bob", "a").await.is_ok(), "others are let in");
    there.pop();
    wait_until("a place came free", PATIENCE, async || try_to_log_in(&server, "mallory", "d").await.is_ok())
        .await;
}

#[tokio::test]
async fn who_connects_again_and_again_is_kept_out_alone() {
    let mut config = server_config();
    config.limits.max_connects_per_second_per_user = 1;
    let server = Server::start(config, Cluster::embedded()).await.unwrap();
    let mut let_in = 0;
    while let Ok(raw) = try_to_log_in(&server, "mallory", "a").await {
        drop(raw);
        let_in += 1;
        assert!(let_in < 500, "it is never kept out");
    }
    assert!(let_in >= 60, "a network that comes and goes is no reason: {let_in}");
    assert!(try_to_log_in(&server, "bob", "a").await.is_ok(), "others are let in");
}

#[tokio::test]
async fn a_stranger_is_told_no_more_than_that_the_token_is_wrong() {
    for explain in [false, true] {
        let mut config = server_config();
        config.explain_refusals = explain;
        let server = Server::start(config, Cluster::embedded()).await.unwrap();
        let mut socket = tokio_tungstenite::connect_async(&server.endpoints()[0]).await.unwrap().0;
        // {"alg":"HS256","kid":"nope"}
        let body = hello("eyJhbGciOiJIUzI1NiIsImtpZCI6Im5vcGUifQ.e30.e30".to_owned());
        let message = tokio_tungstenite::tungstenite::Message::Binary(frame::encode(body));
        futures_util::SinkExt::send(&mut socket, message).await.unwrap();
        let closed = timeout(PATIENCE, futures_util::StreamExt::next(&mut socket)).await.unwrap();
        let told = format!("{closed:?}");
        assert!(told.contains("token"), "{told}");
        assert_eq!(told.contains(dev::KEY_ID), explain, "{told}");
    }
}

#[tokio::test]
async fn a_signal_is_small() {
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = stack.backend().await;
    let _service = im_tests::permissive_handler::PermissiveHandler::default().serve(&im).await;
    let alice = im_tests::permissive_handler::device(&stack, "alice", "web/tab", 0, Via::WebSocket).await;
    let mut bob = Raw::connect(&stack, 0, Via::WebSocket).await;
    bob.log_in("bob").await;
    let signal = |bytes: usize| Signal::custom("app.moved", vec![7; bytes]);
    assert!(
        !alice.client().signal("bob".parse::<UserId>().unwrap(), signal(MAX_SIGNAL_BYTES)).await,
        "it does not go out"
    );
    // An oversized signal of a client without that check is not passed on either; the next one is.
    let mut mallory = Raw::connect(&stack, 0, Via::WebSocket).await;
    mallory.log_in("mallory").await;
    for bytes in [MAX_SIGNAL_BYTES, 100] {
        let custom = pb::Custom { kind: "app.moved".into(), data: vec![bytes as u8; bytes].into() };
        let body = Some(pb::signal::Body::Custom(custom));
        mallory
            .send_frame(Body::Signal(pb::Signal { to: "bob".into(), body, ..pb::Signal::default() }))
            .await;
    }
    let heard = loop {
        if let Heard::Frame(Body::Signalled(signalled)) = bob.heard().await {
            break signalled;
        }
    };
    assert!(heard.encoded_len() < 1000, "{}", heard.encoded_len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_write_is_not_logged_whatever_is_asked_for() {
    const SECRET: &str = "meet me where nobody reads logs";
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let certificate = Certificate::make();
    let mut variables = variables(&ServerOptions::default(), &certificate);
    variables.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let server = ImServer::start("s1", &redis.address(), &nats.address(), &variables).await;
    let cluster = Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let im = Im::with_cluster(cluster).await.unwrap();
    let _service = im.serve(async |incoming: Incoming| Ok(incoming.accept())).await.unwrap();
    let mut alice = Raw::websocket(&server.endpoints()[1]).await;
    alice.log_in("alice").await;
    let text = pb::content::Body::Text(pb::Text { text: SECRET.into() });
    let publish =
        pb::Publish { number: 1, to: "bob".into(), content: Some(text.into()), ..Default::default() };
    alice.send_frame(Body::Publish(publish)).await;
    while !matches!(alice.heard().await, Heard::Frame(Body::PublishResult(_))) {}
    let output = server.output();
    assert!(output.contains("DEBUG") && output.contains("im_server::"), "it says much: {output}");
    assert!(!output.contains(SECRET) && !output.contains("nobody reads"), "{output}");
}

const STRANGERS: u64 = 800;

/// Memory of a connection before login, as SECURITY.md promises it.
const BYTES_OF_A_STRANGER: u64 = 16 * 1024;

/// Opens a WebSocket and sends a message without its last byte.
async fn send_all_but_one_byte(endpoint: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("ws://").unwrap()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    // A whole masked binary frame (RFC 6455, section 5.2).
    let mut message = vec![0x82, 0x80 | 127];
    message.extend_from_slice(&(bytes as u64).to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.resize(message.len() + bytes - 1, 7);
    // The server may have closed already.
    let _ = stream.write_all(&message).await;
    stream
}

fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cost_little_and_a_second_crowd_no_more() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let stack = Stack::start(Setup::Clustered, 1).await;
    let StackServer::Process(server) = &stack.servers[0] else { unreachable!() };
    let endpoint = stack.servers[0].endpoint(Via::WebSocket);
    let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
    raw.log_in("bob").await;
    let before = Memory::of(server.process_id());
    let (largest, too_large) = (MAX_HELLO_BYTES + 5, 200 * 1024);
    let files_before = open_files(server.process_id());
    let mut peaks = Vec::new();
    for _ in 0..2 {
        let mut there = Vec::new();
        for number in 0..STRANGERS {
            let bytes = if number % 2 == 0 { largest } else { too_large };
            there.push(send_all_but_one_byte(&endpoint, bytes).await);
        }
        // A connection that sends more than a `Hello` is closed at once, the others when their time is up.
        let mut end = Vec::new();
        timeout(PATIENCE, there[1].read_to_end(&mut end)).await.expect("it is closed").ok();
        let during = Memory::of(server.process_id());
        let each = during.peak_since(before) / STRANGERS;
        println!("{STRANGERS} strangers: {each} bytes each, {before} before, {during} then");
        assert!(each <= BYTES_OF_A_STRANGER, "a stranger takes {each} bytes");
        peaks.push(during.peak);
        drop(there);
        wait_until("all are gone", PATIENCE, async || open_files(server.process_id()) <= files_before + 5)
            .await;
    }
    assert!(
        mib(peaks[1].saturating_sub(peaks[0])) < 3.0,
        "what the first ones took is used again: {peaks:?}"
    );
    raw.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    while !matches!(raw.heard().await, Heard::Frame(Body::Pong(_))) {}
}
