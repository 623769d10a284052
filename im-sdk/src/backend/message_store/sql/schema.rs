//! The tables and their migrations.

use std::time::Duration;

use sqlx::{Any, AssertSqlSafe, Transaction};
use tokio::time::sleep;

use super::{Dialect, SqlMessageStore};
use crate::backend::message_store::{MessageStoreError, words::terms::VERSION};

pub(super) const MIGRATE: &str = "prepare its tables";

/// The code of `SQLITE_BUSY`, and the pause before another attempt. The caller limits the time.
const BUSY: &str = "5";
const BUSY_PAUSE: Duration = Duration::from_millis(10);

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS im_schema (version BIGINT NOT NULL)";

/// The statements by which a version changes the tables. They are never edited: a later version adds its own.
/// `{blob}` is the database's type for bytes.
struct Version {
    both: &'static [&'static str],
    sqlite: &'static [&'static str],
    postgres: &'static [&'static str],
}

const MIGRATIONS: [Version; 5] = [MESSAGES, SEARCH, FOLDED, AMENDED, SIGNS];

const MESSAGES: Version = Version {
    both: &[
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
    ],
    sqlite: &[],
    postgres: &[],
};

/// `indexed` is the version of an entry's terms. It is 0 for entries of the version before, which may still write while backends
/// are updated one by one; the next backend that connects indexes them. In SQLite, `number` joins an entry to its row in the
/// index: it is a column of its own because the number of a row without one may change.
const SEARCH: Version = Version {
    both: &[
        "ALTER TABLE im_messages ADD COLUMN indexed BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX im_messages_unindexed ON im_messages (id) WHERE indexed = 0",
        "CREATE INDEX im_messages_id ON im_messages (id)",
        "CREATE INDEX im_messages_kind ON im_messages (log, kind, seq, id)",
    ],
    sqlite: &[
        "CREATE TABLE im_texts (
            number INTEGER PRIMARY KEY,
            log TEXT NOT NULL,
            id BIGINT NOT NULL,
            UNIQUE (log, id)
        )",
        "CREATE VIRTUAL TABLE im_words USING fts5(
            terms, content = '', contentless_delete = 1, detail = none, tokenize = \"ascii tokenchars '_'\"
        )",
    ],
    postgres: &[
        "CREATE TABLE im_texts (
            log TEXT NOT NULL,
            id BIGINT NOT NULL,
            words TSVECTOR NOT NULL,
            PRIMARY KEY (log, id)
        )",
        "CREATE INDEX im_texts_words ON im_texts USING GIN (words)",
    ],
};

/// Terms of version 2: accents, forms and strokes are folded by Unicode's rules. A backend that connects replaces those of
/// version 1.
const FOLDED: Version = Version {
    both: &[
        "DROP INDEX im_messages_unindexed",
        "CREATE INDEX im_messages_unindexed ON im_messages (id) WHERE indexed < 2",
    ],
    sqlite: &[],
    postgres: &[],
};

/// Amendments of messages, for entries that are written later. `part` is an `AmendedPart`.
const AMENDED: Version = Version {
    both: &["CREATE TABLE im_amended (
            id BIGINT NOT NULL,
            part BIGINT NOT NULL,
            amendment {blob} NOT NULL,
            PRIMARY KEY (id, part)
        )"],
    sqlite: &[],
    postgres: &[],
};

/// Terms of version 3: marks and signs are folded, however they are typed. A backend that connects replaces those before.
const SIGNS: Version = Version {
    both: &[
        "DROP INDEX im_messages_unindexed",
        "CREATE INDEX im_messages_unindexed ON im_messages (id) WHERE indexed < 3",
    ],
    sqlite: &[],
    postgres: &[],
};

/// The condition of the index of entries whose terms an earlier version wrote. It is part of the statement, not a value: otherwise the
/// database could not tell that the index serves it.
pub(super) fn has_old_terms() -> String {
    format!("indexed < {VERSION}")
}

impl SqlMessageStore {
    /// Migrates the tables to this version. Several processes may do this at once.
    pub(super) async fn migrate(&self) -> Result<(), MessageStoreError> {
        let failed = |error: sqlx::Error| MessageStoreError::unavailable(MIGRATE, error);
        if self.dialect == Dialect::Sqlite {
            self.use_wal().await.map_err(failed)?;
            sqlx::query(VERSIONS).execute(&self.pool).await.map_err(failed)?;
        }
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        match self.dialect {
            // A write, so that no other process reads the version meanwhile.
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
        for (number, version) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or_default()) {
            self.apply(&mut transaction, number, version).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Turns on write-ahead logging, so that readers do not wait for the archiver. SQLite fails at once, instead of
    /// waiting, if another connection does the same at the same time.
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
        number: i64,
        version: Version,
    ) -> Result<(), sqlx::Error> {
        let (blob, own) = match self.dialect {
            Dialect::Sqlite => ("BLOB", version.sqlite),
            Dialect::Postgres => ("BYTEA", version.postgres),
        };
        for statement in version.both.iter().chain(own) {
            let statement = statement.replace("{blob}", blob);
            sqlx::query(AssertSqlSafe(statement)).execute(&mut **transaction).await?;
        }
        let insert = sqlx::query("INSERT INTO im_schema (version) VALUES ($1)");
        insert.bind(number).execute(&mut **transaction).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_version_of_the_terms_has_a_migration() {
        let statements = MIGRATIONS.iter().flat_map(|version| version.both);
        let mut indexes = statements.filter(|text| text.starts_with("CREATE INDEX im_messages_unindexed"));
        let newest = indexes.next_back().unwrap();
        assert!(newest.ends_with(&has_old_terms()), "{newest}");
    }
}
