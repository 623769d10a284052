//! Explanations of refused tokens, for the operator of the server and the owner of the token.

use std::time::Duration;

use super::{TokenError, TokenVerifier, claims::Ending, unix_time};

/// The maximum number of characters shown of untrusted text.
const SHOWN_CHARS: usize = 32;

/// The maximum number of key ids shown.
const SHOWN_KEYS: usize = 3;

impl TokenVerifier {
    /// Explains why a token was refused, with the expected values that are no secret: key ids,
    /// issuer and audience. Of the token it shows only the key id, shortened and without control
    /// characters.
    pub fn explain(&self, token: &str, error: TokenError) -> String {
        self.explain_at(token, error, unix_time(), "this machine")
    }

    /// Explains the result of [`TokenVerifier::verify_at`] at a time; `clock` names the owner of
    /// that clock, for people.
    pub fn explain_at(&self, token: &str, error: TokenError, now: Duration, clock: &str) -> String {
        match error {
            TokenError::Expired => match self.ended(token) {
                Some(end) => {
                    let ago = (now.as_secs_f64() - end).max(0.0);
                    format!("{error}: {ago:.0} s ago by the clock of {clock}")
                }
                None => error.to_string(),
            },
            TokenError::UnknownKey => self.explain_key(token),
            TokenError::BadSignature => match key_id(token) {
                Some(id) => {
                    format!("{error}: what signed it is not the key {} of this server", shown(&id))
                }
                None => error.to_string(),
            },
            TokenError::WrongIssuer => {
                format!("{error}: its iss is not {}", shown(&self.issuer))
            }
            TokenError::WrongAudience => format!("{error}: its aud is not {}", shown(&self.audience)),
            _ => error.to_string(),
        }
    }

    /// Returns when a token with a valid signature expired, in seconds since the Unix epoch.
    fn ended(&self, token: &str) -> Option<f64> {
        let pinned = self.keys.get(&key_id(token)?)?;
        let decoded = jsonwebtoken::decode::<Ending>(token, &pinned.key.key, &pinned.validation);
        decoded.ok().map(|decoded| decoded.claims.exp)
    }

    fn explain_key(&self, token: &str) -> String {
        let named = match key_id(token) {
            Some(id) => format!("the token names the key {}", shown(&id)),
            None => "the token names no key (kid)".to_owned(),
        };
        format!("{named}; this server knows {}", self.known_keys())
    }

    fn known_keys(&self) -> String {
        let mut ids: Vec<_> = self.keys.keys().collect();
        ids.sort();
        let mut known: Vec<_> = ids.iter().take(SHOWN_KEYS).map(|id| shown(id)).collect();
        match ids.len() {
            0 => known.push("none".to_owned()),
            all if all > SHOWN_KEYS => known.push("others".to_owned()),
            _ => {}
        }
        known.join(", ")
    }
}

fn key_id(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// Quotes a text, printable and shortened.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect();
    if shown.len() > SHOWN_CHARS {
        shown.truncate(SHOWN_CHARS);
    }
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("\"{shown}{rest}\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        id::UserId,
        token::{SigningKey, TokenMinter, VerificationKey},
    };

    const SECRET: &[u8] = b"a secret that nobody ever is told";

    fn verifier(ids: &[&str]) -> TokenVerifier {
        let key = |id: &&str| VerificationKey::hs256(*id, SECRET).unwrap();
        TokenVerifier::new("my-backend", "im", ids.iter().map(key))
    }

    fn said(ids: &[&str], key: SigningKey, issuer: &str, audience: &str) -> String {
        let user = UserId::parse("mallory").unwrap();
        let token = TokenMinter::new(key, issuer, audience).mint(&user, Duration::from_secs(60)).unwrap();
        let verifier = verifier(ids);
        let error = verifier.verify(&token).unwrap_err();
        let said = verifier.explain(&token, error);
        let parts: Vec<&str> = token.split('.').collect();
        assert!(parts.iter().all(|part| !said.contains(part)), "{said}");
        assert!(!said.contains("mallory") && !said.contains("a secret"), "{said}");
        said
    }

    fn hs256(id: &str, secret: &[u8]) -> SigningKey {
        SigningKey::hs256(id, secret).unwrap()
    }

    #[test]
    fn what_was_expected_is_said_where_it_is_no_secret() {
        let good = || hs256("k1", SECRET);
        let forged = hs256("k1", b"another secret of thirty-two bytes");
        assert_eq!(
            said(&["k1"], forged, "my-backend", "im"),
            "the token's signature is wrong: what signed it is not the key \"k1\" of this server"
        );
        assert!(said(&["k1"], good(), "other", "im").ends_with("its iss is not \"my-backend\""));
        assert!(said(&["k1"], good(), "my-backend", "other").ends_with("its aud is not \"im\""));
        assert_eq!(
            said(&["k2", "k1"], hs256("k9", SECRET), "my-backend", "im"),
            "the token names the key \"k9\"; this server knows \"k1\", \"k2\""
        );
        let many = said(&["d", "c", "b", "a"], hs256("k9", SECRET), "my-backend", "im");
        assert!(many.ends_with("\"a\", \"b\", \"c\", others"), "{many}");
        let none = verifier(&[]).explain("no token", TokenError::UnknownKey);
        assert_eq!(none, "the token names no key (kid); this server knows none");
    }

    #[test]
    fn an_expired_token_says_since_when_and_by_whose_clock() {
        let user = UserId::parse("alice").unwrap();
        let minter = TokenMinter::new(hs256("k1", SECRET), "my-backend", "im");
        let token = minter.mint(&user, Duration::from_secs(60)).unwrap();
        let (verifier, now) = (verifier(&["k1"]), unix_time() + Duration::from_secs(3660));
        let error = verifier.verify_at(&token, now).unwrap_err();
        let said = verifier.explain_at(&token, error, now, "the cluster");
        // A second is left for the test itself.
        let expected =
            ["3600", "3601"].map(|s| format!("the token has expired: {s} s ago by the clock of the cluster"));
        assert!(expected.contains(&said), "{said}");
    }

    #[test]
    fn a_key_id_cannot_fill_or_forge_a_line() {
        let evil = format!("k\n\u{1b}[31m用户\"{}", "x".repeat(1000));
        let said = said(&["k1"], hs256(&evil, SECRET), "my-backend", "im");
        assert!(said.len() < 100 && said.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{said}");
    }
}
