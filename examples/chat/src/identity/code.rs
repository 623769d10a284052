//! Signing in by a one-time code that is sent to an address.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use rand::RngExt;

use super::{attempts, session::hash};
use crate::{
    app::App,
    database::now_ms,
    refusal::{Refusal, Result},
};

const HOUR: Duration = Duration::from_secs(3600);
const CODE_MS: i64 = 10 * 60 * 1000;
/// Guesses of one code. With six digits and five codes an hour an attacker has one chance in 40,000 an hour.
const GUESSES: i64 = 5;

/// Sends codes by e-mail, as a text message, or in any other way.
#[async_trait]
pub(crate) trait CodeSender: fmt::Debug + Send + Sync {
    /// Sends a code. An error is logged; the caller is not told, since that would tell which addresses exist.
    async fn send(&self, address: &str, code: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Prints codes on the console, for demonstrations.
#[derive(Debug)]
pub(crate) struct ConsoleSender;

#[async_trait]
impl CodeSender for ConsoleSender {
    #[allow(clippy::print_stdout, reason = "it is the console")]
    async fn send(&self, address: &str, code: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        println!("code for {address}: {code}");
        Ok(())
    }
}

/// Sends a code to an address, if it belongs to an account.
pub(crate) async fn send(app: &App, sender: &dyn CodeSender, address: &str) -> Result<()> {
    let address = address.trim().to_lowercase();
    attempts::count(&app.database, &format!("code:{address}"), 5, HOUR).await?;
    let known = sqlx::query("SELECT 1 FROM users WHERE address = $1").bind(&address);
    if known.fetch_optional(app.database.pool()).await?.is_none() {
        return Ok(());
    }
    let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
    let upsert = "INSERT INTO login_codes (address, code_hash, guesses, ends_at) VALUES ($1, $2, 0, $3) \
         ON CONFLICT (address) DO UPDATE SET code_hash = $2, guesses = 0, ends_at = $3";
    sqlx::query(upsert)
        .bind(&address)
        .bind(hash(&code))
        .bind(now_ms() + CODE_MS)
        .execute(app.database.pool())
        .await?;
    if let Err(error) = sender.send(&address, &code).await {
        tracing::error!(%error, "code not sent");
    }
    Ok(())
}

/// Returns the user whose code this is. Each guess counts, also one at the same time as another; a right one is used up.
pub(crate) async fn redeem(app: &App, address: &str, code: &str) -> Result<String> {
    let address = address.trim().to_lowercase();
    let guess = "UPDATE login_codes SET guesses = guesses + 1 WHERE address = $1 AND ends_at > $2 AND guesses < $3 \
         RETURNING code_hash";
    let expected: Option<(String,)> = sqlx::query_as(guess)
        .bind(&address)
        .bind(now_ms())
        .bind(GUESSES)
        .fetch_optional(app.database.pool())
        .await?;
    if expected.is_none_or(|(expected,)| expected != hash(code.trim())) {
        return Err(Refusal::WrongCode.into());
    }
    // Of two that use it at the same time, one deletes it.
    let delete = sqlx::query("DELETE FROM login_codes WHERE address = $1").bind(&address);
    if delete.execute(app.database.pool()).await?.rows_affected() == 0 {
        return Err(Refusal::WrongCode.into());
    }
    let user: Option<(String,)> = sqlx::query_as("SELECT id FROM users WHERE address = $1")
        .bind(&address)
        .fetch_optional(app.database.pool())
        .await?;
    user.map(|(user,)| user).ok_or_else(|| Refusal::WrongCode.into())
}
