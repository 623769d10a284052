//! Diagnostics for operators: the commonest mistakes of a deployment are logged, throttled, by the process that notices
//! them.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::close::CloseCode;
use im_sdk::{
    backend::{Im, Incoming, Message, user},
    client::{Client, ClientConfig, Event},
    cluster::{Cluster, ClusterConfig, ConnectError, MemoryBus, MemoryRoutes, NatsBus},
    id::UserId,
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig, TlsConfig};
use im_tests::{
    ImServer, LogCapture, NatsServer, RedisOptions, RedisServer, Setup, Stack, TestClient, Via,
    raw::{Heard, Raw},
    stack::{AUDIENCE, Certificate, ISSUER, KEY_ID, PATIENCE, SECRET, ServerOptions, token},
    wait_until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const NONE: [&str; 0] = [];

fn mint(key_id: &str, secret: &str, issuer: &str, audience: &str) -> String {
    let key = SigningKey::hs256(key_id, secret.as_bytes()).unwrap();
    let hour = Duration::from_secs(3600);
    TokenMinter::new(key, issuer, audience).mint(&UserId::parse("mallory").unwrap(), hour).unwrap()
}

async fn wait_for_line(log: &LogCapture, something: &str) {
    wait_until(something, PATIENCE, async || !log.lines(something).is_empty()).await;
}

/// Returns the close reason of a device that connects to an endpoint.
async fn told(stack: &Stack, endpoint: &str, token: String) -> String {
    let device = "web/tab".parse().unwrap();
    let mut config = ClientConfig::new(vec![endpoint.parse().unwrap()], device, Arc::new(token));
    config.trust = stack.certificate.trust();
    let client = Client::open(config).unwrap();
    client.connect();
    let reason = |event: &Event| match event {
        Event::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    TestClient::new(client).next("to be told why", reason).await
}

#[tokio::test]
async fn refused_tokens_are_logged_by_reason_and_devices_hear_the_error_alone() {
    const OTHER: &str = "another secret that is long enough for HS256";
    let log = LogCapture::start();
    let stack = Stack::start(Setup::Embedded, 1).await;
    for via in [Via::WebSocket, Via::Quic] {
        let endpoint = stack.servers[0].endpoint(via);
        for (token, expected) in [
            (mint(KEY_ID, OTHER, ISSUER, AUDIENCE), format!("is not the key {KEY_ID:?} of this server")),
            (
                mint("k9", SECRET, ISSUER, AUDIENCE),
                format!("names the key \"k9\"; this server knows {KEY_ID:?}"),
            ),
            (mint(KEY_ID, SECRET, "other", AUDIENCE), format!("its iss is not {ISSUER:?}")),
            (mint(KEY_ID, SECRET, ISSUER, "other"), format!("its aud is not {AUDIENCE:?}")),
        ] {
            let signature = token.rsplit('.').next().unwrap().to_owned();
            let reason = told(&stack, &endpoint, token).await;
            // The values that the server expects are for its operator alone.
            assert!(reason.contains("token"), "{reason}");
            for secret in [KEY_ID, ISSUER, AUDIENCE] {
                assert!(!reason.contains(&format!("{secret:?}")), "{reason}");
            }
            let escaped = format!("{expected:?}");
            let lines = log.lines(escaped.trim_matches('"'));
            assert_eq!(lines.len(), 1, "of both transports, one line in a while: {}", log.text());
            assert!(lines[0].contains("WARN") && lines[0].contains("peer=127.0.0.1"), "{lines:?}");
            assert!(!log.text().contains(&signature) && !log.text().contains("mallory"));
        }
    }
    let before = log.lines("token refused").len();
    for _ in 0..100 {
        let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
        raw.hello("nonsense".to_owned()).await;
        assert_eq!(raw.heard().await, Heard::Closed(CloseCode::TokenInvalid));
    }
    let after = log.lines("token refused").len();
    // One for this kind; more only if the machine takes ten seconds for it.
    assert!((before + 1..before + 10).contains(&after), "{}", log.text());
}

#[tokio::test]
async fn that_no_back_end_listens_is_said_once_and_when_it_is_over() {
    for setup in [Setup::Embedded, Setup::Clustered] {
        let log = LogCapture::start();
        let stack = Stack::start(setup, 1).await;
        let said = |something: &str| match &stack.servers[0] {
            im_tests::stack::StackServer::Process(server) => server.output().matches(something).count(),
            im_tests::stack::StackServer::Embedded(_) => log.lines(something).len(),
        };
        let (gone, back) = ("no back end is listening: publishes", "a back end is listening again");
        // No device publishes or sends requests: only its sync is lost.
        let mut raws = Vec::new();
        for number in 0..5 {
            let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
            raw.log_in(&format!("user-{number}")).await;
            raws.push(raw);
        }
        wait_until("the line", PATIENCE, async || said(gone) > 0).await;
        // The server probes for a back end, and notices each time that there is none: it sends itself an
        // envelope after each probe.
        let id = stack.server_id(&stack.servers[0]).await;
        let own = stack.cluster().names().server(&id);
        let mut asked = stack.cluster().bus().subscribe(own).await.unwrap();
        for _ in 0..2 {
            timeout(PATIENCE, asked.next()).await.expect("it asks").unwrap();
        }
        assert_eq!((said(gone), said(back)), (1, 0), "{setup:?}");
        let im = stack.backend().await;
        let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) });
        let _service = service.await.unwrap();
        wait_until("the line that it is over", PATIENCE, async || said(back) > 0).await;
        assert_eq!((said(gone), said(back)), (1, 1), "{setup:?}");
    }
}

