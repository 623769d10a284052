mod claims;
mod random;

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::hmac;
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

/// Creates a token with any header and claims, signed with the HS256 secret.
fn forge(kid: Option<&str>, claims: &serde_json::Value) -> String {
    provider::install();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid.map(Into::into);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// Signs any bytes, also those that no library would write.
fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The header of a valid token.
const HEADER: &str = r#"{"alg":"HS256","kid":"hs"}"#;

fn claims() -> serde_json::Value {
    json!({ "sub": "alice", "iss": "backend", "aud": "im", "exp": unix_time().as_secs() + 60 })
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
        assert!(verified.expires_at >= unix_time().as_secs() + 3500);
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
    // The classic confusion: an attacker signs HS256 with the public key's text, naming the
    // asymmetric key.
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
    assert_eq!(verifier().verify(""), Err(TokenError::Empty));
    for wrong in [".", "..", "a.b.c", "💥", &good[..good.len() / 2]] {
        assert_eq!(verifier().verify(wrong), Err(TokenError::Malformed), "{wrong:?}");
    }
}

#[test]
fn weak_or_wrong_keys_are_refused_with_their_id() {
    let error = SigningKey::hs256("k9", b"short").unwrap_err().to_string();
    assert!(error.contains("k9") && error.contains("32"), "{error}");
    for published in
        ["thirty-two bytes or more, please!", "Change me: at least 32 bytes that nobody else knows"]
    {
        let error = SigningKey::hs256("k9", published.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("k9") && error.contains("documentation"), "{error}");
        assert!(VerificationKey::hs256("k9", published.as_bytes()).is_err());
    }
    assert!(SigningKey::hs256("k9", &random_secret()).is_ok() && random_secret() != random_secret());
    assert!(VerificationKey::es256_pem("k", b"no key").is_err());
    assert!(SigningKey::eddsa_pem("k", KEYS.es.serialize_pem().as_bytes()).is_err());
    // A private key in place of the public one.
    assert!(VerificationKey::es256_pem("k", KEYS.es.serialize_pem().as_bytes()).is_err());
    assert!(VerificationKey::eddsa_pem("k", KEYS.ed.serialize_pem().as_bytes()).is_err());
}

#[test]
fn a_key_on_another_curve_is_refused_before_it_is_used() {
    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let public = VerificationKey::es256_pem("k9", other.public_key_pem().as_bytes()).unwrap_err();
    let private = SigningKey::es256_pem("k9", other.serialize_pem().as_bytes()).unwrap_err();
    assert!(public.to_string().contains("P-256"), "{public}");
    assert!(private.to_string().contains("k9"), "{private}");
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    let claims = claims().to_string();
    assert!(verifier().verify(&sign(HEADER.as_bytes(), claims.as_bytes())).is_ok(), "signed as it must be");
    for crit in [r#"["exp"]"#, r#"["b64"]"#, r#"["https://example.com/x"]"#, "[]"] {
        let header = HEADER.replace('}', &format!(r#","crit":{crit},"b64":true}}"#));
        let token = sign(header.as_bytes(), claims.as_bytes());
        assert_eq!(verifier().verify(&token), Err(TokenError::UnknownExtension), "{header}");
    }
    let other_form = HEADER.replace('}', r#","crit":"exp"}"#);
    let token = sign(other_form.as_bytes(), claims.as_bytes());
    assert_eq!(verifier().verify(&token), Err(TokenError::Malformed));
    // An extension that is not named as critical is ignored.
    let not_critical = HEADER.replace('}', r#","x":[1]}"#);
    assert!(verifier().verify(&sign(not_critical.as_bytes(), claims.as_bytes())).is_ok());
}

#[test]
fn a_header_that_says_something_twice_is_malformed() {
    let claims = claims().to_string();
    for twice in [r#","kid":"hs"}"#, r#","alg":"HS256"}"#] {
        let token = sign(HEADER.replace('}', twice).as_bytes(), claims.as_bytes());
        assert_eq!(verifier().verify(&token), Err(TokenError::Malformed), "{twice}");
    }
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

/// As long as a key on P-256, but on another curve.
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

#[test]
fn a_token_is_judged_by_the_time_that_is_given() {
    let key = SigningKey::hs256("hs", SECRET).unwrap();
    let token = TokenMinter::new(key, "backend", "im").mint(&alice(), HOUR).unwrap();
    let at = |time: Duration| verifier().verify_at(&token, time).map(|token| token.user);
    assert_eq!(at(unix_time()), Ok(alice()));
    assert_eq!(at(unix_time() + HOUR / 2), Ok(alice()));
    assert_eq!(at(unix_time() + 2 * HOUR), Err(TokenError::Expired));
}

#[test]
fn claims_are_utf8_also_those_that_do_not_count() {
    let token = |letter: &[u8]| {
        let claims = claims().to_string();
        let (all, _) = claims.rsplit_once('}').unwrap();
        sign(HEADER.as_bytes(), &[all.as_bytes(), b",\"note\":\"", letter, b"\"}"].concat())
    };
    assert!(verifier().verify(&token("\u{e9}".as_bytes())).is_ok());
    assert_eq!(verifier().verify(&token(b"\xff")), Err(TokenError::Malformed));
}
