//! Keys that sign and verify tokens. Each key is for one algorithm.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::provider;

/// The minimum length of a secret for HS256 (RFC 7518, section 3.2: as long as the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// A key that signs tokens: a key id, an algorithm and a secret or private key.
pub struct SigningKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl SigningKey {
    /// Creates a key for HMAC with SHA-256. Servers verify with the same secret.
    ///
    /// # Errors
    /// [`KeyError`] if the secret is shorter than [`MIN_SECRET_BYTES`], or
    /// [published](is_published).
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        check_secret(&id, secret)?;
        Ok(Self { id, algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret) })
    }

    /// Creates a key for Ed25519 from a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no such key.
    pub fn eddsa_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = EncodingKey::from_ed_pem(pem).map_err(|error| KeyError::new(&id, &error))?;
        Self { id, algorithm: Algorithm::EdDSA, key }.checked()
    }

    /// Creates a key for ECDSA on P-256 with SHA-256 from a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no such key.
    pub fn es256_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = EncodingKey::from_ec_pem(pem).map_err(|error| KeyError::new(&id, &error))?;
        Self { id, algorithm: Algorithm::ES256, key }.checked()
    }

    /// Refuses a key that could not sign, such as one on another curve.
    fn checked(self) -> Result<Self, KeyError> {
        match provider::signer(&self.algorithm, &self.key) {
            Ok(_) => Ok(self),
            Err(error) => Err(KeyError::new(&self.id, &error)),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({:?}, {:?})", self.id, self.algorithm)
    }
}

/// A key that verifies tokens: a key id, the one algorithm that it is for, and a secret or public
/// key.
pub struct VerificationKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl VerificationKey {
    /// Creates a key for HMAC with SHA-256.
    ///
    /// # Errors
    /// [`KeyError`] if the secret is shorter than [`MIN_SECRET_BYTES`], or
    /// [published](is_published).
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        check_secret(&id, secret)?;
        Ok(Self { id, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    /// Creates a key for Ed25519 from a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no such key.
    pub fn eddsa_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = DecodingKey::from_ed_pem(pem).ok().filter(provider::is_ed25519);
        let key =
            key.ok_or_else(|| KeyError::new(&id, &"it is no public key for EdDSA (Ed25519, in PEM)"))?;
        Ok(Self { id, algorithm: Algorithm::EdDSA, key })
    }

    /// Creates a key for ECDSA on P-256 with SHA-256 from a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no such key, or if the key is on another curve, such as P-384.
    pub fn es256_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = DecodingKey::from_ec_pem(pem).ok().filter(provider::is_p256);
        let key = key.ok_or_else(|| KeyError::new(&id, &"it is no public key for ES256 (P-256, in PEM)"))?;
        Ok(Self { id, algorithm: Algorithm::ES256, key })
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerificationKey({:?}, {:?})", self.id, self.algorithm)
    }
}

/// The key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token key {id:?} cannot be used: {reason}")]
pub struct KeyError {
    id: String,
    reason: String,
}

impl KeyError {
    fn new(id: &str, reason: &impl ToString) -> Self {
        Self { id: id.to_owned(), reason: reason.to_string() }
    }
}

/// Returns whether a secret is in the documentation or in an example, now or formerly: anybody who
/// has read it could sign in as any user. [`SigningKey::hs256`] and [`VerificationKey::hs256`]
/// refuse it.
pub fn is_published(secret: &[u8]) -> bool {
    let secret = String::from_utf8_lossy(secret).to_ascii_lowercase();
    PUBLISHED.iter().any(|published| secret.contains(published))
}

const PUBLISHED: [&str; 3] =
    ["change me", "at least 32 bytes that nobody else knows", "thirty-two bytes or more, please"];

/// Creates a random secret for HS256, for tests and for products that run in one process. Its
/// tokens end with the process. For servers and backends, create one with `openssl rand -base64
/// 32` and configure it in all of them.
pub fn random_secret() -> [u8; MIN_SECRET_BYTES] {
    rand::random()
}

fn check_secret(id: &str, secret: &[u8]) -> Result<(), KeyError> {
    if secret.len() < MIN_SECRET_BYTES {
        let reason =
            format!("its secret has {} bytes, HS256 takes at least {MIN_SECRET_BYTES}", secret.len());
        return Err(KeyError::new(id, &reason));
    }
    if is_published(secret) {
        let reason = "its secret stands in the documentation, so anybody could forge tokens: make one with \
                      `openssl rand -base64 32`";
        return Err(KeyError::new(id, &reason));
    }
    Ok(())
}
