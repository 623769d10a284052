//! The variables that count as settings.

use std::os::unix::ffi::OsStringExt as _;

use im_sdk::{
    id::UserId,
    token::{SigningKey, TokenMinter},
};

use super::*;

#[test]
fn variables_override_the_file() {
    let set = [
        ("IM_SERVER_NAME", "other"),
        ("IM_SERVER_ADVERTISE", "wss://a.example, quic://a.example:1,"),
        ("IM_CLUSTER_REDIS", "redis://r:1"),
        ("IM_WEBSOCKET_TLS", "true"),
        ("IM_SERVER_HEARTBEAT_MS", "500"),
        ("IM_QUIC_LISTEN", "127.0.0.1:0"),
        ("PATH", "/usr/bin"),
    ];
    let (config, cluster) = read(MINIMAL, &set).unwrap();
    assert_eq!(config.name, "other");
    assert_eq!(config.advertise, ["wss://a.example", "quic://a.example:1"]);
    assert_eq!(config.heartbeat.as_millis(), 500);
    assert!(config.websocket_tls && config.quic.is_some());
    assert_eq!(cluster.redis, ["redis://r:1"]);
}

#[test]
fn everything_can_come_from_variables() {
    let set = [
        ("IM_SERVER_NAME", "im1"),
        ("IM_CLUSTER_REDIS", "redis://r"),
        ("IM_CLUSTER_NATS", "nats://n"),
        ("IM_WEBSOCKET_LISTEN", "127.0.0.1:0"),
        ("IM_AUTH_ISSUER", "i"),
        ("IM_AUTH_AUDIENCE", "a"),
        ("IM_AUTH_HS256_KEY_ID", "k"),
        ("IM_AUTH_HS256_SECRET", SECRET),
    ];
    assert!(load(None, os(&set)).is_ok());
}

#[test]
fn a_variable_that_does_not_exist_is_an_error() {
    for name in ["IM_SERVER_NAMES", "IM_", "IM_server_name", "IM_AUTH_KEYS", "IM_SERVER", "IM_LOG"] {
        let error = error(MINIMAL, &[(name, "x")]);
        assert!(error.contains(&format!("the variable {name} does not exist")), "{error}");
    }
    let wrong = error(MINIMAL, &[("IM_SERVER_LEASE_MS", "soon")]);
    assert!(wrong.contains("IM_SERVER_LEASE_MS takes a whole number"), "{wrong}");
    assert!(error(MINIMAL, &[("IM_WEBSOCKET_LISTEN", "nowhere")]).contains("an IP address and a port"));
}

#[test]
fn what_is_no_text_matters_only_in_a_variable_of_ours() {
    let no_text = || OsString::from_vec(b"caf\xe9".to_vec());
    let read = |name: OsString, value| parse(Some((Path::new("im.toml"), MINIMAL)), [(name, value)]);
    assert!(read("LOCATION".into(), no_text()).is_ok());
    assert!(read(no_text(), no_text()).is_ok());
    let value = read("IM_SERVER_NAME".into(), no_text()).unwrap_err().to_string();
    assert!(value.contains("the variable IM_SERVER_NAME is not valid UTF-8"), "{value}");
    let name = read(OsString::from_vec(b"IM_\xe9".to_vec()), "x".into()).unwrap_err().to_string();
    assert!(name.contains("does not exist"), "{name}");
}

