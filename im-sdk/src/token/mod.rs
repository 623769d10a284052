//! Access tokens of devices: JSON Web Tokens (RFC 7519) that a backend mints and a server verifies
//! by itself.
//!
//! A token names its user (`sub`), issuer (`iss`), audience (`aud`) and expiry (`exp`); its header
//! names the key (`kid`). The algorithm is pinned to the key: a token cannot choose it. There is no
//! `none`.
//!
//! ```
//! use im_sdk::{id::UserId, token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey, random_secret}};
//! use std::time::Duration;
//!
//! let secret = random_secret(); // in production from your configuration, the same in servers and backends
//! let minter = TokenMinter::new(SigningKey::hs256("k1", &secret)?, "my-backend", "im");
//! let token = minter.mint(&UserId::parse("alice")?, Duration::from_secs(3600))?;
//!
//! let verifier = TokenVerifier::new("my-backend", "im", [VerificationKey::hs256("k1", &secret)?]);
//! assert_eq!(verifier.verify(&token)?.user.as_str(), "alice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
mod keys;
mod provider;
mod refused;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::Serialize;

use self::claims::Claims;
pub use self::keys::{KeyError, MIN_SECRET_BYTES, SigningKey, VerificationKey, is_published, random_secret};
use crate::id::UserId;

/// The tolerated difference between the clocks of a backend and a server, so that a fresh token is
/// neither premature nor expired.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

/// Mints tokens for a backend's users.
#[derive(Debug)]
pub struct TokenMinter {
    key: SigningKey,
    issuer: String,
    audience: String,
}

impl TokenMinter {
    /// Creates a minter. Configure servers with the same issuer and audience.
    pub fn new(key: SigningKey, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        provider::install();
        Self { key, issuer: issuer.into(), audience: audience.into() }
    }

    /// Mints a token for a user, valid for `ttl` from now.
    ///
    /// # Errors
    /// [`MintError`] if the key cannot sign.
    #[doc(alias("login", "log in", "sign in"))]
    pub fn mint(&self, user: &UserId, ttl: Duration) -> Result<String, MintError> {
        let now = unix_time().as_secs();
        let claims = MintedClaims {
            sub: user.as_str(),
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            exp: now.saturating_add(ttl.as_secs()),
        };
        let mut header = Header::new(self.key.algorithm);
        header.kid = Some(self.key.id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key.key).map_err(|error| MintError(error.to_string()))
    }
}

/// The token could not be signed.
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
    issuer: String,
    audience: String,
    keys: HashMap<String, PinnedKey>,
}

#[derive(Debug)]
struct PinnedKey {
    key: VerificationKey,
    validation: Validation,
}

/// The content of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedToken {
    /// The user.
    pub user: UserId,
    /// The expiry in seconds since the Unix epoch, rounded up.
    pub expires_at: u64,
}

impl TokenVerifier {
    /// Creates a verifier for tokens of this issuer, for this audience, signed by one of these
    /// keys. To rotate keys, configure both the old and the new one.
    pub fn new(issuer: &str, audience: &str, keys: impl IntoIterator<Item = VerificationKey>) -> Self {
        provider::install();
        let pin = |key: VerificationKey| {
            let validation = signature_alone(key.algorithm);
            (key.id.clone(), PinnedKey { key, validation })
        };
        let keys = keys.into_iter().map(pin).collect();
        Self { issuer: issuer.to_owned(), audience: audience.to_owned(), keys }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// [`TokenError`] tells what is wrong with the token, never its content.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        self.verify_at(token, unix_time())
    }

    /// Verifies a token at a time since the Unix epoch, such as that of a cluster whose machines
    /// have different clocks.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify_at(&self, token: &str, now: Duration) -> Result<VerifiedToken, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::UnknownExtension);
        }
        let pinned = header.kid.and_then(|id| self.keys.get(&id)).ok_or(TokenError::UnknownKey)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &pinned.key.key, &pinned.validation);
        let claims = decoded.map_err(|error| TokenError::from(error.kind()))?.claims;
        claims.check(&self.issuer, &self.audience, now.as_secs_f64())
    }
}

/// Has the library check the signature only. It takes times in whole seconds, and a list of
/// issuers, so claims are checked here.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Returns the time since the Unix epoch.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The reason why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is empty: the application provided none.
    #[error("the token is empty")]
    Empty,
    /// The token is no JSON Web Token, has a claim twice or of another form, or names an algorithm
    /// that does not exist (such as `none`).
    #[error("the token is malformed: it is no JSON Web Token, or one of its claims has another form")]
    Malformed,
    /// The token lacks this claim.
    #[error("the token lacks the claim {0}")]
    MissingClaim(&'static str),
    /// The header has extensions that a verifier must understand (`crit`; RFC 7515, section
    /// 4.1.11), and none is supported.
    #[error("the token's header names extensions that are not known (crit)")]
    UnknownExtension,
    /// The header names no key, or one that is not configured.
    #[error("the token names no key that this server knows")]
    UnknownKey,
    /// The algorithm is not that of the key.
    #[error("the token's algorithm is not the one of its key")]
    WrongAlgorithm,
    /// The signature is invalid.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token is of another issuer.
    #[error("the token has another issuer")]
    WrongIssuer,
    /// The token is for another audience.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// The `sub` is no user id.
    #[error("the token's subject is not a valid user id")]
    InvalidUser,
}

impl From<&ErrorKind> for TokenError {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidAlgorithm => Self::WrongAlgorithm,
            ErrorKind::InvalidSignature => Self::BadSignature,
            ErrorKind::Json(error) => claims::missing(&**error).map_or(Self::Malformed, Self::MissingClaim),
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
