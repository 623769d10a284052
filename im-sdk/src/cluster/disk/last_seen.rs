//! Last-seen times in the file of the logs, for an embedded backend.

use std::sync::Arc;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::file;
use crate::{
    cluster::{
        time::unix_ms,
        traits::{LastSeen, LastSeenError, LastSeenStore, last_seen::oldest_ms},
    },
    id::{Terminal, UserId},
};

/// User and terminal -> milliseconds since the Unix epoch.
const SEEN: TableDefinition<(&str, &str), u64> = TableDefinition::new("last_seen");

/// Last-seen times in the file of a [`DiskLog`](crate::cluster::DiskLog), see
/// [`DiskLog::last_seen_store`](crate::cluster::DiskLog::last_seen_store). Old times are removed
/// when the file is opened.
#[derive(Clone, Debug)]
pub struct DiskLastSeen {
    database: Arc<Database>,
}

impl DiskLastSeen {
    /// Uses a file in which [`create`] has created the table.
    pub(in crate::cluster) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, LastSeenError> {
        file::run(&self.database, work).await.map_err(|cause| LastSeenError::new(action, cause))
    }
}

/// Creates the table, so that a reader finds it, and removes old times.
pub(in crate::cluster) fn create(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    let oldest = oldest_ms();
    transaction.open_table(SEEN)?.retain(|_, at_ms| at_ms >= oldest)?;
    Ok(())
}

#[async_trait]
impl LastSeenStore for DiskLastSeen {
    async fn note_seen(&self, seen: &[LastSeen]) -> Result<(), LastSeenError> {
        if seen.is_empty() {
            return Ok(());
        }
        let seen = seen.to_vec();
        self.run("note who was seen", move |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(SEEN)?;
                for LastSeen { user, terminal, at_ms } in &seen {
                    let key = (user.as_str(), terminal.as_str());
                    let at_ms = (*at_ms).min(unix_ms());
                    let known = table.get(key)?.map(|at_ms| at_ms.value());
                    if known.is_none_or(|known| known < at_ms) {
                        table.insert(key, at_ms)?;
                    }
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn last_seen(&self, users: &[UserId]) -> Result<Vec<Vec<(Terminal, u64)>>, LastSeenError> {
        let users = users.to_vec();
        self.run("tell who was seen", move |database| {
            let (table, oldest) = (database.begin_read()?.open_table(SEEN)?, oldest_ms());
            let times = |user: &UserId| {
                let time = |terminal: Terminal| {
                    let at_ms = table.get((user.as_str(), terminal.as_str()))?.map(|at_ms| at_ms.value());
                    Ok(at_ms.filter(|at_ms| *at_ms >= oldest).map(|at_ms| (terminal, at_ms)))
                };
                Terminal::ALL.into_iter().filter_map(|terminal| time(terminal).transpose()).collect()
            };
            users.iter().map(times).collect()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{conformance::check_last_seen, disk::open_in};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        let log = open_in(&folder);
        check_last_seen(&log.last_seen_store()).await;
    }

    #[tokio::test]
    async fn times_are_there_when_the_file_is_opened_again_unless_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_in(&folder);
        let bob: UserId = "bob".parse().unwrap();
        let of = |terminal, at_ms| LastSeen { user: bob.clone(), terminal, at_ms };
        let now = oldest_ms() + 1_000_000;
        open().last_seen_store().note_seen(&[of(Terminal::Web, now), of(Terminal::Ios, 1)]).await.unwrap();
        let log = open();
        let found = log.last_seen_store().last_seen(std::slice::from_ref(&bob)).await.unwrap();
        assert_eq!(found, [[(Terminal::Web, now)]]);
    }
}
