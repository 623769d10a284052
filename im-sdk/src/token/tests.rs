use std::{sync::LazyLock, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

/// An Ed25519 and a P-256 key pair, new in each run.
struct Keys {
    ed: KeyPair,
    es: KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ed: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    es: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
});

fn alice() -> UserId {
    UserId::parse("alice").unwrap()
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new(
        "backend",
        "im",
        [
            VerificationKey::hs256("hs", SECRET).unwrap(),
            VerificationKey::eddsa_pem("ed", KEYS.ed.public_key_pem().as_bytes()).unwrap(),
            VerificationKey::es256_pem("es", KEYS.es.public_key_pem().as_bytes()).unwrap(),
        ],
    )
}

/// A token with any header and claims, signed with the HS256 secret.
fn forge(kid: Option<&str>, claims: &serde_json::Value) -> String {
    provider::install();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid.map(Into::into);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn claims() -> serde_json::Value {
    json!({ "sub": "alice", "iss": "backend", "aud": "im", "exp": unix_seconds() + 60 })
}

fn with(name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn every_algorithm_mints_what_it_verifies() {
    let keys = [
        SigningKey::hs256("hs", SECRET).unwrap(),
        SigningKey::eddsa_pem("ed", KEYS.ed.serialize_pem().as_bytes()).unwrap(),
        SigningKey::es256_pem("es", KEYS.es.serialize_pem().as_bytes()).unwrap(),
    ];
    for key in keys {
        let token = TokenMinter::new(key, "backend", "im").mint(&alice(), HOUR).unwrap();
        let verified = verifier().verify(&token).unwrap();
        assert_eq!(verified.user, alice());
        assert!(verified.expires_at >= unix_seconds() + 3500);
    }
}

#[test]
fn wrong_claims_are_told_apart() {
    let cases = [
        (with("exp", json!(unix_seconds() - 60)), TokenError::Expired),
        (with("nbf", json!(unix_seconds() + 600)), TokenError::NotYetValid),
        (with("iss", json!("somebody")), TokenError::WrongIssuer),
        (with("aud", json!("else")), TokenError::WrongAudience),
        (with("sub", json!("not a user")), TokenError::InvalidUser),
        (with("sub", json!(7)), TokenError::Malformed),
    ];
    for (claims, expected) in cases {
        assert_eq!(verifier().verify(&forge(Some("hs"), &claims)), Err(expected), "{claims}");
    }
    for missing in ["sub", "iss", "aud", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert_eq!(verifier().verify(&forge(Some("hs"), &claims)), Err(TokenError::Malformed), "{missing}");
    }
}

#[test]
fn keys_are_pinned() {
    assert!(verifier().verify(&forge(Some("hs"), &claims())).is_ok());
    assert_eq!(verifier().verify(&forge(None, &claims())), Err(TokenError::UnknownKey));
    assert_eq!(verifier().verify(&forge(Some("other"), &claims())), Err(TokenError::UnknownKey));
    assert_eq!(verifier().verify(&forge(Some("ed"), &claims())), Err(TokenError::WrongAlgorithm));
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    // The classic confusion: an attacker signs HS256 with the public key's text, naming the asymmetric key.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("es".into());
    let secret = EncodingKey::from_secret(KEYS.es.public_key_pem().as_bytes());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(verifier().verify(&token), Err(TokenError::WrongAlgorithm));
}

#[test]
fn unsigned_and_broken_tokens_are_refused() {
    let good = forge(Some("hs"), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    // {"alg":"none","kid":"hs"}
    let none = format!("eyJhbGciOiJub25lIiwia2lkIjoiaHMifQ.{payload}.");
    assert_eq!(verifier().verify(&none), Err(TokenError::Malformed));
    let other = forge(Some("hs"), &with("sub", json!("mallory")));
    let (other_signed, _) = other.rsplit_once('.').unwrap();
    assert_eq!(verifier().verify(&format!("{other_signed}.{signature}")), Err(TokenError::BadSignature));
    for wrong in ["", ".", "..", "a.b.c", "💥", &good[..good.len() / 2]] {
        assert_eq!(verifier().verify(wrong), Err(TokenError::Malformed), "{wrong:?}");
    }
}

#[test]
fn weak_or_wrong_keys_are_refused_with_their_id() {
    let error = SigningKey::hs256("k9", b"short").unwrap_err().to_string();
    assert!(error.contains("k9") && error.contains("32"), "{error}");
    assert!(VerificationKey::es256_pem("k", b"no key").is_err());
    assert!(SigningKey::eddsa_pem("k", KEYS.es.serialize_pem().as_bytes()).is_err());
}

#[test]
fn public_keys_of_another_kind_are_refused() {
    let other = |kind| KeyPair::generate_for(kind).unwrap().public_key_pem();
    let p384 = other(&PKCS_ECDSA_P384_SHA384);
    for pem in [&p384, &KEYS.ed.public_key_pem(), &KEYS.es.serialize_pem(), SECP256K1] {
        let error = VerificationKey::es256_pem("k9", pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("k9") && error.contains("P-256"), "{error}");
    }
    for pem in [&p384, &KEYS.es.public_key_pem(), &KEYS.ed.serialize_pem()] {
        let error = VerificationKey::eddsa_pem("k9", pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("k9") && error.contains("Ed25519"), "{error}");
    }
}

/// As long as a key on P-256, and on another curve.
const SECP256K1: &str = "-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEGaMm1OIETsnNO4XQXSPw4G1UIZt9rZT8
sfxuTZc2Ijgr5KSI5pFyTD5ONMXAnR18xOw1SSCxbDcnYGSVw+0cbg==
-----END PUBLIC KEY-----
";

#[test]
fn debug_output_keeps_secrets() {
    let text = format!("{:?}", SigningKey::hs256("hs", SECRET).unwrap());
    assert_eq!(text, "SigningKey(\"hs\", HS256)");
}
