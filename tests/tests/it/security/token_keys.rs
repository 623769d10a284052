//! Tokens signed with every kind of key, from the server's configuration file to `Welcome`.

use std::{path::Path, time::Duration};

use im_proto::{close::CloseCode, pb::frame::Body};
use im_sdk::{
    cluster::Cluster,
    id::UserId,
    token::{SigningKey, TokenMinter},
};
use im_server::{Server, file};
use im_tests::raw::{Heard, Raw};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

const SECRET: &str = "a secret that is long enough for HS256";

/// Returns a configuration with one key of each kind, public keys in files of this directory.
fn configuration(directory: &Path, es256: &KeyPair, eddsa: &KeyPair) -> String {
    let public = |name: &str, key: &KeyPair| {
        let path = directory.join(name);
        std::fs::write(&path, key.public_key_pem()).unwrap();
        path.display().to_string()
    };
    format!(
        r#"
        [server]
        name = "keys"
        [cluster]
        redis = ["redis://127.0.0.1:6379"]
        nats = ["nats://127.0.0.1:4222"]
        [websocket]
        listen = "127.0.0.1:0"
        [auth]
        issuer = "shop"
        audience = "chat"
        [[auth.keys]]
        id = "hs"
        algorithm = "HS256"
        secret = "{SECRET}"
        [[auth.keys]]
        id = "es"
        algorithm = "ES256"
        public_key = "{}"
        [[auth.keys]]
        id = "ed"
        algorithm = "EdDSA"
        public_key = "{}"
        "#,
        public("es.pem", es256),
        public("ed.pem", eddsa),
    )
}

fn load(directory: &Path, configuration: &str) -> Result<im_server::ServerConfig, file::FileError> {
    let path = directory.join("im-server.toml");
    std::fs::write(&path, configuration).unwrap();
    file::load(Some(&path), []).map(|(config, _)| config)
}

fn mint(key: SigningKey) -> String {
    let alice = UserId::parse("alice").unwrap();
    TokenMinter::new(key, "shop", "chat").mint(&alice, Duration::from_secs(60)).unwrap()
}

async fn answer(server: &Server, token: String) -> Heard {
    let endpoint = server.endpoints().iter().find(|endpoint| endpoint.starts_with("ws://")).unwrap().clone();
    let mut raw = Raw::websocket(&endpoint).await;
    raw.hello(token).await;
    raw.heard().await
}

#[tokio::test]
async fn each_kind_of_key_lets_its_own_tokens_in() {
    let directory = tempfile::tempdir().unwrap();
    let es256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let eddsa = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let config = load(directory.path(), &configuration(directory.path(), &es256, &eddsa)).unwrap();
    let server = Server::start(config, Cluster::embedded()).await.unwrap();

    let es = |id: &str| SigningKey::es256_pem(id, es256.serialize_pem().as_bytes()).unwrap();
    let ed = |id: &str| SigningKey::eddsa_pem(id, eddsa.serialize_pem().as_bytes()).unwrap();
    for key in [SigningKey::hs256("hs", SECRET.as_bytes()).unwrap(), es("es"), ed("ed")] {
        let kind = format!("{key:?}");
        let heard = answer(&server, mint(key)).await;
        assert!(matches!(&heard, Heard::Frame(Body::Welcome(welcome)) if welcome.user == "alice"), "{kind}");
    }
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let forged = SigningKey::es256_pem("es", stranger.serialize_pem().as_bytes()).unwrap();
    // The text of the public key, which is no secret, as an HMAC secret.
    let confused = SigningKey::hs256("es", es256.public_key_pem().as_bytes()).unwrap();
    for key in [forged, confused, es("ed"), ed("es"), es("hs"), ed("nobody's")] {
        let kind = format!("{key:?}");
        assert_eq!(answer(&server, mint(key)).await, Heard::Closed(CloseCode::TokenInvalid), "{kind}");
    }
    server.shutdown().await;
}

#[test]
fn a_file_with_another_key_is_named_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let es256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let eddsa = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    for (wrong_es, wrong_ed, id) in [(&p384, &eddsa, "es"), (&eddsa, &eddsa, "es"), (&es256, &es256, "ed")] {
        let configuration = configuration(directory.path(), wrong_es, wrong_ed);
        let error = load(directory.path(), &configuration).unwrap_err().to_string();
        assert!(error.contains(&format!("{id:?}")), "{error}");
    }
}
