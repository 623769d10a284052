//! Limits on attempts, such as guesses of a password: so many within a window of time, on all backends together.

use std::time::Duration;

use crate::{
    database::{Database, now_ms},
    refusal::{Failure, Result},
};

/// Counts an attempt, or refuses it.
pub(crate) async fn count(database: &Database, what: &str, most: i64, window: Duration) -> Result<()> {
    let now = now_ms();
    let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    // One statement, so that attempts at the same time are all counted.
    let count = "INSERT INTO attempts (what, count, window_ends_at) VALUES ($1, 1, $2) \
         ON CONFLICT (what) DO UPDATE SET \
         count = CASE WHEN attempts.window_ends_at <= $3 THEN 1 ELSE attempts.count + 1 END, \
         window_ends_at = CASE WHEN attempts.window_ends_at <= $3 THEN $2 ELSE attempts.window_ends_at END \
         RETURNING count, window_ends_at";
    let (attempts, ends_at): (i64, i64) =
        sqlx::query_as(count).bind(what).bind(now + window).bind(now).fetch_one(database.pool()).await?;
    if attempts > most { Err(Failure::too_many(ends_at - now)) } else { Ok(()) }
}

/// Forgets attempts, once one of them was right.
pub(crate) async fn clear(database: &Database, what: &str) -> Result<()> {
    sqlx::query("DELETE FROM attempts WHERE what = $1").bind(what).execute(database.pool()).await?;
    Ok(())
}

/// Deletes what is of no use any more. Run it now and then.
pub(crate) async fn sweep(database: &Database) -> Result<()> {
    sqlx::query("DELETE FROM attempts WHERE window_ends_at <= $1")
        .bind(now_ms())
        .execute(database.pool())
        .await?;
    Ok(())
}