fn address(endpoint: &str) -> SocketAddr {
    endpoint.split("//").nth(1).unwrap().parse().unwrap()
}

/// Returns the bytes that a port answers before it closes.
async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is answered, and closed").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Returns options with longer times than any test waits.
fn patient(websocket_tls: bool) -> ServerOptions {
    ServerOptions { websocket_tls, hello_timeout: Duration::from_secs(60), ..ServerOptions::default() }
}

#[tokio::test]
async fn a_plain_port_answers_http_and_tls() {
    let log = LogCapture::start();
    let stack = Stack::start_with(Setup::Embedded, 1, patient(false)).await;
    let endpoint = stack.servers[0].endpoint(Via::WebSocket);
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n"] {
        let answer = ask(address(&endpoint), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"), "{answer}");
    }
    let large = format!("POST / HTTP/1.1\r\nContent-Length: 30000\r\n\r\n{}", "x".repeat(30_000));
    assert!(ask(address(&endpoint), large.as_bytes()).await.starts_with("HTTP/1.1 405 "));
    assert!(log.lines("TLS").is_empty(), "{}", log.text());
    let start = Instant::now();
    let reason = told(&stack, &endpoint.replace("ws://", "wss://"), token("alice")).await;
    assert!(reason.contains("does not speak TLS"), "{reason}");
    assert!(start.elapsed() < Duration::from_secs(4), "it waited for its whole time");
    wait_for_line(&log, "TLS handshake on the plain WebSocket port").await;
}

#[tokio::test]
async fn a_port_with_tls_answers_who_has_none() {
    let log = LogCapture::start();
    let stack = Stack::start_with(Setup::Embedded, 1, patient(true)).await;
    let endpoint = stack.servers[0].endpoint(Via::WebSocket);
    let answer = ask(address(&endpoint), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("wss://"), "{answer}");
    wait_for_line(&log, "plain HTTP on the WebSocket port").await;
    let reason = told(&stack, &endpoint.replace("wss://", "ws://"), token("alice")).await;
    assert!(reason.contains("400") && reason.contains("wss://"), "{reason}");
    // Valid devices can still connect.
    stack.connect("alice", "web/tab", 0, Via::WebSocket).await;
}

#[tokio::test]
async fn a_closed_server_leaves_its_addresses_to_the_next() {
    let certificate = Certificate::make();
    let key = || VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).unwrap();
    let start = async |websocket: SocketAddr, quic: SocketAddr| {
        let mut config = ServerConfig::new("s", TokenVerifier::new(ISSUER, AUDIENCE, [key()]));
        (config.websocket, config.quic) = (Some(websocket), Some(quic));
        let (cert, key) = (certificate.certificate.clone(), certificate.key.clone());
        config.tls = TlsConfig::Files { certificate: cert, key };
        Server::start(config, Cluster::embedded()).await
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut server = start(any, any).await.unwrap();
    let (websocket, quic) = (server.websocket_addr().unwrap(), server.quic_addr().unwrap());
    for _ in 0..5 {
        let mut device = Raw::quic(&format!("quic://{quic}"), &certificate).await.unwrap();
        device.log_in("alice").await;
        let mut other = Raw::websocket(&format!("ws://{websocket}")).await;
        other.log_in("bob").await;
        server.close().await;
        server = start(websocket, quic).await.expect("the addresses are free");
    }
}

