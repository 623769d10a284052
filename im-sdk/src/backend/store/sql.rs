//! Messages in SQLite or PostgreSQL. Both understand the same statements, so there is one of each.

mod schema;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Any, AnyPool, AssertSqlSafe, Row as _, Transaction,
    any::{AnyPoolOptions, AnyRow},
};
use tokio::time::timeout;

use super::{Cut, HistoryRange, MessageStore, MessageStoreError, StorePage, StoreQuery, StoredEntry, cut};
use crate::{
    cluster::LogId,
    id::{MessageId, UserId},
};

/// How long anything may take, a connection included: an archiver tries again, and history is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many connections are open at once. One archiver needs one; the rest is for history.
const CONNECTIONS: u32 = 8;

/// How many entries one statement writes. At 8 values each, far below what either database takes.
const ROWS: usize = 128;

/// A message store in SQLite or PostgreSQL.
///
/// One table, `im_messages`, which is made and brought up to date when it is connected: `log` is `u:<user>` or
/// `c:<channel>`, `peer` and `sender` are empty where there is none, `message` is an encoded `im.v1.Message`.
#[derive(Clone)]
pub struct SqlMessageStore {
    pool: AnyPool,
    dialect: Dialect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

impl SqlMessageStore {
    /// Connects to `sqlite:<path>`, a file which is created if it is missing, or `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// [`MessageStoreError`], within 10 s.
    pub async fn connect(url: &str) -> Result<Self, MessageStoreError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let mut url = url.to_owned();
        if dialect == Dialect::Sqlite && !url.contains("mode=") {
            url.push_str(if url.contains('?') { "&mode=rwc" } else { "?mode=rwc" });
        }
        // One in memory is its connection's own.
        let connections = if url.contains(":memory:") { 1 } else { CONNECTIONS };
        let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let options = if connections == 1 { options.idle_timeout(None).max_lifetime(None) } else { options };
        let pool = within(CONNECT, options.connect(&url)).await?;
        let store = Self { pool, dialect };
        timeout(PATIENCE, store.migrate())
            .await
            .map_err(|error| MessageStoreError::unavailable(schema::MIGRATE, error))??;
        Ok(store)
    }

    async fn write_all(&self, entries: &[StoredEntry]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for rows in entries.chunks(ROWS) {
            insert(&mut transaction, rows).await?;
        }
        transaction.commit().await
    }

    async fn rows(&self, log: &LogId, query: &StoreQuery) -> Result<Vec<AnyRow>, sqlx::Error> {
        let (comparison, bound, order) = match query.range {
            HistoryRange::Newest => ("", None, "DESC"),
            HistoryRange::Before(seq) => (" AND seq < $2", Some(clamp(seq)), "DESC"),
            HistoryRange::After(seq) => (" AND seq > $2", Some(clamp(seq)), "ASC"),
        };
        let by_peer = match (&query.peer, bound) {
            (None, _) => "",
            (Some(_), None) => " AND peer = $2",
            (Some(_), Some(_)) => " AND peer = $3",
        };
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
        let text = format!(
            "SELECT {COLUMNS} FROM im_messages WHERE log = $1{comparison}{by_peer} \
             ORDER BY seq {order}, id {order} LIMIT {limit}"
        );
        let mut asked = sqlx::query(AssertSqlSafe(text)).bind(log.to_string());
        if let Some(bound) = bound {
            asked = asked.bind(bound);
        }
        if let Some(peer) = &query.peer {
            asked = asked.bind(peer.to_string());
        }
        asked.fetch_all(&self.pool).await
    }

    /// Everything at one seq.
    async fn rows_at(
        &self,
        log: &LogId,
        seq: u64,
        peer: Option<&UserId>,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        let by_peer = if peer.is_some() { " AND peer = $3" } else { "" };
        let text =
            format!("SELECT {COLUMNS} FROM im_messages WHERE log = $1 AND seq = $2{by_peer} ORDER BY id");
        let mut asked = sqlx::query(AssertSqlSafe(text)).bind(log.to_string()).bind(clamp(seq));
        if let Some(peer) = peer {
            asked = asked.bind(peer.to_string());
        }
        asked.fetch_all(&self.pool).await
    }
}

const CONNECT: &str = "connect";
const WRITE: &str = "write entries";
const READ: &str = "read entries";
const COLUMNS: &str = "seq, id, peer, sender, kind, message";

