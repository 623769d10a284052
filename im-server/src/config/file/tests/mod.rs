mod every_key;
mod example;
mod secrets;
mod variables;

use std::fs;

use tempfile::TempDir;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const MINIMAL: &str = r#"
[server]
name = "im1"
[cluster]
redis = ["redis://127.0.0.1:6379"]
nats = ["nats://127.0.0.1:4222"]
[websocket]
listen = "127.0.0.1:0"
[auth]
issuer = "i"
audience = "a"
hs256_key_id = "k"
hs256_secret = "0123456789abcdef0123456789abcdef"
"#;

fn os(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn read(text: &str, pairs: &[(&str, &str)]) -> Result<(ServerConfig, ClusterConfig), FileError> {
    parse(Some((Path::new("im.toml"), text)), os(pairs))
}

fn error(text: &str, pairs: &[(&str, &str)]) -> String {
    read(text, pairs).unwrap_err().to_string()
}

/// Returns the server's and the cluster's settings as text, without the verifier of tokens.
fn shown(server: &ServerConfig, cluster: &ClusterConfig) -> String {
    let verifier = std::sync::Arc::new(im_sdk::token::TokenVerifier::new("", "", []));
    let server = ServerConfig { verifier, ..server.clone() };
    let ClusterConfig { redis, routes_redis, nats, prefix, request_timeout, connect_timeout, .. } = cluster;
    format!(
        "{server:?} {redis:?} {routes_redis:?} {nats:?} {prefix:?} {request_timeout:?} {connect_timeout:?}"
    )
}

fn write(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn mistakes_are_named() {
    let limits = format!("{MINIMAL}\n[limits]\nmax_conections = 1");
    let unknown = error(&limits, &[]);
    let place = Position { line: limits.lines().count(), column: 1 };
    assert!(
        unknown.contains(&format!("im.toml is not valid: {place}: there is no key limits.max_conections"))
    );
    for (text, what) in [
        ("[sever]\n", "line 1, column 2: there is no section [sever]"),
        ("[[limit]]\n", "there is no section [limit]"),
        ("name = \"x\"\n", "line 1, column 1: the key name stands in no section"),
        ("server = 1\n", "line 1, column 1: server is a section"),
        ("[[server]]\n", "server is a section"),
        ("[server]\nname = 1\n", "line 2, column 8: server.name takes a text"),
        ("[server]\nname = ' '\n", "server.name takes a text that is not empty"),
        ("[server]\nlease_ms = -1\n", "server.lease_ms takes a whole number of milliseconds"),
        ("[server]\nlease_ms = 1.5\n", "server.lease_ms takes a whole number"),
        ("[server]\nlogin_policy = 'one'\n", "server.login_policy takes \"one_per_terminal\""),
        ("[limits]\nmax_publishes_per_second = 4294967296\n", "takes a whole number from 0 to 4294967295"),
        ("[cluster]\nredis = 'r'\n", "cluster.redis takes a list of texts"),
        ("[cluster]\nnats = ['n', '']\n", "cluster.nats takes a list of texts"),
        ("[cluster]\nnats = ['n', 1]\n", "cluster.nats takes a list of texts"),
        ("[websocket]\nlisten = 'localhost:1'\n", "websocket.listen takes an IP address and a port"),
        ("[websocket]\ntls = 'yes'\n", "websocket.tls takes true or false"),
        ("[auth]\nkeys = 1\n", "auth.keys is a list of tables"),
        ("[auth]\nkeys = [1]\n", "auth.keys is a list of tables"),
        ("[[auth.keys]]\nid = 1\n", "line 2, column 1: id below [[auth.keys]] takes a text"),
        ("[[auth.keys]]\nalgorithm = 'HS256'\n", "has no id"),
        ("[[auth.keys]]\nid = 'k'\n", "\"k\" below [[auth.keys]] has no algorithm"),
        ("[[auth.keys]]\nid = 'k'\nalgorithm = 'RS256'\n", "has an algorithm that is none of"),
        ("[[auth.keys]]\nid = 'k'\nalgorithm = 'HS256'\npublic_key = 'p'\n", "takes `secret`"),
        ("[[auth.keys]]\nid = 'k'\nalgorithm = 'ES256'\nsecret = 's'\n", "take `public_key`"),
        ("[[auth.keys]]\nkid = 'k'\n", "line 2, column 1: there is no key kid below [[auth.keys]]"),
        ("[server]\nname = \n", "line 2, column 8: it is no TOML"),
    ] {
        let error = error(text, &[]);
        assert!(error.contains(what), "{text}: {error}");
    }
    // Of several errors, the first one in the file is reported.
    assert!(error("[server]\nzzz = 1\naaa = 1\n", &[]).contains("server.zzz"));
}

#[test]
fn what_is_missing_is_named_with_its_variable() {
    for (line, key, variable) in [
        ("name = \"im1\"", "server.name", "IM_SERVER_NAME"),
        ("redis = [\"redis://127.0.0.1:6379\"]", "cluster.redis", "IM_CLUSTER_REDIS"),
        ("nats = [\"nats://127.0.0.1:4222\"]", "cluster.nats", "IM_CLUSTER_NATS"),
        ("listen = \"127.0.0.1:0\"", "websocket.listen", "IM_WEBSOCKET_LISTEN"),
        ("issuer = \"i\"", "auth.issuer", "IM_AUTH_ISSUER"),
        ("audience = \"a\"", "auth.audience", "IM_AUTH_AUDIENCE"),
    ] {
        let error = error(&MINIMAL.replace(line, ""), &[]);
        assert!(error.starts_with(&format!("{key} is missing")) && error.contains(variable), "{error}");
    }
    let deaf = MINIMAL.replace("[websocket]\nlisten = \"127.0.0.1:0\"", "");
    assert!(error(&deaf, &[]).contains("no address to listen on"));
    assert!(error(&deaf, &[("IM_WEBSOCKET_TLS", "true")]).contains("websocket.listen is missing"));
    assert!(error(&format!("{MINIMAL}[quic]\n"), &[]).contains("quic.listen is missing"));
    assert!(error(MINIMAL, &[("IM_TLS_KEY", "k.pem")]).contains("set both"));
}

#[test]
fn what_makes_no_sense_is_named_with_its_origin() {
    for (variable, value, key) in [
        ("IM_SERVER_NAME", "a@$!", "server.name"),
        ("IM_SERVER_NAME", "a.b", "server.name"),
        ("IM_SERVER_NAME", "im-éclair", "server.name"),
        ("IM_SERVER_NAME", "x2345678901234567890123456789012345678901", "server.name"),
        ("IM_SERVER_INCARNATION", "a.b", "server.incarnation"),
        // With the name, the id would exceed its maximum length.
        ("IM_SERVER_INCARNATION", &"x".repeat(61), "server.incarnation"),
        ("IM_SERVER_ADVERTISE", "im1.example.com", "server.advertise"),
        ("IM_SERVER_ADVERTISE", "wss://im1.example.com,ftp://x", "number 2 is none: its scheme"),
        ("IM_SERVER_ADVERTISE", "quic://im1.example.com", "port"),
        ("IM_SERVER_LEASE_MS", "10", "server.lease_ms"),
        ("IM_SERVER_HEARTBEAT_MS", "9223372036854775807", "server.heartbeat_ms"),
        ("IM_CLUSTER_PREFIX", "a.b", "cluster.prefix must be"),
        ("IM_CLUSTER_REQUEST_TIMEOUT_MS", "0", "cluster.request_timeout_ms must be from 1 to 86400000"),
        ("IM_CLUSTER_CONNECT_TIMEOUT_MS", "9223372036854775807", "cluster.connect_timeout_ms must be"),
        ("IM_LIMITS_MAX_CONNECTIONS", "0", "limits.max_connections"),
        ("IM_LIMITS_MAX_HANDSHAKES", "0", "limits.max_handshakes"),
        ("IM_LIMITS_MAX_PUBLISHES_PER_SECOND", "1000001", "limits.max_publishes_per_second"),
        ("IM_LIMITS_MAX_INFLIGHT_PUBLISHES", "0", "limits.max_inflight_publishes"),
        // Backends send larger frames, which devices would count as an error of the server.
        ("IM_LIMITS_MAX_FRAME_BYTES", "65535", "limits.max_frame_bytes"),
        // NATS does not accept frames of this size.
        ("IM_LIMITS_MAX_FRAME_BYTES", "1048576", "limits.max_frame_bytes"),
        // One large frame would make any device a slow consumer.
        ("IM_LIMITS_OUTBOX_BYTES", "65536", "limits.outbox_bytes"),
    ] {
        let error = error(MINIMAL, &[(variable, value)]);
        assert!(error.contains(key) && error.contains(variable), "{variable}: {error}");
    }
    let error = error(&MINIMAL.replace("im1", "a b"), &[]);
    assert!(error.contains("server.name") && error.contains("line 3, column 8"), "{error}");
    for (variable, value) in [
        ("IM_SERVER_NAME", "x234567890123456789012345678901234567890"),
        ("IM_SERVER_INCARNATION", &"x".repeat(60)),
        ("IM_SERVER_ADVERTISE", "quic://[::1]:1,wss://im.example.com/chat,ws://10.0.0.1"),
    ] {
        assert!(read(MINIMAL, &[(variable, value)]).is_ok(), "{variable}");
    }
}

#[test]
fn a_key_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    for (file, text) in [("p384.pem", p384.as_str()), ("empty.pem", ""), ("wrong.pem", "no PEM")] {
        let path = write(&directory, file, text);
        let variables = [
            ("IM_AUTH_PUBLIC_KEY_ID", "k9"),
            ("IM_AUTH_PUBLIC_KEY_ALGORITHM", "ES256"),
            ("IM_AUTH_PUBLIC_KEY_PATH", path.as_str()),
        ];
        let by_variables = error(MINIMAL, &variables);
        let listed = format!("[[auth.keys]]\nid = 'k9'\nalgorithm = 'ES256'\npublic_key = '{path}'\n");
        for error in [by_variables, error(&format!("{MINIMAL}{listed}"), &[])] {
            assert!(error.contains("\"k9\"") && error.contains("P-256") && error.contains(file), "{error}");
        }
    }
    let incomplete = error(MINIMAL, &[("IM_AUTH_PUBLIC_KEY_PATH", "k.pem")]);
    assert!(incomplete.contains("set all three"), "{incomplete}");
    assert!(error(MINIMAL, &[("IM_AUTH_PUBLIC_KEY_ALGORITHM", "HS256")]).contains("\"EdDSA\" or \"ES256\""));
    let missing = [
        ("IM_AUTH_PUBLIC_KEY_ID", "k9"),
        ("IM_AUTH_PUBLIC_KEY_ALGORITHM", "EdDSA"),
        ("IM_AUTH_PUBLIC_KEY_PATH", "/does/not/exist.pem"),
    ];
    let missing = error(MINIMAL, &missing);
    assert!(missing.contains("\"k9\"") && missing.contains("/does/not/exist.pem"), "{missing}");
}

#[test]
fn a_missing_file_is_named() {
    let path = PathBuf::from("/does/not/exist.toml");
    assert!(load(Some(&path), []).unwrap_err().to_string().contains("/does/not/exist.toml"));
}
