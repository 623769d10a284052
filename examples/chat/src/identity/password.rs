//! Passwords, hashed with Argon2id (RFC 9106) under the parameters that OWASP recommends.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use crate::refusal::{Refusal, Result};

/// Checks that a new password is long enough, and not so long that hashing it is an attack.
pub(crate) fn check(password: &str) -> Result<()> {
    match (8..=200).contains(&password.chars().count()) {
        true => Ok(()),
        false => Err(Refusal::InvalidPassword.into()),
    }
}

/// Hashes a password: some 20 ms and 19 MiB, on a thread that may block.
pub(crate) async fn hash(password: String) -> Result<String> {
    let hash = move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
    match tokio::task::spawn_blocking(hash).await? {
        Ok(hash) => Ok(hash),
        Err(error) => {
            tracing::error!(%error, "password not hashed");
            Err(Refusal::Unexpected.into())
        }
    }
}

/// Returns `true` if the password is the one that was hashed. Takes as long where there is no hash, so that the time does not
/// tell which accounts exist.
pub(crate) async fn verify(password: String, hash: Option<String>) -> Result<bool> {
    let verify = move || {
        let Some(hash) = hash else {
            _ = Argon2::default().hash_password(password.as_bytes());
            return false;
        };
        PasswordHash::new(&hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    };
    Ok(tokio::task::spawn_blocking(verify).await?)
}
