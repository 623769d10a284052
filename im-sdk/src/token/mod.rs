//! The tokens that devices show: JSON Web Tokens (RFC 7519) that a back end mints and a server verifies by itself.
//!
//! A token names its user (`sub`), who minted it (`iss`), what for (`aud`) and until when (`exp`); its header names the
//! key (`kid`). Each key has one algorithm, pinned: a token cannot choose. There is no `none`.
//!
//! ```
//! use im_sdk::{id::UserId, token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey, random_secret}};
//! use std::time::Duration;
//!
//! let secret = random_secret(); // in production from your configuration, the same in servers and back ends
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

/// How far the clocks of a back end and a server may be apart before a fresh token looks unborn or expired.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
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
    issuer: String,
    audience: String,
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
    /// When it ends, seconds since the Unix epoch; a fraction counts as a whole one.
    pub expires_at: u64,
}

impl TokenVerifier {
    /// A verifier that accepts tokens of this issuer, for this audience, signed by one of these keys. Several keys let
    /// a new key come before the old one goes.
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
    /// [`TokenError`] says what is wrong with it, never what it is.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        self.verify_at(token, unix_time())
    }

    /// Verifies a token at a time since the Unix epoch, such as that of a cluster whose machines have different clocks.
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

/// The claims are checked here: the library takes whole seconds alone, and a list of issuers.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Since the Unix epoch.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no token: the application gave an empty text.
    #[error("the token is empty")]
    Empty,
    /// It is no JSON Web Token, has a claim twice or of another form, or names an algorithm that does not exist (such as `none`).
    #[error("the token is malformed: it is no JSON Web Token, or one of its claims has another form")]
    Malformed,
    /// It has no claim of this name.
    #[error("the token lacks the claim {0}")]
    MissingClaim(&'static str),
    /// Its header has extensions that whoever verifies it must understand (`crit`; RFC 7515, section 4.1.11): there is none
    /// that this does.
    #[error("the token's header names extensions that are not known (crit)")]
    UnknownExtension,
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
            ErrorKind::InvalidAlgorithm => Self::WrongAlgorithm,
            ErrorKind::InvalidSignature => Self::BadSignature,
            ErrorKind::Json(error) => claims::missing(&**error).map_or(Self::Malformed, Self::MissingClaim),
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
