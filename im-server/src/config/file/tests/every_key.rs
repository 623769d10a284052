//! Every key has its effect, from the file and from a variable.

use std::{collections::BTreeSet, time::Duration};

use im_sdk::{
    cluster::LoginPolicy,
    id::UserId,
    token::{SigningKey, TokenMinter},
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::{keys::KEYS, *};
use crate::config::{Limits, TlsConfig};

/// A value for a key that differs from the default, as the text of a variable; `file` is its form in TOML, if that differs.
struct Value {
    key: &'static str,
    variable: String,
    file: Option<String>,
}

fn value(key: &'static str, variable: impl ToString, file: impl Into<Option<&'static str>>) -> Value {
    Value { key, variable: variable.to_string(), file: file.into().map(str::to_owned) }
}

fn values(public_key: &str) -> Vec<Value> {
    vec![
        value("server.name", "edge", "'edge'"),
        value("server.incarnation", "boot7", "'boot7'"),
        value(
            "server.advertise",
            "quic://a.example:1,wss://a.example",
            "['quic://a.example:1', 'wss://a.example']",
        ),
        value("server.login_policy", "unlimited", "'unlimited'"),
        value("server.heartbeat_ms", 20_001, None),
        value("server.hello_timeout_ms", 20_002, None),
        value("server.publish_timeout_ms", 20_003, None),
        value("server.lease_ms", 20_004, None),
        value("server.route_audit_ms", 20_005, None),
        value("server.presence_delay_ms", 20_019, None),
        value("server.drain_grace_ms", 20_006, None),
        value("cluster.redis", "redis://r1,redis://r2", "['redis://r1', 'redis://r2']"),
        value("cluster.routes_redis", "redis://r3,redis://r4", "['redis://r3', 'redis://r4']"),
        value("cluster.nats", "nats://n1,nats://n2", "['nats://n1', 'nats://n2']"),
        value("cluster.prefix", "other", "'other'"),
        value("cluster.request_timeout_ms", 20_007, None),
        value("cluster.connect_timeout_ms", 20_008, None),
        value("websocket.listen", "127.0.0.2:1", "'127.0.0.2:1'"),
        value("websocket.tls", true, None),
        value("quic.listen", "[::1]:2", "'[::1]:2'"),
        value("tls.certificate", "/c.pem", "'/c.pem'"),
        value("tls.key", "/k.pem", "'/k.pem'"),
        value("auth.issuer", "issuer", "'issuer'"),
        value("auth.audience", "audience", "'audience'"),
        value("auth.explain_refusals", true, None),
        value("auth.close_expired", false, None),
        value("auth.hs256_key_id", "hs", "'hs'"),
        value("auth.hs256_secret", SECRET, "'0123456789abcdef0123456789abcdef'"),
        value("auth.public_key_id", "es", "'es'"),
        value("auth.public_key_algorithm", "ES256", "'ES256'"),
        Value {
            key: "auth.public_key_path",
            variable: public_key.to_owned(),
            file: Some(format!("'{public_key}'")),
        },
        value("limits.max_connections", 20_009, None),
        value("limits.max_handshakes", 20_010, None),
        value("limits.max_handshakes_per_address", 20_011, None),
        value("limits.max_connects_per_second_per_address", 20_012, None),
        value("limits.max_handshake_bytes", 120_013, None),
        value("limits.max_devices_per_user", 20_017, None),
        value("limits.max_connects_per_second_per_user", 20_018, None),
        value("limits.max_frame_bytes", 100_013, None),
        value("limits.max_inflight_publishes", 20_014, None),
        value("limits.max_publishes_per_second", 20_015, None),
        value("limits.outbox_bytes", 300_016, None),
    ]
}

/// Checks the values of all settings. It names every field, so that no new one is forgotten.
fn check(server: ServerConfig, cluster: &ClusterConfig) {
    let ms = Duration::from_millis;
    let ServerConfig {
        name,
        incarnation,
        websocket,
        websocket_tls,
        quic,
        tls,
        advertise,
        verifier: _,
        explain_refusals,
        close_expired,
        login_policy,
        limits,
        heartbeat,
        hello_timeout,
        publish_timeout,
        lease,
        route_audit,
        presence_delay,
        drain_grace,
    } = server;
    assert_eq!((name.as_str(), incarnation.as_deref()), ("edge", Some("boot7")));
    assert_eq!(websocket, Some(([127, 0, 0, 2], 1).into()));
    assert_eq!(quic, Some("[::1]:2".parse().unwrap()));
    assert!(websocket_tls && !close_expired);
    assert_eq!(tls, TlsConfig::Files { certificate: "/c.pem".into(), key: "/k.pem".into() });
    assert_eq!(advertise, ["quic://a.example:1", "wss://a.example"]);
    assert_eq!(login_policy, LoginPolicy::Unlimited);
    assert_eq!([heartbeat, hello_timeout, publish_timeout], [ms(20_001), ms(20_002), ms(20_003)]);
    assert_eq!([lease, route_audit, drain_grace], [ms(20_004), ms(20_005), ms(20_006)]);
    assert_eq!((presence_delay, explain_refusals), (ms(20_019), true));
    let expected = Limits {
        max_connections: 20_009,
        max_handshakes: 20_010,
        max_handshakes_per_address: 20_011,
        max_connects_per_second_per_address: 20_012,
        max_handshake_bytes: 120_013,
        max_devices_per_user: 20_017,
        max_connects_per_second_per_user: 20_018,
        max_frame_bytes: 100_013,
        max_inflight_publishes: 20_014,
        max_publishes_per_second: 20_015,
        outbox_bytes: 300_016,
    };
    assert_eq!(limits, expected);
    assert_eq!(
        (&*cluster.redis, &*cluster.nats),
        (
            &["redis://r1".to_owned(), "redis://r2".to_owned()][..],
            &["nats://n1".to_owned(), "nats://n2".to_owned()][..],
        )
    );
    assert_eq!(cluster.routes_redis, ["redis://r3", "redis://r4"]);
    assert_eq!(cluster.prefix, "other");
    assert_eq!([cluster.request_timeout, cluster.connect_timeout], [ms(20_007), ms(20_008)]);
}

fn lets_in(config: &ServerConfig, key: SigningKey, issuer: &str, audience: &str) -> bool {
    let token =
        TokenMinter::new(key, issuer, audience).mint(&UserId::parse("u").unwrap(), Duration::from_secs(60));
    config.verifier.verify(&token.unwrap()).is_ok()
}

/// Checks that exactly the tokens of these two keys, for this issuer and audience, are accepted.
fn check_tokens(config: &ServerConfig, es: &KeyPair) {
    let hs = |id| SigningKey::hs256(id, SECRET.as_bytes()).unwrap();
    let es = |id| SigningKey::es256_pem(id, es.serialize_pem().as_bytes()).unwrap();
    assert!(
        lets_in(config, hs("hs"), "issuer", "audience") && lets_in(config, es("es"), "issuer", "audience")
    );
    assert!(!lets_in(config, hs("hs"), "other", "audience") && !lets_in(config, hs("hs"), "issuer", "other"));
    assert!(
        !lets_in(config, hs("k"), "issuer", "audience") && !lets_in(config, es("k"), "issuer", "audience")
    );
    assert_eq!(format!("{:?}", config.verifier).matches("VerificationKey").count(), 2);
}

/// Returns a file with all values.
fn file(values: &[Value]) -> String {
    let mut sections = std::collections::BTreeMap::<&str, String>::new();
    for value in values {
        let (section, name) = value.key.split_once('.').unwrap();
        let line = format!("{name} = {}\n", value.file.as_ref().unwrap_or(&value.variable));
        sections.entry(section).or_default().push_str(&line);
    }
    sections.into_iter().map(|(section, keys)| format!("[{section}]\n{keys}")).collect()
}

#[test]
fn every_key_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let es = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let values = values(&write(&directory, "es.pem", &es.public_key_pem()));
    let covered: BTreeSet<String> = values.iter().map(|value| value.key.to_owned()).collect();
    assert_eq!(covered, KEYS.iter().map(|key| key.path()).collect(), "give a new key a value here");

    let (server, cluster) = read(&file(&values), &[]).unwrap();
    check_tokens(&server, &es);
    check(server, &cluster);

    let name = |value: &Value| KEYS.iter().find(|key| key.path() == value.key).unwrap().variable();
    let variables: Vec<_> =
        values.iter().map(|value| (name(value).into(), value.variable.clone().into())).collect();
    // Over a file with different values.
    let (server, cluster) = parse(Some((Path::new("im.toml"), MINIMAL)), variables.clone()).unwrap();
    check_tokens(&server, &es);
    check(server, &cluster);
    // Without a file.
    let (server, cluster) = parse(None, variables).unwrap();
    check(server, &cluster);
}

