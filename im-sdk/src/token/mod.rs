//! The tokens that devices show: JSON Web Tokens (RFC 7519) that a back end mints and a server verifies by itself.
//!
//! A token names its user (`sub`), who minted it (`iss`), what for (`aud`) and until when (`exp`); its header names the
//! key (`kid`). Each key has one algorithm, pinned: a token cannot choose. There is no `none`.
//!
//! ```
//! use im_sdk::{id::UserId, token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey}};
//! use std::time::Duration;
//!
//! let secret = b"at least 32 bytes that nobody else knows";
//! let minter = TokenMinter::new(SigningKey::hs256("k1", secret)?, "my-backend", "im");
//! let token = minter.mint(&UserId::parse("alice")?, Duration::from_secs(3600))?;
//!
//! let verifier = TokenVerifier::new("my-backend", "im", [VerificationKey::hs256("k1", secret)?]);
//! assert_eq!(verifier.verify(&token)?.user.as_str(), "alice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod provider;

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// How far the clocks of a back end and a server may be apart before a fresh token looks unborn or expired.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// The shortest secret for HS256 (RFC 7518, section 3.2: as long as the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// What signs tokens: a key id, an algorithm and a secret or private key.
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    /// HMAC with SHA-256. Servers verify with the same secret.
    ///
    /// # Errors
    /// [`KeyError`] when the secret is shorter than [`MIN_SECRET_BYTES`].
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        check_secret(&id, secret)?;
        Ok(Self { id, algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret) })
    }

    /// Ed25519, from a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] when the text is no such key.
    pub fn eddsa_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = EncodingKey::from_ed_pem(pem).map_err(|error| KeyError::new(&id, &error))?;
        Ok(Self { id, algorithm: Algorithm::EdDSA, key })
    }

    /// ECDSA on P-256 with SHA-256, from a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] when the text is no such key.
    pub fn es256_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = EncodingKey::from_ec_pem(pem).map_err(|error| KeyError::new(&id, &error))?;
        Ok(Self { id, algorithm: Algorithm::ES256, key })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({:?}, {:?})", self.id, self.algorithm)
    }
}

/// What verifies tokens: a key id, the one algorithm that it is for, and a secret or public key.
pub struct VerificationKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerificationKey {
    /// HMAC with SHA-256.
    ///
    /// # Errors
    /// [`KeyError`] when the secret is shorter than [`MIN_SECRET_BYTES`].
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        check_secret(&id, secret)?;
        Ok(Self { id, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    /// Ed25519, from a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] when the text is no such key.
    pub fn eddsa_pem(id: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let id = id.into();
        let key = DecodingKey::from_ed_pem(pem).ok().filter(provider::is_ed25519);
        let key =
            key.ok_or_else(|| KeyError::new(&id, &"it is no public key for EdDSA (Ed25519, in PEM)"))?;
        Ok(Self { id, algorithm: Algorithm::EdDSA, key })
    }

    /// ECDSA on P-256 with SHA-256, from a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] when the text is no such key; one on another curve, such as P-384, is none.
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

/// A key that cannot be used.
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

fn check_secret(id: &str, secret: &[u8]) -> Result<(), KeyError> {
    if secret.len() >= MIN_SECRET_BYTES {
        return Ok(());
    }
    let reason = format!("its secret has {} bytes, HS256 takes at least {MIN_SECRET_BYTES}", secret.len());
    Err(KeyError::new(id, &reason))
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
}

/// Only what the verifier itself reads; `iss`, `aud` and `nbf` are checked by the validation.
#[derive(Deserialize)]
struct VerifiedClaims {
    sub: String,
    exp: u64,
}

/// Mints tokens for a back end's users.
#[derive(Debug)]
pub struct TokenMinter {
    key: SigningKey,
    issuer: String,
    audience: String,
}

impl TokenMinter {
    /// A minter. Servers must be configured with the same issuer and audience.
    pub fn new(key: SigningKey, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        provider::install();
        Self { key, issuer: issuer.into(), audience: audience.into() }
    }

    /// A token for a user, good for `ttl` from now.
    ///
    /// # Errors
    /// [`MintError`] when the key cannot sign.
    pub fn mint(&self, user: &UserId, ttl: Duration) -> Result<String, MintError> {
        let now = unix_seconds();
        let claims = Claims {
            sub: user.to_string(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: now,
            exp: now.saturating_add(ttl.as_secs()),
        };
        let mut header = Header::new(self.key.algorithm);
        header.kid = Some(self.key.id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key.key).map_err(|error| MintError(error.to_string()))
    }
}

/// A token could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed: {0}")]
pub struct MintError(String);

impl From<KeyError> for MintError {
    fn from(error: KeyError) -> Self {
        Self(error.to_string())
    }
}

/// Verifies tokens without asking anybody.
#[derive(Debug)]
pub struct TokenVerifier {
    keys: HashMap<String, PinnedKey>,
}

#[derive(Debug)]
struct PinnedKey {
    key: VerificationKey,
    validation: Validation,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedToken {
    /// Whom it names.
    pub user: UserId,
    /// When it ends, seconds since the Unix epoch.
    pub expires_at: u64,
}

impl TokenVerifier {
    /// A verifier that accepts tokens of this issuer, for this audience, signed by one of these keys. Several keys let
    /// a new key come before the old one goes.
    pub fn new(issuer: &str, audience: &str, keys: impl IntoIterator<Item = VerificationKey>) -> Self {
        provider::install();
        let pin = |key: VerificationKey| {
            let validation = validation(key.algorithm, issuer, audience);
            (key.id.clone(), PinnedKey { key, validation })
        };
        Self { keys: keys.into_iter().map(pin).collect() }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it, never what it is.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let pinned = header.kid.and_then(|id| self.keys.get(&id)).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<VerifiedClaims>(token, &pinned.key.key, &pinned.validation)
            .map_err(|error| TokenError::from(error.kind()))?
            .claims;
        let user = UserId::parse(&claims.sub).map_err(|_| TokenError::InvalidUser)?;
        Ok(VerifiedToken { user, expires_at: claims.exp })
    }
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = CLOCK_LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no JSON Web Token, lacks a claim, or names an algorithm that does not exist (such as `none`).
    #[error("the token is malformed or lacks a claim")]
    Malformed,
    /// Its header names no key, or one that is not configured.
    #[error("the token names no key that this server knows")]
    UnknownKey,
    /// Its algorithm is not the one that its key is for.
    #[error("the token's algorithm is not the one of its key")]
    WrongAlgorithm,
    /// Its signature is wrong.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It comes from somebody else.
    #[error("the token has another issuer")]
    WrongIssuer,
    /// It is meant for something else.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// Its `sub` is no user id.
    #[error("the token's subject is not a valid user id")]
    InvalidUser,
}

impl From<&ErrorKind> for TokenError {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYetValid,
            ErrorKind::InvalidIssuer => Self::WrongIssuer,
            ErrorKind::InvalidAudience => Self::WrongAudience,
            ErrorKind::InvalidAlgorithm => Self::WrongAlgorithm,
            ErrorKind::InvalidSignature => Self::BadSignature,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
