//! The application's tables, in SQLite or PostgreSQL: both understand the same statements.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{Any, AnyPool, Executor, Transaction, any::AnyPoolOptions};

/// The time limit of a wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: AnyPool,
    is_sqlite: bool,
}

impl Database {
    /// Connects to `sqlite:<path>` or `postgres://..`, and creates or migrates the tables.
    pub(crate) async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        let options = AnyPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE);
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    // Readers do not wait for a writer, and writers wait for their turn.
                    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000").await?;
                }
                Ok(())
            })
        });
        let pool = options.connect(url).await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { pool, is_sqlite })
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that will write.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        // In SQLite a transaction that reads first is refused when it writes while another one does.
        let begin = if self.is_sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.pool.begin_with(begin).await
    }

    /// Locks the row of a transaction's `SELECT` until its end. SQLite has one writer at a time anyway.
    pub(crate) fn for_update(&self) -> &'static str {
        if self.is_sqlite { "" } else { " FOR UPDATE" }
    }
}

/// Returns the time in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a new id: a prefix and 80 random bits in base 32.
pub(crate) fn new_id(prefix: &str) -> String {
    let bits: [u8; 10] = rand::random();
    format!("{prefix}-{}", data_encoding::BASE32_NOPAD.encode(&bits).to_ascii_lowercase())
}

/// Returns a text as it is compared in searches of names.
pub(crate) fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}