/// A value equal to the default would not show whether it was applied.
#[test]
fn no_value_is_the_default() {
    let nothing = PartialConfig::new();
    let defaults = shown(&nothing.server, &nothing.cluster);
    for value in values("/es.pem") {
        let mut partial = PartialConfig::new();
        document::read(&file(std::slice::from_ref(&value)), &mut partial).unwrap();
        let (section, _) = value.key.split_once('.').unwrap();
        // These keys have no default.
        let required = value.key == "server.name" || section == "tls" || section == "auth";
        if !required || ["auth.close_expired", "auth.explain_refusals"].contains(&value.key) {
            assert_ne!(shown(&partial.server, &partial.cluster), defaults, "{}", value.key);
        }
    }
}

#[test]
fn listed_keys_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let es = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed_path = write(&directory, "ed.pem", &ed.public_key_pem());
    let es_path = write(&directory, "es.pem", &es.public_key_pem());
    let keys = format!(
        "[[auth.keys]]\nid = 'ed'\nalgorithm = 'EdDSA'\npublic_key = '{ed_path}'\n\
         [[auth.keys]]\nid = 'es'\nalgorithm = 'ES256'\npublic_key = '{es_path}'\n\
         [[auth.keys]]\nid = 'hs'\nalgorithm = 'HS256'\nsecret = 'another secret, which is long enough'\n"
    );
    let (config, _) = read(&format!("{MINIMAL}{keys}"), &[]).unwrap();
    let signing = [
        SigningKey::eddsa_pem("ed", ed.serialize_pem().as_bytes()).unwrap(),
        SigningKey::es256_pem("es", es.serialize_pem().as_bytes()).unwrap(),
        SigningKey::hs256("hs", b"another secret, which is long enough").unwrap(),
        SigningKey::hs256("k", SECRET.as_bytes()).unwrap(),
    ];
    assert!(signing.into_iter().all(|key| lets_in(&config, key, "i", "a")));
    let forged = SigningKey::hs256("hs", SECRET.as_bytes()).unwrap();
    assert!(!lets_in(&config, forged, "i", "a"));
    // Also by variables.
    let set = [
        ("IM_AUTH_PUBLIC_KEY_ID", "one"),
        ("IM_AUTH_PUBLIC_KEY_ALGORITHM", "EdDSA"),
        ("IM_AUTH_PUBLIC_KEY_PATH", ed_path.as_str()),
    ];
    let (config, _) = read(MINIMAL, &set).unwrap();
    let key = SigningKey::eddsa_pem("one", ed.serialize_pem().as_bytes()).unwrap();
    assert!(lets_in(&config, key, "i", "a"));
}
