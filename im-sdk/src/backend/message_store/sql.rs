//! Messages in SQLite or PostgreSQL. Both understand the same statements, so there is one of each.

mod amend;
mod index;
mod read;
mod schema;
mod statement;
mod trim;
mod write;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use sqlx::{Any, AnyPool, Transaction, any::AnyPoolOptions};
use tokio::time::timeout;

use super::{
    Amendment, Cut, HistoryRange, MessageStore, MessageStoreError, SearchPage, SearchQuery, StorePage,
    StoreQuery, StoredEntry, cut,
};
use crate::{cluster::LogId, id::MessageId};

/// The time limit of one operation, including the wait for a connection. After it an archiver tries again,
/// and a history request is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most open connections. One archiver needs one; the rest is for history.
const CONNECTIONS: u32 = 8;

/// The time limit of a migration: an index over tens of millions of rows takes minutes.
const MIGRATION: Duration = Duration::from_secs(15 * 60);

/// A message store in SQLite or PostgreSQL.
///
/// Messages are in the table `im_messages`: `log` is `u:<user>` or `c:<channel>`, `peer` and `sender` are empty if there is
/// none, `kind` is a [`Kind`](crate::Kind) as text, `message` is an encoded `im.v1.Message`. `im_texts` (and in SQLite
/// `im_words`) is the search index, made by the database's own full-text search: FTS5 in SQLite, a `tsvector` under GIN in
/// PostgreSQL, which needs no extension. It holds pairs of neighbouring characters and no text.
///
/// `connect` creates and migrates all tables. A version that brings a new index reads all messages once.
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
    /// Connects to `postgres://user:password@host/database` or, with the feature `sql`, to `sqlite:<path>`. A missing
    /// SQLite file is created.
    ///
    /// # Errors
    /// [`MessageStoreError`], within 10 s if the tables need no migration.
    pub async fn connect(url: &str) -> Result<Self, MessageStoreError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        if dialect == Dialect::Sqlite && !cfg!(feature = "sql") {
            let error = "this program has no SQLite: build im-sdk with the feature `sql`, or give a postgres:// address";
            return Err(MessageStoreError::unavailable(CONNECT, error));
        }
        let mut url = url.to_owned();
        if dialect == Dialect::Sqlite && !url.contains("mode=") {
            url.push_str(if url.contains('?') { "&mode=rwc" } else { "?mode=rwc" });
        }
        // Each connection to an in-memory database has a database of its own.
        let connections = if url.contains(":memory:") { 1 } else { CONNECTIONS };
        let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let options = if connections == 1 { options.idle_timeout(None).max_lifetime(None) } else { options };
        let pool = within(CONNECT, options.connect(&url)).await?;
        let store = Self { pool, dialect };
        timeout(MIGRATION, store.migrate())
            .await
            .map_err(|error| MessageStoreError::unavailable(schema::MIGRATE, error))??;
        store.index_the_rest().await?;
        Ok(store)
    }

    /// Begins a transaction for writes. In SQLite it begins with a write, which waits for its turn: a transaction that has read
    /// first is refused at once if another one writes.
    async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        if self.dialect == Dialect::Sqlite {
            sqlx::query("DELETE FROM im_schema WHERE version < 0").execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }
}

const CONNECT: &str = "connect";
const WRITE: &str = "write entries";
const READ: &str = "read entries";
const SEARCH: &str = "search";
const REDACT: &str = "remove what messages say";
const AMEND: &str = "carry out what changes make of messages";
const LIST: &str = "list its logs";
const TRIM: &str = "delete entries";

#[async_trait]
impl MessageStore for SqlMessageStore {
    async fn write(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        within(WRITE, self.write_all(entries)).await?;
        // After the commit, just as an amendment is committed before it reads entries: whichever comes later sees
        // the other.
        self.amend_written(entries).await
    }

    async fn read(&self, log: &LogId, query: &StoreQuery) -> Result<StorePage, MessageStoreError> {
        let mut entries = read::load_all(&within(READ, self.rows(log, query)).await?)?;
        match cut(&mut entries, query.limit) {
            Cut::OneSeq(seq) => {
                let rows = within(READ, self.rows_at(log, seq, query)).await?;
                Ok(StorePage { entries: read::load_all(&rows)?, more: true })
            }
            Cut::Done { more } => {
                if !matches!(query.range, HistoryRange::After(_)) {
                    entries.reverse();
                }
                Ok(StorePage { entries, more })
            }
        }
    }

    async fn find_message(&self, id: MessageId, limit: usize) -> Result<Vec<StoredEntry>, MessageStoreError> {
        let rows = within(READ, self.rows_of(id, limit)).await?;
        read::load_all(&rows)
    }

    async fn search(&self, query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        self.find(query).await
    }

    async fn redact(&self, ids: &[MessageId]) -> Result<(), MessageStoreError> {
        self.redact_all(ids).await
    }

    async fn amend(&self, amendments: &[Amendment]) -> Result<(), MessageStoreError> {
        for amendment in amendments {
            self.amend_one(amendment).await?;
        }
        Ok(())
    }

    async fn logs(
        &self,
        after: Option<&LogId>,
        limit: usize,
    ) -> Result<Vec<(LogId, MessageId)>, MessageStoreError> {
        self.list_logs(after, limit).await
    }

