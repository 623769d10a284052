//! Access to the file of the stores.

use std::sync::Arc;

use redb::Database;
use tokio::task::spawn_blocking;

/// The cause of a failed access.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Runs work on the file in a thread that may block.
pub(super) async fn run<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, Cause> {
    let database = Arc::clone(database);
    Ok(spawn_blocking(move || work(&database)).await??)
}