#[tokio::test]
async fn a_redis_that_throws_logs_away_is_warned_of() {
    let policy = |name: &str| RedisOptions {
        arguments: vec!["--maxmemory-policy".into(), name.into()],
        ..RedisOptions::default()
    };
    let nats = NatsServer::start().await;
    let bad = RedisServer::start_with(policy("allkeys-lru")).await;
    let log = LogCapture::start();
    let connect = async |redis: &RedisServer| {
        Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap()
    };
    connect(&RedisServer::start_with(policy("noeviction")).await).await;
    assert!(log.lines("maxmemory-policy").is_empty(), "{}", log.text());
    connect(&bad).await;
    let lines = log.lines("set maxmemory-policy to noeviction");
    assert_eq!(lines.len(), 1, "{}", log.text());
    assert!(
        lines[0].contains("allkeys-lru")
            && lines[0].contains(bad.address().strip_prefix("redis://").unwrap())
    );

    // The server reports it too, as plain text that suits a file.
    let variables = [("IM_AUTH_ISSUER", "i"), ("IM_AUTH_AUDIENCE", "a"), ("IM_AUTH_HS256_KEY_ID", "k")];
    let mut variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    variables.push(("IM_AUTH_HS256_SECRET".to_owned(), SECRET.to_owned()));
    let server = ImServer::start("s1", &bad.address(), &nats.address(), &variables).await;
    let output = server.output();
    assert!(output.contains("set maxmemory-policy to noeviction") && !output.contains('\u{1b}'), "{output}");
}

#[tokio::test]
async fn errors_name_the_redis_that_is_away() {
    let (mut redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let place = format!("Redis at {}", redis.address().strip_prefix("redis://").unwrap());
    let im = Im::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let send = async || {
        let sent = im.send(Message::to(user("alice")).text("hi")).await;
        sent.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(send().await, "");
    redis.stop();
    let frozen = send().await;
    assert!(frozen.contains(&format!("{place} did not answer within 2s")), "{frozen}");
    redis.kill();
    wait_until("the lost connection is noticed", PATIENCE, async || {
        let away = send().await;
        assert!(away.contains(&place), "{away}");
        away.contains(&format!("{place} is out of reach: Connection refused"))
    })
    .await;
    let asked = im.cluster().routes().live_servers().await.unwrap_err().to_string();
    assert!(asked.contains(&place), "{asked}");
}

#[tokio::test]
async fn a_full_redis_is_named_with_what_to_do() {
    let arguments = ["--maxmemory", "1"].map(str::to_owned).into();
    let redis = RedisServer::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await;
    let log = im_sdk::cluster::RedisLog::connect(&ClusterConfig::new([redis.address()], NONE)).await.unwrap();
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), Arc::new(log));
    let im = Im::with_cluster(cluster).await.unwrap();
    let error = im.send(Message::to(user("alice")).text("hi")).await.unwrap_err().to_string();
    let place = redis.address().replace("redis://", "Redis at ");
    assert!(error.contains(&place) && error.contains("its memory is full: give it more"), "{error}");
}

#[tokio::test]
async fn an_outage_of_nats_is_two_lines_with_its_address() {
    let log = LogCapture::start();
    let mut nats = NatsServer::start().await;
    let address = nats.address().strip_prefix("nats://").unwrap().to_owned();
    let _bus = NatsBus::connect(&ClusterConfig::new(NONE, [nats.address()])).await.unwrap();
    nats.kill();
    wait_for_line(&log, "cannot connect to NATS").await;
    nats.restart().await;
    wait_for_line(&log, "reconnected to NATS").await;
    let warnings: Vec<_> = log
        .lines("WARN")
        .into_iter()
        .filter(|line| line.contains("im_sdk") && line.contains(&address))
        .collect();
    assert_eq!(warnings.len(), 2, "{}", log.text());
    assert!(warnings[0].contains("lost the connection to NATS"), "{warnings:?}");
    let back = log.lines("reconnected to NATS");
    assert!(back[0].contains(&address) && back[0].contains("failed_tries"), "{back:?}");
}

#[tokio::test]
async fn what_answers_where_a_service_should_be_is_named() {
    let (redis, nats) = (RedisServer::start().await, NatsServer::start().await);
    let redis_port = redis.address().replace("redis://", "");
    let nats_port = nats.address().replace("nats://", "");
    let connect = async |redis: String, nats: String| {
        let mut config = ClusterConfig::new([redis], [nats]);
        config.connect_timeout = Duration::from_millis(800);
        Cluster::connect(config).await.unwrap_err()
    };
    let error = connect(format!("redis://:hunter2@{nats_port}"), nats.address()).await;
    assert!(matches!(error, ConnectError::Unreachable { service: "Redis", .. }), "{error:?}");
    let expected = format!("cannot connect to Redis at {nats_port}: found NATS there instead of Redis");
    assert_eq!(error.to_string(), expected);
    let error = connect(redis.address(), format!("nats://{redis_port}")).await.to_string();
    assert_eq!(error, format!("cannot connect to NATS at {redis_port}: found Redis there instead of NATS"));
    let http = Stack::start(Setup::Embedded, 1).await;
    let port = http.servers[0].endpoint(Via::WebSocket).replace("ws://", "");
    let error = connect(format!("redis://{port}"), nats.address()).await.to_string();
    assert!(
        error.starts_with(&format!("cannot connect to Redis at {port}: ")) && !error.contains('\n'),
        "{error}"
    );
}
