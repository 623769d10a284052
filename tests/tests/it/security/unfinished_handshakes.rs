//! Connections that never finish their handshake: limited in time and number, and no obstacle to others.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use im_proto::close::CloseCode;
use im_sdk::backend::{Message, user};
use im_tests::{
    Setup, Stack, Via,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions},
};
use quinn::ConnectionError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Address of all devices unless stated otherwise.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Another local address; all of 127.0.0.0/8 is this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// An upgrade request that does not end.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

fn options(hello_timeout: u64) -> ServerOptions {
    ServerOptions { hello_timeout: Duration::from_millis(hello_timeout), ..ServerOptions::default() }
}

fn address(stack: &Stack) -> SocketAddr {
    let endpoint = stack.servers[0].endpoint(Via::WebSocket);
    endpoint.split("//").nth(1).unwrap().parse().unwrap()
}

async fn connect(stack: &Stack, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(address(stack)).await.unwrap()
}

/// Waits until the server has closed a connection in any way.
async fn ended(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server ends it in time");
}

/// Returns whether the server answers an upgrade request rather than closing the connection.
async fn is_let_in(stack: &Stack, from: Ipv4Addr) -> bool {
    let mut stream = connect(stack, from).await;
    let _ = stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await;
    let mut answer = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("it does one or the other");
    read.is_ok() && answer == *b"HTTP/1.1 101"
}

async fn check_others(stack: &Stack, via: Via) {
    let im = stack.backend().await;
    let mut bystander = stack.connect("bystander", "web/tab", 0, via).await;
    im.send(Message::to(user("bystander")).text("still here?")).await.unwrap();
    assert_eq!(bystander.text().await, "still here?");
}

#[tokio::test]
async fn who_stalls_on_the_way_in_is_dropped() {
    let tls_hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let stalls: [(bool, &[u8]); 5] = [
        (false, b""),
        (false, b"GET / HT"),
        (false, REQUEST.as_bytes()),
        (true, b""),
        // The beginning of a TLS handshake.
        (true, tls_hello),
    ];
    for websocket_tls in [false, true] {
        let stack =
            Stack::start_with(Setup::Embedded, 1, ServerOptions { websocket_tls, ..options(500) }).await;
        let mut stalled = Vec::new();
        for (_, bytes) in stalls.iter().filter(|(tls, _)| *tls == websocket_tls) {
            let mut stream = connect(&stack, HERE).await;
            stream.write_all(bytes).await.unwrap();
            stalled.push(stream);
        }
        for mut stream in stalled {
            ended(&mut stream).await;
        }
        check_others(&stack, Via::WebSocket).await;
    }
}

#[tokio::test]
async fn a_quic_connection_without_a_stream_is_dropped() {
    let stack = Stack::start_with(Setup::Embedded, 1, options(500)).await;
    // A stream exists for the server once something is sent on it.
    let mut raw = Raw::connect(&stack, 0, Via::Quic).await;
    assert_eq!(raw.heard().await, Heard::Closed(CloseCode::Unknown(0)));
    check_others(&stack, Via::Quic).await;
}

