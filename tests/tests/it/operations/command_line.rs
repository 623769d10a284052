//! `im-server` as operators run it: `--dev`, `--config FILE`, environment variables, signals, and refusals to
//! start.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path, sync::Arc, time::Duration};

use im_sdk::{
    backend::Im,
    client::{Client, ClientConfig, Event, Trust},
    cluster::ClusterConfig,
};
use im_tests::{
    NatsServer, Program, RedisServer, TestClient,
    stack::{Certificate, PATIENCE},
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

const EXAMPLE: &str = include_str!("../../../../im-server/im-server.example.toml");
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NONE: &[(&str, &str)] = &[];

async fn connect(endpoint: &str, trust: &Trust, device: &str, token: &str) -> TestClient {
    let endpoint = endpoint.parse().unwrap();
    let mut config = ClientConfig::new(vec![endpoint], device.parse().unwrap(), Arc::new(token.to_owned()));
    config.trust = trust.clone();
    let client = Client::open(config).unwrap();
    client.connect();
    let mut client = TestClient::new(client);
    client.next("up to date", |event| matches!(event, Event::UpToDate).then_some(())).await;
    client
}

/// Asserts that alice reaches bob over each endpoint.
async fn relay(endpoints: &[String], trust: &Trust, alice: &str, bob: &str) {
    for (number, endpoint) in endpoints.iter().enumerate() {
        let alice = connect(endpoint, trust, &format!("desktop/{number}"), alice).await;
        let mut bob = connect(endpoint, trust, &format!("desktop/{number}"), bob).await;
        alice.publish("bob", &format!("over {endpoint}")).await.unwrap();
        assert_eq!(bob.text().await, format!("over {endpoint}"));
        alice.client().shutdown().await;
        bob.client().shutdown().await;
    }
}

async fn ends_well(mut program: Program) {
    program.terminate();
    let status = program.ended().await;
    assert!(status.success(), "{status:?}:\n{}", program.output());
}

const DEV: &[&str] = &["--dev", "--websocket-port", "0", "--quic-port", "0"];

#[tokio::test]
async fn dev_relays_between_those_whose_tokens_it_prints() {
    let variables =
        [("IM_SERVER_NAME", "other"), ("IM_SERVER_PORT", "tcp://10.0.0.1:7800"), ("NO_COLOR", "1")];
    let mut program = Program::start("im-server", DEV, &variables);
    program.printed("ready").await;
    let output = program.output();
    let told = |what: &str| {
        let lines = output.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let endpoints = told("endpoint ");
    assert!(matches!(&endpoints[..], [quic, ws] if quic.starts_with("quic://") && ws.starts_with("ws://")));
    let trust = Trust::sha256_hex(&told("certificate-sha256 ")[0]).unwrap();
    relay(&endpoints, &trust, &told("token alice ")[0], &told("token bob ")[0]).await;
    // With `--dev` it reads no configuration, and says so.
    let passed_over: Vec<_> = output.lines().filter(|line| line.contains("variable ignored")).collect();
    assert!(matches!(passed_over[..], [one] if one.contains("IM_SERVER_NAME")), "{output}");
    ends_well(program).await;
}

/// Returns the example file with these addresses, a certificate, and listeners on free ports.
fn adapted(redis: &str, nats: &str, certificate: &Certificate) -> String {
    let path = |path: &Path| path.display().to_string();
    let mut text = EXAMPLE.to_owned();
    for (from, to) in [
        ("redis://127.0.0.1:6379", redis),
        ("nats://127.0.0.1:4222", nats),
        ("0.0.0.0:7800", "127.0.0.1:0"),
        ("0.0.0.0:7801", "127.0.0.1:0"),
        (
            "#certificate = \"/etc/im/tls.crt\"",
            &format!("certificate = \"{}\"", path(&certificate.certificate)),
        ),
        ("#key = \"/etc/im/tls.key\"", &format!("key = \"{}\"", path(&certificate.key))),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    text
}

fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("im-server.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const PASSWORD: &str = "hunter2hunter2";
const WITH_PASSWORD: &str = "authorization { user: im, password: hunter2hunter2 }";

/// Follows the README: the example file, a secret in a variable, and the example back end with the same secret.
#[tokio::test]
async fn the_example_and_a_secret_are_a_deployment() {
    let redis_server = RedisServer::start().await;
    let nats_server = NatsServer::start_with_config(WITH_PASSWORD).await;
    let (redis, nats) = (redis_server.address(), nats_server.address_for("im", PASSWORD));
    let (directory, certificate) = (tempfile::tempdir().unwrap(), Certificate::make());
    let file = write(directory.path(), &adapted(&redis, &nats, &certificate));
    let variables = [
        ("IM_AUTH_HS256_SECRET", SECRET),
        // The variables that Kubernetes sets for a service named im-server.
        ("IM_SERVER_SERVICE_HOST", "10.96.0.1"),
        ("IM_SERVER_PORT", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_PORT_7800_TCP_ADDR", "10.96.0.1"),
        ("RUST_LOG", "trace"),
    ];
    let mut server = Program::start("im-server", &["--config", &file], &variables);
    let im = Im::connect(ClusterConfig::new([redis.clone()], [nats.clone()])).await.unwrap();
    let mut endpoints = Vec::new();
    wait_until("the server is registered", PATIENCE, async || {
        endpoints = im.endpoints().into_iter().flat_map(|server| server.addresses).collect();
        endpoints.len() == 2
    })
    .await;
    let arguments = ["--redis", &redis, "--nats", &nats];
    let mut backend = Program::start("backend", &arguments, &variables[..1]);
    let (alice, bob) = (backend.printed("token for alice: ").await, backend.printed("token for bob: ").await);
    backend.printed("type a user").await;
    relay(&endpoints, &certificate.trust(), &alice, &bob).await;
    // Secrets are never logged, at any level.
    let output = server.output();
    for secret in [SECRET, PASSWORD, &*alice, &*bob] {
        assert!(!output.contains(secret), "{secret}");
    }
    im.shutdown().await;
    server.terminate();
    assert!(server.ended().await.success(), "{}", server.output());
}

/// Starts `im-server` with this file, asserts that it exits with a failure, and returns its output.
async fn refused<V: AsRef<std::ffi::OsStr>>(text: &str, variables: &[(V, V)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), text);
    let mut program = Program::start("im-server", &["--config", &file], variables);
    let status = program.ended().await;
    assert_eq!(status.code(), Some(1), "{}", program.output());
    program.output()
}

#[tokio::test]
async fn it_says_what_is_wrong_before_it_connects() {
    let secret = refused(EXAMPLE, NONE).await;
    assert!(secret.contains("openssl rand -base64 32") && secret.contains("\"k1\""), "{secret}");
    let (name, value) = (OsString::from("IM_SERVER_NAME"), OsString::from_vec(b"\xe9".to_vec()));
    let no_text = refused(EXAMPLE, &[(name, value)]).await;
    assert!(
        no_text.contains("IM_SERVER_NAME is not valid UTF-8") && !no_text.contains("panicked"),
        "{no_text}"
    );
    let typo = EXAMPLE.replace("hs256_secret = \"change me\"", "hs256_secert = \"hunter2\"");
    let typo = refused(&typo, NONE).await;
    assert!(typo.contains("auth.hs256_secert") && !typo.contains("hunter2"), "{typo}");
    let set = [("IM_AUTH_HS256_SECRET", SECRET), ("IM_SERVER_NAME", "a.b")];
    let name = refused(EXAMPLE, &set).await;
    assert!(name.contains("server.name must be") && name.contains("IM_SERVER_NAME"), "{name}");
    let unknown = refused(EXAMPLE, &[("IM_SERVER_NAMES", "x")]).await;
    assert!(unknown.contains("the variable IM_SERVER_NAMES does not exist"), "{unknown}");
}

/// Tests the start without Redis and NATS.
#[tokio::test]
async fn it_says_what_is_wrong_with_its_certificate_before_it_connects() {
    let (one, other) = (Certificate::make(), Certificate::make());
    let with = |certificate: &Path, key: &Path| {
        let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
        [
            ("IM_AUTH_HS256_SECRET".to_owned(), SECRET.to_owned()),
            ("IM_CLUSTER_REDIS".to_owned(), "redis://127.0.0.1:1".to_owned()),
            ("IM_CLUSTER_NATS".to_owned(), "nats://127.0.0.1:1".to_owned()),
            ("IM_TLS_CERTIFICATE".to_owned(), certificate),
            ("IM_TLS_KEY".to_owned(), key),
        ]
    };
    let nowhere = Path::new("/nowhere/tls.pem");
    for (certificate, key, expected) in [
        (nowhere, &*one.key, "cannot read the certificate from /nowhere/tls.pem"),
        (&*one.certificate, nowhere, "cannot read the private key from /nowhere/tls.pem"),
        (&*one.certificate, &*other.key, "cannot be used"),
        (&*one.key, &*one.key, "there is no certificate in"),
    ] {
        let said = refused(EXAMPLE, &with(certificate, key)).await;
        assert!(said.contains(expected) && !said.contains("Redis"), "{expected}: {said}");
    }
    let fine = refused(EXAMPLE, &with(&one.certificate, &one.key)).await;
    assert!(fine.contains("cannot connect to Redis at 127.0.0.1:1"), "{fine}");
}

#[tokio::test]
async fn other_variables_may_be_anything() {
    let variables = [(OsString::from_vec(b"caf\xe9".to_vec()), OsString::from_vec(b"\xff".to_vec()))];
    let mut program = Program::start("im-server", DEV, &variables);
    program.printed("ready").await;
    ends_well(program).await;
}

/// Tests listeners that accept connections and never answer.
#[tokio::test]
async fn a_signal_ends_it_well_while_it_connects() {
    let redis = RedisServer::start().await;
    for silent_nats in [false, true] {
        for signal in [Signal::TERM, Signal::INT] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let silent = listener.local_addr().unwrap();
            let (redis, nats) = match silent_nats {
                false => (format!("redis://{silent}"), "nats://127.0.0.1:1".to_owned()),
                true => (redis.address(), format!("nats://{silent}")),
            };
            let variables = [
                ("IM_AUTH_HS256_SECRET", SECRET),
                ("IM_CLUSTER_REDIS", &redis),
                ("IM_CLUSTER_NATS", &nats),
                ("IM_CLUSTER_CONNECT_TIMEOUT_MS", "600000"),
                ("IM_WEBSOCKET_LISTEN", "127.0.0.1:0"),
                ("IM_QUIC_LISTEN", "127.0.0.1:0"),
            ];
            let directory = tempfile::tempdir().unwrap();
            let file = write(directory.path(), EXAMPLE);
            let mut program = Program::start("im-server", &["--config", &file], &variables);
            let (mut connection, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            kill_process(Pid::from_raw(program.id().try_into().unwrap()).unwrap(), signal).unwrap();
            let status = program.ended().await;
            assert_eq!(status.code(), Some(0), "{signal:?}, {status:?}: {}", program.output());
            let mut said = Vec::new();
            timeout(Duration::from_secs(1), connection.read_to_end(&mut said)).await.unwrap().unwrap();
        }
    }
}
