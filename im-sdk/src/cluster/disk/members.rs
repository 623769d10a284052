//! Members in the file of the logs, for an embedded backend.

use std::{ops::Bound, sync::Arc};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::file;
use crate::{
    cluster::traits::{MemberStore, MembersError},
    id::{ChannelId, UserId},
};

/// Channel and user.
const MEMBERS: TableDefinition<(&str, &str), ()> = TableDefinition::new("members");

/// User and channel: the reverse of [`MEMBERS`].
const CHANNELS: TableDefinition<(&str, &str), ()> = TableDefinition::new("channels");

/// Members in the file of a [`DiskLog`](crate::cluster::DiskLog), see
/// [`DiskLog::members`](crate::cluster::DiskLog::members). `Ok` from a change means that it is on
/// the disk (`fsync`).
#[derive(Clone, Debug)]
pub struct DiskMembers {
    database: Arc<Database>,
}

impl DiskMembers {
    /// Uses a file in which [`create`] has created the tables.
    pub(in crate::cluster) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, MembersError> {
        file::run(&self.database, work).await.map_err(|cause| MembersError::new(action, cause))
    }
}

/// Creates the tables, so that a reader finds them.
pub(in crate::cluster) fn create(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MEMBERS)?;
    transaction.open_table(CHANNELS)?;
    Ok(())
}

#[async_trait]
impl MemberStore for DiskMembers {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let user = user.clone();
        self.run("list a user's channels", move |database| {
            let found = list(database, CHANNELS, user.as_str(), None, usize::MAX)?;
            Ok(found.iter().filter_map(|channel| ChannelId::parse(channel).ok()).collect())
        })
        .await
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        let (channel, user) = (channel.clone(), user.clone());
        self.run("look for a member", move |database| {
            let table = database.begin_read()?.open_table(CHANNELS)?;
            Ok(table.get((user.as_str(), channel.as_str()))?.is_some())
        })
        .await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        let (channel, after) = (channel.clone(), after.cloned());
        self.run("list a channel's members", move |database| {
            let after = after.as_ref().map(UserId::as_str);
            let found = list(database, MEMBERS, channel.as_str(), after, limit)?;
            Ok(found.iter().filter_map(|user| UserId::parse(user).ok()).collect())
        })
        .await
    }

    async fn add(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        self.change("add members", channel, users, |table, key| table.insert(key, ()).map(drop)).await
    }

    async fn remove(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), MembersError> {
        self.change("remove members", channel, users, |table, key| table.remove(key).map(drop)).await
    }

    fn forgets_removed(&self) -> bool {
        true
    }
}

type Table<'a> = redb::Table<'a, (&'static str, &'static str), ()>;

impl DiskMembers {
    /// Changes both tables, in one transaction.
    async fn change(
        &self,
        action: &'static str,
        channel: &ChannelId,
        users: &[UserId],
        change: fn(&mut Table<'_>, (&str, &str)) -> Result<(), redb::StorageError>,
    ) -> Result<(), MembersError> {
        let (channel, users) = (channel.clone(), users.to_vec());
        self.run(action, move |database| {
            let transaction = database.begin_write()?;
            {
                let (mut members, mut channels) =
                    (transaction.open_table(MEMBERS)?, transaction.open_table(CHANNELS)?);
                for user in &users {
                    change(&mut members, (channel.as_str(), user.as_str()))?;
                    change(&mut channels, (user.as_str(), channel.as_str()))?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }
}

/// Returns the second halves of keys with this first half.
fn list(
    database: &Database,
    table: TableDefinition<'static, (&'static str, &'static str), ()>,
    first: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, redb::Error> {
    let table = database.begin_read()?.open_table(table)?;
    // No name is empty.
    let from = Bound::Excluded((first, after.unwrap_or_default()));
    let mut found = Vec::new();
    for entry in table.range::<(&str, &str)>((from, Bound::Unbounded))? {
        let (key, _) = entry?;
        let (of, name) = key.value();
        if of != first || found.len() >= limit {
            break;
        }
        found.push(name.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{conformance::check_members, disk::open_in};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        let log = open_in(&folder);
        check_members(&log.members()).await;
    }

    #[tokio::test]
    async fn members_are_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_in(&folder);
        let (team, bob): (ChannelId, UserId) = ("team".parse().unwrap(), "bob".parse().unwrap());
        open().members().add(&team, std::slice::from_ref(&bob)).await.unwrap();
        let log = open();
        assert_eq!(log.members().channels(&bob).await.unwrap(), [team]);
    }
}