#[tokio::test]
async fn a_request_has_its_time_as_a_whole() {
    let stack = Stack::start_with(Setup::Embedded, 1, options(1000)).await;
    let (mut from_server, mut to_server) = connect(&stack, HERE).await.into_split();
    let started = Instant::now();
    // A byte now and then, each well within the time.
    let dripping = tokio::spawn(async move {
        while to_server.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, from_server.read_to_end(&mut bytes)).await.expect("it is ended");
    assert!(started.elapsed() >= Duration::from_secs(1), "not for what it sent: {bytes:?}");
    timeout(PATIENCE, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn header_bombs_are_dropped_at_once() {
    // A handshake timeout that is not reached.
    let stack = Stack::start_with(Setup::Embedded, 1, options(60_000)).await;
    let line = |number: usize| format!("X-{number}: {}\r\n", "x".repeat(100));
    let many_headers: String = (0..140).map(line).collect();
    let bombs = [
        // A header without an end, a line without an end, and too many headers.
        format!("{REQUEST}Cookie: {}", "x".repeat(100_000)),
        "x".repeat(100_000),
        format!("{REQUEST}{many_headers}\r\n"),
    ];
    for bomb in bombs {
        let mut stream = connect(&stack, HERE).await;
        // The server may close before all of it is sent.
        let _ = stream.write_all(bomb.as_bytes()).await;
        ended(&mut stream).await;
    }
    check_others(&stack, Via::WebSocket).await;
}

#[tokio::test]
async fn a_thousand_from_one_address_leave_room_for_others() {
    const PLACES: usize = 100;
    let limits = ServerOptions { max_handshakes_per_address: PLACES, ..options(5000) };
    let stack = Stack::start_with(Setup::Embedded, 1, limits).await;
    let mut half_open = Vec::new();
    for _ in 0..1000 {
        half_open.push(connect(&stack, HERE).await);
    }
    // The first ones wait for their timeout, the others are dropped.
    for stream in half_open.iter_mut().skip(PLACES) {
        ended(stream).await;
    }
    let mut waiting = 0;
    for stream in half_open.iter_mut().take(PLACES) {
        waiting += usize::from(
            matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        );
    }
    assert_eq!(waiting, PLACES);
    assert!(!is_let_in(&stack, HERE).await);
    assert!(is_let_in(&stack, ELSEWHERE).await);
    for stream in half_open.iter_mut().take(PLACES) {
        ended(stream).await;
    }
    assert!(is_let_in(&stack, HERE).await, "their places are free");
    check_others(&stack, Via::WebSocket).await;
}

#[tokio::test]
async fn places_are_bounded_in_all_and_come_free() {
    let limits = ServerOptions { max_handshakes: 3, ..options(60_000) };
    let stack = Stack::start_with(Setup::Embedded, 1, limits).await;
    let mut half_open = vec![connect(&stack, HERE).await, connect(&stack, ELSEWHERE).await];
    // A connection after its login takes no handshake slot.
    let mut devices = Vec::new();
    for number in 0..5 {
        let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
        raw.log_in(&format!("user-{number}")).await;
        devices.push(raw);
    }
    half_open.push(connect(&stack, ELSEWHERE).await);
    assert!(!is_let_in(&stack, HERE).await);
    // A connection that closes frees its slot.
    half_open.pop();
    im_tests::wait_until("a place is free", PATIENCE, async || is_let_in(&stack, HERE).await).await;
}

#[tokio::test]
async fn quic_clients_prove_their_address_before_they_are_refused() {
    let limits = ServerOptions { max_handshakes: 4, ..options(60_000) };
    let stack = Stack::start_with(Setup::Embedded, 1, limits).await;
    let endpoint = stack.servers[0].endpoint(Via::Quic);
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Raw::quic(&endpoint, &stack.certificate).await.unwrap());
    }
    // Takes the last slot, by a retry.
    silent.push(Raw::quic(&endpoint, &stack.certificate).await.unwrap());
    let refused = Raw::quic(&endpoint, &stack.certificate).await;
    assert!(matches!(refused, Err(ConnectionError::ConnectionClosed(_))), "{refused:?}");
    silent[3].log_in("patient").await;
    let mut next = Raw::quic(&endpoint, &stack.certificate).await.unwrap();
    next.log_in("next").await;
}

#[tokio::test]
async fn who_is_on_the_way_in_holds_up_no_shutdown() {
    let limits = ServerOptions { drain_grace: Duration::from_secs(60), ..options(60_000) };
    let mut stack = Stack::start_with(Setup::Embedded, 1, limits).await;
    let mut stream = connect(&stack, HERE).await;
    stream.write_all(b"GET / HT").await.unwrap();
    let raw = Raw::connect(&stack, 0, Via::Quic).await;
    let server = stack.servers.remove(0);
    timeout(PATIENCE, server.shutdown()).await.expect("nobody is waited for");
    ended(&mut stream).await;
    drop(raw);
}