#[async_trait]
impl MessageStore for SqlMessageStore {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        within(WRITE, self.write_all(entries)).await
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        let load = |rows: Vec<AnyRow>| -> Result<Vec<StoredEntry>, MessageStoreError> {
            rows.iter().map(|row| load(log, row)).collect()
        };
        let mut entries = load(within(READ, self.rows(log, query)).await?)?;
        match cut(&mut entries, query.limit) {
            Cut::OneSeq(seq) => {
                let rows = within(READ, self.rows_at(log, seq, query.peer.as_ref())).await?;
                Ok(StorePage { entries: load(rows)?, more: true })
            }
            Cut::Done { more } => {
                if !matches!(query.range, HistoryRange::After(_)) {
                    entries.reverse();
                }
                Ok(StorePage { entries, more })
            }
        }
    }
}

impl fmt::Debug for SqlMessageStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SqlMessageStore").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

async fn within<T>(
    action: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, MessageStoreError> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| MessageStoreError::unavailable(action, error)),
        Err(elapsed) => Err(MessageStoreError::unavailable(action, elapsed)),
    }
}

async fn insert(transaction: &mut Transaction<'_, Any>, rows: &[StoredEntry]) -> Result<(), sqlx::Error> {
    let row = |index: usize| {
        let places: Vec<String> = (1..=8).map(|column| format!("${}", index * 8 + column)).collect();
        format!("({})", places.join(", "))
    };
    let values: Vec<String> = (0..rows.len()).map(row).collect();
    let text = format!(
        "INSERT INTO im_messages (log, seq, id, peer, sender, sent_at_ms, kind, message) VALUES {} \
         ON CONFLICT (log, id) DO NOTHING",
        values.join(", ")
    );
    let name = |user: Option<&UserId>| user.map(ToString::to_string).unwrap_or_default();
    let mut statement = sqlx::query(AssertSqlSafe(text));
    for entry in rows {
        statement = statement
            .bind(entry.log.to_string())
            .bind(clamp(entry.seq))
            .bind(clamp(entry.message_id.as_u64()))
            .bind(name(entry.peer.as_ref()))
            .bind(name(entry.from.as_ref()))
            .bind(clamp(entry.sent_at_ms()))
            .bind(entry.kind.clone())
            .bind(entry.message.to_vec());
    }
    statement.execute(&mut **transaction).await.map(drop)
}

fn load(log: &LogId, row: &AnyRow) -> Result<StoredEntry, MessageStoreError> {
    let failed = |error: sqlx::Error| MessageStoreError::unavailable(READ, error);
    let (seq, id): (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    let malformed = || MessageStoreError::Malformed { place: format!("{log}, seq {seq}, id {id}") };
    let user = |column: usize| {
        let name: String = row.try_get(column).map_err(failed)?;
        if name.is_empty() { Ok(None) } else { UserId::parse(&name).map(Some).map_err(|_| malformed()) }
    };
    let message: Vec<u8> = row.try_get(5).map_err(failed)?;
    Ok(StoredEntry {
        log: log.clone(),
        seq: u64::try_from(seq).map_err(|_| malformed())?,
        message_id: u64::try_from(id).ok().and_then(MessageId::from_u64).ok_or_else(malformed)?,
        peer: user(2)?,
        from: user(3)?,
        kind: row.try_get(4).map_err(failed)?,
        message: message.into(),
    })
}

/// No log gets as far as this cuts off.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::conformance::check_message_store, *};

    #[tokio::test]
    async fn conforms_in_memory() {
        check_message_store(&SqlMessageStore::connect("sqlite::memory:").await.unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        // Several at once, as several processes would start.
        let stores = futures_util::future::join_all((0..4).map(|_| SqlMessageStore::connect(&url))).await;
        let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
        check_message_store(&stores[0]).await;
        check_message_store(&stores[3]).await;
    }

    #[tokio::test]
    async fn tables_of_a_newer_version_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        let store = SqlMessageStore::connect(&url).await.unwrap();
        sqlx::query("INSERT INTO im_schema (version) VALUES (99)").execute(&store.pool).await.unwrap();
        drop(store);
        let error = SqlMessageStore::connect(&url).await.unwrap_err();
        assert!(matches!(error, MessageStoreError::Newer { found: 99, known: 1 }), "{error}");
    }
}
