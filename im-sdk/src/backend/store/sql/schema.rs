//! The tables, and how they came to be.

use std::time::Duration;

use sqlx::{Any, AssertSqlSafe, Transaction};
use tokio::time::sleep;

use super::{Dialect, SqlMessageStore};
use crate::backend::store::MessageStoreError;

pub(super) const MIGRATE: &str = "prepare its tables";

/// `SQLITE_BUSY`, and when to try again. The caller limits how often.
const BUSY: &str = "5";
const BUSY_PAUSE: Duration = Duration::from_millis(10);

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS im_schema (version BIGINT NOT NULL)";

/// What each version added to the tables; never changed, only continued. `{blob}` is the database's type for bytes.
const MIGRATIONS: [&[&str]; 1] = [&[
    "CREATE TABLE im_messages (
        log TEXT NOT NULL,
        seq BIGINT NOT NULL,
        id BIGINT NOT NULL,
        peer TEXT NOT NULL,
        sender TEXT NOT NULL,
        sent_at_ms BIGINT NOT NULL,
        kind TEXT NOT NULL,
        message {blob} NOT NULL,
        PRIMARY KEY (log, id)
    )",
    "CREATE INDEX im_messages_seq ON im_messages (log, seq, id)",
    "CREATE INDEX im_messages_peer ON im_messages (log, peer, seq, id)",
]];

impl SqlMessageStore {
    /// Several processes may do this at once.
    pub(super) async fn migrate(&self) -> Result<(), MessageStoreError> {
        let failed = |error: sqlx::Error| MessageStoreError::unavailable(MIGRATE, error);
        if self.dialect == Dialect::Sqlite {
            self.use_wal().await.map_err(failed)?;
            sqlx::query(VERSIONS).execute(&self.pool).await.map_err(failed)?;
        }
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        match self.dialect {
            // A write, so that nobody else reads the version meanwhile.
            Dialect::Sqlite => {
                sqlx::query("DELETE FROM im_schema WHERE version < 0")
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
            Dialect::Postgres => {
                sqlx::query("SELECT pg_advisory_xact_lock(7303014)::text")
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                sqlx::query(VERSIONS).execute(&mut *transaction).await.map_err(failed)?;
            }
        }
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM im_schema")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let known = MIGRATIONS.len() as i64;
        if found > known {
            return Err(MessageStoreError::Newer { found, known });
        }
        for (version, statements) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or_default()) {
            self.apply(&mut transaction, version, statements).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Readers then do not wait for the archiver. SQLite refuses at once, and does not wait, where another connection does
    /// the same at the same time.
    async fn use_wal(&self) -> Result<(), sqlx::Error> {
        loop {
            match sqlx::query("PRAGMA journal_mode = WAL").execute(&self.pool).await {
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(BUSY) => {
                    sleep(BUSY_PAUSE).await;
                }
                result => return result.map(drop),
            }
        }
    }

    async fn apply(
        &self,
        transaction: &mut Transaction<'_, Any>,
        version: i64,
        statements: &[&str],
    ) -> Result<(), sqlx::Error> {
        let blob = match self.dialect {
            Dialect::Sqlite => "BLOB",
            Dialect::Postgres => "BYTEA",
        };
        for statement in statements {
            let statement = statement.replace("{blob}", blob);
            sqlx::query(AssertSqlSafe(statement)).execute(&mut **transaction).await?;
        }
        let insert = sqlx::query("INSERT INTO im_schema (version) VALUES ($1)");
        insert.bind(version).execute(&mut **transaction).await.map(drop)
    }
}
