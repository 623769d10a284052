use super::*;

const EXAMPLE: &str = include_str!("../../im-server.example.toml");

const MINIMAL: &str = r#"
[server]
name = "im1"
[websocket]
listen = "127.0.0.1:0"
[auth]
issuer = "i"
audience = "a"
hs256_key_id = "k"
hs256_secret = "0123456789abcdef0123456789abcdef"
"#;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn error(text: &str, pairs: &[(&str, &str)]) -> String {
    parse(text, variables(pairs)).unwrap_err().to_string()
}

/// The example with every commented key switched on: prose is commented with `# `, keys with `#`.
fn full_example() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_valid_and_says_the_defaults() {
    let (config, cluster) = parse(EXAMPLE, []).unwrap();
    assert_eq!(config.name, "im1");
    assert_eq!(cluster.prefix, "im");
    let table: Table = toml::from_str(&full_example()).unwrap();
    let defaults = ServerConfig::new("d", TokenVerifier::new("i", "a", []));
    let number = |section: &str, key: &str| table[section][key].as_integer().unwrap();
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap();
    assert_eq!(number("server", "heartbeat_ms"), ms(defaults.heartbeat));
    assert_eq!(number("server", "hello_timeout_ms"), ms(defaults.hello_timeout));
    assert_eq!(number("server", "publish_timeout_ms"), ms(defaults.publish_timeout));
    assert_eq!(number("server", "lease_ms"), ms(defaults.lease));
    assert_eq!(number("server", "route_audit_ms"), ms(defaults.route_audit));
    assert_eq!(number("server", "drain_grace_ms"), ms(defaults.drain_grace));
    assert_eq!(table["auth"]["close_expired"].as_bool(), Some(defaults.close_expired));
    assert_eq!(number("limits", "max_connections"), defaults.limits.max_connections as i64);
    assert_eq!(number("limits", "max_handshakes"), defaults.limits.max_handshakes as i64);
    let per_address = defaults.limits.max_handshakes_per_address;
    assert_eq!(number("limits", "max_handshakes_per_address"), per_address as i64);
    let per_second = defaults.limits.max_connects_per_second_per_address;
    assert_eq!(number("limits", "max_connects_per_second_per_address"), i64::from(per_second));
    let per_second = defaults.limits.max_publishes_per_second;
    assert_eq!(number("limits", "max_publishes_per_second"), i64::from(per_second));
    assert_eq!(number("limits", "max_frame_bytes"), defaults.limits.max_frame_bytes as i64);
    assert_eq!(number("limits", "outbox_bytes"), defaults.limits.outbox_bytes as i64);
}

#[test]
fn the_example_shows_every_key_and_its_variable() {
    let table: Table = toml::from_str(&full_example()).unwrap();
    toml::from_str::<Partial>(&full_example()).unwrap();
    for (section, key, _) in KEYS {
        assert!(table[*section].get(key).is_some(), "{section}.{key} is not in the example");
    }
    for (section, keys) in &table {
        for key in keys.as_table().unwrap().keys().filter(|key| *key != "keys") {
            let known = KEYS.iter().any(|(s, k, _)| s == section && k == key);
            assert!(known, "{section}.{key} cannot be set by a variable");
        }
    }
}

#[test]
fn variables_override_the_file() {
    let set = [
        ("IM_SERVER_NAME", "other"),
        ("IM_SERVER_ADVERTISE", "wss://a.example, quic://a.example:1"),
        ("IM_CLUSTER_REDIS", "redis://r:1"),
        ("IM_WEBSOCKET_TLS", "true"),
        ("IM_SERVER_HEARTBEAT_MS", "500"),
        ("IM_QUIC_LISTEN", "127.0.0.1:0"),
        ("PATH", "/usr/bin"),
    ];
    let (config, cluster) = parse(MINIMAL, variables(&set)).unwrap();
    assert_eq!(config.name, "other");
    assert_eq!(config.advertise, ["wss://a.example", "quic://a.example:1"]);
    assert_eq!(config.heartbeat, Duration::from_millis(500));
    assert!(config.websocket_tls && config.quic.is_some());
    assert_eq!(cluster.redis, ["redis://r:1"]);
}

#[test]
fn everything_can_come_from_variables() {
    let set = [
        ("IM_SERVER_NAME", "im1"),
        ("IM_WEBSOCKET_LISTEN", "127.0.0.1:0"),
        ("IM_AUTH_ISSUER", "i"),
        ("IM_AUTH_AUDIENCE", "a"),
        ("IM_AUTH_HS256_KEY_ID", "k"),
        ("IM_AUTH_HS256_SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    assert!(parse("", variables(&set)).is_ok());
}

#[test]
fn mistakes_are_named() {
    assert!(error(&format!("{MINIMAL}\n[limits]\nmax_conections = 1"), &[]).contains("max_conections"));
    assert!(error("[sever]\n", &[]).contains("sever"));
    assert!(error(MINIMAL, &[("IM_SERVER_NAMES", "x")]).contains("IM_SERVER_NAMES"));
    let wrong = error(MINIMAL, &[("IM_SERVER_LEASE_MS", "soon")]);
    assert!(wrong.contains("IM_SERVER_LEASE_MS") && wrong.contains("whole number"), "{wrong}");
    assert!(error(MINIMAL, &[("IM_SERVER_LEASE_MS", "10")]).contains("server.lease_ms"));
    assert!(error("", &[]).contains("server.name is missing") || error("", &[]).contains("auth.issuer"));
    assert!(error(&MINIMAL.replace("0123456789abcdef", "x"), &[]).contains("32"));
    assert!(error(MINIMAL, &[("IM_TLS_KEY", "k.pem")]).contains("set both"));
    assert!(error(MINIMAL, &[("IM_WEBSOCKET_LISTEN", "nowhere")]).contains("address"));
}

#[test]
fn what_would_pass_silently_is_named() {
    let unheard = MINIMAL.replace("listen = \"127.0.0.1:0\"", "tls = true");
    assert!(error(&unheard, &[]).contains("websocket.listen is missing"));
    let same_id =
        "[[auth.keys]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret = \"0123456789abcdef0123456789abcdef\"";
    assert!(error(&format!("{MINIMAL}\n{same_id}"), &[]).contains("\"k\""));
    for (variable, value, key) in [
        ("IM_LIMITS_MAX_CONNECTIONS", "0", "limits.max_connections"),
        ("IM_LIMITS_MAX_HANDSHAKES", "0", "limits.max_handshakes"),
        ("IM_LIMITS_MAX_PUBLISHES_PER_SECOND", "1000001", "limits.max_publishes_per_second"),
        ("IM_LIMITS_MAX_INFLIGHT_PUBLISHES", "0", "limits.max_inflight_publishes"),
        // Back ends send larger ones, which devices would take for a mistake of the server.
        ("IM_LIMITS_MAX_FRAME_BYTES", "65535", "limits.max_frame_bytes"),
        // NATS does not take them.
        ("IM_LIMITS_MAX_FRAME_BYTES", "1048576", "limits.max_frame_bytes"),
        // One large frame would make anybody a slow consumer.
        ("IM_LIMITS_OUTBOX_BYTES", "65536", "limits.outbox_bytes"),
        ("IM_SERVER_HEARTBEAT_MS", "9223372036854775807", "server.heartbeat_ms"),
    ] {
        let error = error(MINIMAL, &[(variable, value)]);
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let path = PathBuf::from("/does/not/exist.toml");
    assert!(load(Some(&path), []).unwrap_err().to_string().contains("/does/not/exist.toml"));
}