/// The variables in a container beside services named `im-server` and `im`.
const LINKS: [(&str, &str); 17] = [
    ("IM_SERVER_SERVICE_HOST", "10.96.0.1"),
    ("IM_SERVER_SERVICE_PORT", "7800"),
    ("IM_SERVER_SERVICE_PORT_WEBSOCKET", "7800"),
    ("IM_SERVER_SERVICE_PORT_QUIC_0", "7801"),
    ("IM_SERVER_PORT", "tcp://10.96.0.1:7800"),
    ("IM_SERVER_PORT_7800_TCP", "tcp://10.96.0.1:7800"),
    ("IM_SERVER_PORT_7800_TCP_PROTO", "tcp"),
    ("IM_SERVER_PORT_7800_TCP_PORT", "7800"),
    ("IM_SERVER_PORT_7800_TCP_ADDR", "10.96.0.1"),
    ("IM_SERVER_PORT_7801_UDP", "udp://10.96.0.1:7801"),
    ("IM_SERVER_PORT_7801_UDP_ADDR", "10.96.0.1"),
    ("IM_SERVICE_HOST", "10.96.0.2"),
    ("IM_SERVICE_PORT", "4222"),
    ("IM_PORT", "udp://10.96.0.2:4222"),
    ("IM_PORT_4222_TCP", "tcp://10.96.0.2:4222"),
    ("IM_PORT_4222_TCP_ADDR", "10.96.0.2"),
    ("IM_PORT_9_SCTP_PROTO", "sctp"),
];

#[test]
fn what_a_container_platform_says_of_services_is_passed_over() {
    assert!(read(MINIMAL, &LINKS).is_ok());
    assert_eq!(variable_names(os(&LINKS)), [""; 0]);
    for (name, value) in [
        ("IM_SERVER_PORT", "7800"),
        ("IM_SERVER_PORT", "http://10.96.0.1"),
        ("IM_SERVER_PORTS", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_PORT_TCP", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_PORT_X_TCP", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_PORT_70000_TCP", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_PORT_7800_TCP_NAME", "tcp"),
        ("IM_SERVER_PORT_7800_HTTP", "tcp://10.96.0.1:7800"),
        ("IM_SERVER_HOST", "10.96.0.1"),
        ("IM_SERVER_SERVICE_HOSTS", "10.96.0.1"),
    ] {
        assert!(error(MINIMAL, &[(name, value)]).contains("does not exist"), "{name}");
        assert_eq!(variable_names(os(&[(name, value)])), [name]);
    }
    // A known key remains a setting, whatever its value looks like.
    assert!(
        error(MINIMAL, &[("IM_WEBSOCKET_LISTEN", "tcp://10.96.0.1:7800")]).contains("IM_WEBSOCKET_LISTEN")
    );
    assert_eq!(variable_names(os(&[("IM_SERVER_NAME", "tcp://x"), ("HOME", "/")])), ["IM_SERVER_NAME"]);
}

fn lets_in(config: &ServerConfig, id: &str, secret: &str) -> bool {
    let minter = TokenMinter::new(SigningKey::hs256(id, secret.as_bytes()).unwrap(), "i", "a");
    let token = minter.mint(&UserId::parse("u").unwrap(), std::time::Duration::from_secs(60)).unwrap();
    config.verifier.verify(&token).is_ok()
}

#[test]
fn a_variable_takes_the_place_of_the_key_with_its_id() {
    let (old, new) = ("the old secret, which is long enough", "the new secret, which is long enough");
    let keys = format!("[[auth.keys]]\nid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"{old}\"\n");
    let listed = format!("{MINIMAL}{keys}");
    let set = [("IM_AUTH_HS256_KEY_ID", "k1"), ("IM_AUTH_HS256_SECRET", new)];
    let (config, _) = read(&listed, &set).unwrap();
    assert!(lets_in(&config, "k1", new) && !lets_in(&config, "k1", old) && !lets_in(&config, "k", SECRET));
    let beside = [("IM_AUTH_HS256_KEY_ID", "k2"), ("IM_AUTH_HS256_SECRET", new)];
    let (config, _) = read(&listed, &beside).unwrap();
    assert!(lets_in(&config, "k1", old) && lets_in(&config, "k2", new));

    // Within the file, and among variables, two keys with one id are an error.
    assert!(error(&listed.replace("\"k1\"", "\"k\""), &[]).contains("two token keys have the id \"k\""));
    let both = [
        ("IM_AUTH_PUBLIC_KEY_ID", "k"),
        ("IM_AUTH_PUBLIC_KEY_ALGORITHM", "EdDSA"),
        ("IM_AUTH_PUBLIC_KEY_PATH", "k.pem"),
    ];
    assert!(error(MINIMAL, &both).contains("two token keys have the id \"k\""));
}
