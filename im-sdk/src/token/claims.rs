//! Claims of a token (RFC 7519, section 4.1), checked only after its signature was verified.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{CLOCK_LEEWAY, TokenError, VerifiedToken};
use crate::id::UserId;

/// The checked claims. A token that lacks one, has one twice, or one of another form is malformed.
/// Times are seconds since the Unix epoch, which may have a fraction and be of any size
/// (`NumericDate`, section 2).
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    iss: String,
    aud: Audience,
    exp: f64,
    #[serde(default, deserialize_with = "number")]
    nbf: Option<f64>,
    /// Unused, but required to be UTF-8 like the whole token (RFC 7519, section 7.2); skipped
    /// values would not be checked.
    #[serde(flatten)]
    _others: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The required claims.
const REQUIRED: [&str; 4] = ["sub", "iss", "aud", "exp"];

/// Returns the missing claim, if that is why the claims could not be read.
pub(super) fn missing(error: &impl ToString) -> Option<&'static str> {
    let said = error.to_string();
    REQUIRED.into_iter().find(|name| said.starts_with(&format!("missing field `{name}`")))
}

/// The expiry of a token that is valid except for its time.
#[derive(Deserialize)]
pub(super) struct Ending {
    pub(super) exp: f64,
}

/// Deserialises an optional claim that must be a number: `null` is refused, too.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(deserializer).map(Some)
}

impl Claims {
    /// Checks the claims for this issuer and audience at this time.
    pub(super) fn check(self, issuer: &str, audience: &str, now: f64) -> Result<VerifiedToken, TokenError> {
        let leeway = CLOCK_LEEWAY.as_secs_f64();
        if now >= self.exp + leeway {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|not_before| now + leeway < not_before) {
            return Err(TokenError::NotYetValid);
        }
        if self.iss != issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !self.aud.contains(audience) {
            return Err(TokenError::WrongAudience);
        }
        let user = UserId::parse(&self.sub).map_err(|_| TokenError::InvalidUser)?;
        // A time out of range is no earlier than the last one in range.
        Ok(VerifiedToken { user, expires_at: self.exp.ceil() as u64 })
    }
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}
