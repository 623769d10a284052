//! What the stores in one file have in common.

use std::sync::Arc;

use redb::Database;
use tokio::task::spawn_blocking;

/// Why nothing came of it.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Works on the file where waiting for the disk holds nobody up.
pub(super) async fn run<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, Cause> {
    let database = Arc::clone(database);
    Ok(spawn_blocking(move || work(&database)).await??)
}