    async fn trim(&self, log: &LogId, before: MessageId, limit: usize) -> Result<usize, MessageStoreError> {
        within(TRIM, self.delete(log, before, limit)).await
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

/// Converts to the database's signed integers. No seq and no id is large enough to be cut off.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use crate::{
        Filter, Kind,
        backend::message_store::{Words, conformance::check_message_store, sql::*, words::terms::VERSION},
        cluster::{ArchiveRecord, LogPosition},
        content::Content,
        proto::pb,
    };

    #[tokio::test]
    async fn conforms_in_memory() {
        check_message_store(&SqlMessageStore::connect("sqlite::memory:").await.unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        // Several at once, as when several processes start.
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
        assert!(matches!(error, MessageStoreError::Newer { found: 99, known: 5 }), "{error}");
    }

    /// Creates a file as version 1 of the tables left it.
    async fn file_of_version_1(url: &str, messages: i64) {
        let pool = AnyPoolOptions::new().connect(&format!("{url}?mode=rwc")).await.unwrap();
        for statement in [
            "CREATE TABLE im_schema (version BIGINT NOT NULL)",
            "INSERT INTO im_schema (version) VALUES (1)",
            "CREATE TABLE im_messages (log TEXT NOT NULL, seq BIGINT NOT NULL, id BIGINT NOT NULL, peer TEXT NOT NULL,
                sender TEXT NOT NULL, sent_at_ms BIGINT NOT NULL, kind TEXT NOT NULL, message BLOB NOT NULL,
                PRIMARY KEY (log, id))",
            "CREATE INDEX im_messages_seq ON im_messages (log, seq, id)",
            "CREATE INDEX im_messages_peer ON im_messages (log, peer, seq, id)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        for seq in 1..=messages {
            write_as_version_1(&pool, seq).await;
        }
        pool.close().await;
    }

    async fn write_as_version_1(pool: &AnyPool, seq: i64) {
        let id = MessageId::first_at(1_800_000_000_000 + seq as u64).as_u64();
        let (content, kind) = match seq % 2 {
            0 => (Content::custom("order.paid", "x"), "order.paid"),
            _ => (Content::text(format!("午饭 number {seq}")), "text"),
        };
        let message = pb::Message { id, content: Some(content.into()), ..Default::default() };
        let insert = "INSERT INTO im_messages (log, seq, id, peer, sender, sent_at_ms, kind, message)
            VALUES ('u:bob', $1, $2, 'alice', 'alice', 0, $3, $4)";
        let insert = sqlx::query(insert).bind(seq).bind(clamp(id)).bind(kind).bind(message.encode_to_vec());
        insert.execute(pool).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_an_earlier_version_has_written_is_found() {
        const MESSAGES: i64 = 601;
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        file_of_version_1(&url, MESSAGES).await;
        // Several at once, as when several backends are updated.
        let stores = futures_util::future::join_all((0..3).map(|_| SqlMessageStore::connect(&url))).await;
        let store = stores.into_iter().map(Result::unwrap).next().unwrap();
        let bob = LogId::Inbox("bob".parse().unwrap());
        let found = async |store: &SqlMessageStore, text: &str| {
            let query = SearchQuery::new(vec![bob.clone()], Words::parse(text).unwrap(), 1000);
            store.search(&query).await.unwrap().entries.len()
        };
        assert_eq!(found(&store, "午饭").await, 301);
        assert_eq!(found(&store, "number 601").await, 1);
        let paid = Filter::new().kinds([Kind::custom("order.paid")]);
        let paid = StoreQuery::new(HistoryRange::Newest, 1000).with_filter(paid);
        let page = store.read(&bob, &paid).await.unwrap();
        assert_eq!(page.entries.len(), 300, "kinds have their names of today");
        assert_eq!(page.entries[0].peer, Some("alice".parse().unwrap()));
        // A backend that is not updated yet still writes.
        write_as_version_1(&store.pool, MESSAGES + 2).await;
        drop(store);
        let store = SqlMessageStore::connect(&url).await.unwrap();
        assert_eq!(found(&store, "午饭").await, 302);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn terms_of_an_earlier_version_are_replaced() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("messages.db").display());
        let store = SqlMessageStore::connect(&url).await.unwrap();
        let bob = LogId::Inbox("bob".parse().unwrap());
        let id = MessageId::first_at(1_800_000_000_000).as_u64();
        let message =
            pb::Message { id, content: Some(Content::text("Đà Nẵng").into()), ..Default::default() };
        let place = LogPosition::new(bob.clone(), 1);
        let record = ArchiveRecord::new(message.encode_to_vec().into(), vec![place]);
        store.write(&StoredEntry::of(&record).unwrap()).await.unwrap();
        let found = async |store: &SqlMessageStore| {
            let query = SearchQuery::new(vec![bob.clone()], Words::parse("da nang").unwrap(), 10);
            store.search(&query).await.unwrap().entries.len()
        };
        assert_eq!(found(&store).await, 1);
        let mut store = store;
        for version in 1..VERSION {
            // The entry as that version left it, with its terms.
            for statement in [
                "UPDATE im_messages SET indexed = $1",
                "DELETE FROM im_words WHERE rowid IN (SELECT number FROM im_texts) AND $1 > 0",
                "INSERT INTO im_words (rowid, terms) SELECT number, 'đa' FROM im_texts WHERE $1 > 0",
            ] {
                sqlx::query(statement).bind(version).execute(&store.pool).await.unwrap();
            }
            assert_eq!(found(&store).await, 0, "version {version}");
            drop(store);
            store = SqlMessageStore::connect(&url).await.unwrap();
            assert_eq!(found(&store).await, 1, "version {version}");
        }
    }
}
