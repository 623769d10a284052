//! Cryptography of tokens by ring, as for TLS: one library in the process, and one that
//! cross-compiles to phones.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, new_error},
};
use ring::{
    agreement, hmac,
    rand::SystemRandom,
    signature::{self as asymmetric, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey},
};
use signature::{Error as SignatureError, Signer, Verifier};

/// Makes jsonwebtoken use ring, unless the application has installed another provider.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the application installed a provider of its own, which supports the
        // same algorithms.
        let _ = PROVIDER.install_default();
    });
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

pub(super) fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let key = match algorithm {
        Algorithm::HS256 => PrivateKey::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())),
        Algorithm::EdDSA => PrivateKey::Ed25519(ed25519(key.as_bytes())?),
        Algorithm::ES256 => PrivateKey::P256(p256(key.as_bytes())?),
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingSigner { algorithm: *algorithm, key }))
}

fn ed25519(pkcs8: &[u8]) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| new_error(ErrorKind::InvalidEddsaKey))
}

fn p256(pkcs8: &[u8]) -> Result<EcdsaKeyPair, Error> {
    let format = &asymmetric::ECDSA_P256_SHA256_FIXED_SIGNING;
    EcdsaKeyPair::from_pkcs8(format, pkcs8, &SystemRandom::new())
        .map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))
}

struct RingSigner {
    algorithm: Algorithm,
    key: PrivateKey,
}

enum PrivateKey {
    Hmac(hmac::Key),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match &self.key {
            PrivateKey::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            PrivateKey::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            PrivateKey::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| SignatureError::new())?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let bytes = key.try_get_as_bytes()?;
    let key = match algorithm {
        Algorithm::HS256 => PublicKey::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        Algorithm::EdDSA => public(&asymmetric::ED25519, bytes),
        Algorithm::ES256 => public(&asymmetric::ECDSA_P256_SHA256_FIXED, bytes),
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

fn public(format: &'static dyn asymmetric::VerificationAlgorithm, bytes: &[u8]) -> PublicKey {
    PublicKey::Asymmetric(UnparsedPublicKey::new(format, bytes.to_vec()))
}

/// Returns whether a key is on P-256. jsonwebtoken accepts keys of all curves, and ring would then
/// reject every signature.
pub(super) fn is_p256(key: &DecodingKey) -> bool {
    // A key agreement is ring's only way to check whether a key is a point of the curve.
    let own = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &SystemRandom::new());
    let (Ok(own), Ok(key)) = (own, key.try_get_as_bytes()) else { return false };
    let key = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, key);
    agreement::agree_ephemeral(own, &key, |_| ()).is_ok()
}

/// Returns whether a key has the length of an Ed25519 key.
pub(super) fn is_ed25519(key: &DecodingKey) -> bool {
    key.try_get_as_bytes().is_ok_and(|key| key.len() == ED25519_PUBLIC_KEY_BYTES)
}

/// RFC 8032, section 5.1.5.
const ED25519_PUBLIC_KEY_BYTES: usize = 32;

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

enum PublicKey {
    Hmac(hmac::Key),
    Asymmetric(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match &self.key {
            PublicKey::Hmac(key) => hmac::verify(key, message, signature),
            PublicKey::Asymmetric(key) => key.verify(message, signature),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
