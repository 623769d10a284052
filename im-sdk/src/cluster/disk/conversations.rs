//! Conversations in the file of the logs, for an embedded backend.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::file;
use crate::cluster::time::unix_ms;
use crate::{
    ConversationState, Recipient,
    cluster::traits::{
        CONTACT_TTL, ChangedConversation, ChangedPage, ConversationPatch, ConversationStore,
        ConversationsError, MAX_CONTACTS, MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, Readers,
        conversation_patch::Stored,
        conversations::{
            CHANGE, COUNT, LIST, LOOK, LOOK_CONTACT, LOOK_DELETED, LOOK_READERS, NOTE, NOTE_CONTACT,
            NOTE_DELETED, REMOVE, name,
        },
    },
    id::{ChannelId, MessageId, UserId},
};

/// User and conversation -> version and state.
const STATES: TableDefinition<(&str, &str), (u64, &[u8])> = TableDefinition::new("conversations");

/// User and version -> conversation.
const VERSIONS: TableDefinition<(&str, u64), &str> = TableDefinition::new("conversation_versions");

/// User -> the last version, and the number of conversations.
const USERS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("conversation_users");

/// Channel and user -> the seq up to which the user has read.
const READERS: TableDefinition<(&str, &str), u64> = TableDefinition::new("readers");

/// User and contact -> the time at which it was last recorded, in milliseconds since the Unix
/// epoch.
const CONTACTS: TableDefinition<(&str, &str), u64> = TableDefinition::new("contacts");

/// User and a message that the user has deleted -> 1; user and 0 -> the number of these.
const DELETED: TableDefinition<(&str, u64), u64> = TableDefinition::new("deleted_messages");

/// Conversations in the file of a [`DiskLog`](crate::cluster::DiskLog), see
/// [`DiskLog::conversations`](crate::cluster::DiskLog::conversations). `Ok` from a change means
/// that it is on the disk (`fsync`).
#[derive(Clone, Debug)]
pub struct DiskConversations {
    database: Arc<Database>,
    max: usize,
}

impl DiskConversations {
    /// Uses a file in which [`create`] has created the tables.
    pub(in crate::cluster) fn new(database: Arc<Database>) -> Self {
        Self { database, max: MAX_CONVERSATIONS }
    }

    /// Sets another limit than [`MAX_CONVERSATIONS`].
    #[must_use]
    pub fn with_max_conversations(self, max: usize) -> Self {
        Self { max, ..self }
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, ConversationsError> {
        file::run(&self.database, work).await.map_err(|cause| ConversationsError::new(action, cause))
    }
}

/// Creates the tables, so that a reader finds them.
pub(in crate::cluster) fn create(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(STATES)?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(USERS)?;
    transaction.open_table(READERS)?;
    transaction.open_table(CONTACTS)?;
    transaction.open_table(DELETED)?;
    Ok(())
}

#[async_trait]
impl ConversationStore for DiskConversations {
    async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        patch: &ConversationPatch,
    ) -> Result<ChangedConversation, ConversationsError> {
        let (user, conversation, patch) = (user.clone(), conversation.clone(), patch.clone());
        let max = self.max;
        let changed =
            self.run(CHANGE, move |database| change(database, &user, conversation, &patch, max)).await?;
        changed.ok_or_else(|| ConversationsError::too_many(max))
    }

    async fn states(
        &self,
        user: &UserId,
        conversations: &[Recipient],
    ) -> Result<Vec<ConversationState>, ConversationsError> {
        let (user, conversations) = (user.clone(), conversations.to_vec());
        self.run(LOOK, move |database| {
            let table = database.begin_read()?.open_table(STATES)?;
            let find = |conversation: Recipient| {
                let found = table.get((user.as_str(), &*name(&conversation)))?;
                Ok(read(found.as_ref().map(redb::AccessGuard::value), conversation).state)
            };
            conversations.into_iter().map(find).collect()
        })
        .await
    }

    async fn changed_since(
        &self,
        user: &UserId,
        version: u64,
        limit: usize,
    ) -> Result<ChangedPage, ConversationsError> {
        let user = user.clone();
        self.run(LIST, move |database| {
            let transaction = database.begin_read()?;
            let (states, versions) = (transaction.open_table(STATES)?, transaction.open_table(VERSIONS)?);
            let last = transaction.open_table(USERS)?.get(user.as_str())?.map_or(0, |user| user.value().0);
            let mut page = ChangedPage { version: last, ..ChangedPage::default() };
            let from = (user.as_str(), version.saturating_add(1));
            for entry in versions.range(from..=(user.as_str(), u64::MAX))? {
                let (_, conversation) = entry?;
                if page.states.len() >= limit {
                    page.more = true;
                    break;
                }
                let found = states.get((user.as_str(), conversation.value()))?;
                let stored = found.and_then(|found| Stored::decode(found.value().1, found.value().0));
                page.states.extend(stored.map(|stored| stored.state));
            }
            Ok(page)
        })
        .await
    }

    async fn note_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        seq: u64,
    ) -> Result<(), ConversationsError> {
        let (channel, users) = (channel.clone(), users.to_vec());
        self.run(NOTE, move |database| {
            let transaction = database.begin_write()?;
            {
                let mut readers = transaction.open_table(READERS)?;
                for user in &users {
                    let key = (channel.as_str(), user.as_str());
                    let known = readers.get(key)?.map_or(0, |known| known.value());
                    readers.insert(key, seq.max(known))?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn noted_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<Option<u64>>, ConversationsError> {
        let (channel, users) = (channel.clone(), users.to_vec());
        self.run(LOOK_READERS, move |database| {
            let table = database.begin_read()?.open_table(READERS)?;
            let find = |user: &UserId| {
                let noted = table.get((channel.as_str(), user.as_str()))?;
                Ok(noted.map(|noted| noted.value()))
            };
            users.iter().map(find).collect()
        })
        .await
    }

    async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError> {
        let channel = channel.clone();
        self.run(COUNT, move |database| {
            let table = database.begin_read()?.open_table(READERS)?;
            let mut found = Readers::default();
            for entry in table.range((channel.as_str(), "")..)? {
                let (key, read) = entry?;
                let (of, user) = key.value();
                if of != channel.as_str() {
                    break;
                }
                if read.value() >= seq {
                    found.count += 1;
                    let room = found.users.len() < limit;
                    found.users.extend(UserId::parse(user).ok().filter(|_| room));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn remove_readers(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), ConversationsError> {
        let (channel, users) = (channel.clone(), users.to_vec());
        self.run(REMOVE, move |database| {
            let transaction = database.begin_write()?;
            {
                let mut readers = transaction.open_table(READERS)?;
                for user in &users {
                    readers.remove((channel.as_str(), user.as_str()))?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn note_contact(&self, user: &UserId, contact: &UserId) -> Result<(), ConversationsError> {
        let (user, contact) = (user.clone(), contact.clone());
        self.run(NOTE_CONTACT, move |database| {
            let transaction = database.begin_write()?;
            note_contact(&mut transaction.open_table(CONTACTS)?, &user, &contact)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn note_deleted(&self, user: &UserId, messages: &[MessageId]) -> Result<(), ConversationsError> {
        let (user, messages) = (user.clone(), messages.to_vec());
        self.run(NOTE_DELETED, move |database| {
            let transaction = database.begin_write()?;
            {
                let mut deleted = transaction.open_table(DELETED)?;
                messages.into_iter().try_for_each(|message| note_deleted(&mut deleted, &user, message))?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn find_deleted(
        &self,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<HashSet<MessageId>, ConversationsError> {
        let (user, messages) = (user.clone(), messages.to_vec());
        self.run(LOOK_DELETED, move |database| {
            let table = database.begin_read()?.open_table(DELETED)?;
            let mut found = HashSet::new();
            for message in messages {
                if table.get((user.as_str(), message.as_u64()))?.is_some() {
                    found.insert(message);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn has_contact(&self, user: &UserId, contact: &UserId) -> Result<bool, ConversationsError> {
        let (user, contact) = (user.clone(), contact.clone());
        self.run(LOOK_CONTACT, move |database| {
            let table = database.begin_read()?.open_table(CONTACTS)?;
            let noted = table.get((user.as_str(), contact.as_str()))?.map(|noted| noted.value());
            Ok(noted.is_some_and(|noted| noted.saturating_add(contact_ttl_ms()) > unix_ms()))
        })
        .await
    }
}

fn note_contact(
    contacts: &mut redb::Table<'_, (&'static str, &'static str), u64>,
    user: &UserId,
    contact: &UserId,
) -> Result<(), redb::Error> {
    if contacts.insert((user.as_str(), contact.as_str()), unix_ms())?.is_some() {
        return Ok(());
    }
    let (mut count, mut oldest) = (0, None::<(u64, String)>);
    for entry in contacts.range((user.as_str(), "")..)? {
        let (key, noted) = entry?;
        let ((of, name), noted) = (key.value(), noted.value());
        if of != user.as_str() {
            break;
        }
        count += 1;
        if name != contact.as_str() && oldest.as_ref().is_none_or(|(oldest, _)| noted < *oldest) {
            oldest = Some((noted, name.to_owned()));
        }
    }
    if let Some((_, oldest)) = oldest.filter(|_| count > MAX_CONTACTS) {
        contacts.remove((user.as_str(), oldest.as_str()))?;
    }
    Ok(())
}

/// Records deleted messages. Their number is stored beside them, under an id that no message has.
fn note_deleted(
    deleted: &mut redb::Table<'_, (&'static str, u64), u64>,
    user: &UserId,
    message: MessageId,
) -> Result<(), redb::Error> {
    let user = user.as_str();
    if deleted.insert((user, message.as_u64()), 1)?.is_some() {
        return Ok(());
    }
    let mut count = deleted.get((user, 0))?.map_or(0, |count| count.value()) + 1;
    if count > MAX_DELETED_MESSAGES as u64 {
        let mut ids = deleted.range((user, 1)..=(user, u64::MAX))?;
        let oldest = ids.next().transpose()?.map(|(key, _)| key.value().1);
        drop(ids);
        if let Some(oldest) = oldest {
            deleted.remove((user, oldest))?;
            count -= 1;
        }
    }
    deleted.insert((user, 0), count)?;
    Ok(())
}

fn contact_ttl_ms() -> u64 {
    u64::try_from(CONTACT_TTL.as_millis()).unwrap_or(u64::MAX)
}

fn read(found: Option<(u64, &[u8])>, conversation: Recipient) -> Stored {
    let stored = found.and_then(|(version, bytes)| Stored::decode(bytes, version));
    stored.unwrap_or_else(|| Stored::new(ConversationState::new(conversation)))
}

/// Applies a change. Returns `None` if it would be one conversation too many.
fn change(
    database: &Database,
    user: &UserId,
    conversation: Recipient,
    patch: &ConversationPatch,
    max: usize,
) -> Result<Option<ChangedConversation>, redb::Error> {
    let transaction = database.begin_write()?;
    let name = name(&conversation);
    let outcome = {
        let mut states = transaction.open_table(STATES)?;
        let key = (user.as_str(), &*name);
        let found = states.get(key)?.map(|found| (found.value().0, found.value().1.to_vec()));
        let is_new = found.is_none();
        let found = found.as_ref().map(|(version, bytes)| (*version, &**bytes));
        let mut stored = read(found, conversation);
        let (read_before, version_before) = (stored.state.read.seq, stored.state.version);
        let changed = stored.apply(patch);
        if changed {
            let mut users = transaction.open_table(USERS)?;
            let mut versions = transaction.open_table(VERSIONS)?;
            let (last, count) = users.get(user.as_str())?.map_or((0, 0), |known| known.value());
            if is_new && count >= max as u64 {
                return Ok(None);
            }
            stored.state.version = last + 1;
            versions.remove((user.as_str(), version_before))?;
            versions.insert((user.as_str(), stored.state.version), &*name)?;
            states.insert(key, (stored.state.version, &*stored.encode()))?;
            users.insert(user.as_str(), (stored.state.version, count + u64::from(is_new)))?;
        }
        ChangedConversation { state: stored.state, read_before, changed }
    };
    if outcome.changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(Some(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        conformance::{check_conversation_limit, check_conversations},
        disk::open_in,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        let log = open_in(&folder);
        check_conversations(&log.conversations()).await;
        check_conversation_limit(&log.conversations().with_max_conversations(8), 8).await;
    }

    #[tokio::test]
    async fn what_was_set_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_in(&folder);
        let (bob, team): (UserId, ChannelId) = ("bob".parse().unwrap(), "team".parse().unwrap());
        let pin = ConversationPatch { pinned: Some(true), ..Default::default() };
        open().conversations().change(&bob, &team.clone().into(), &pin).await.unwrap();
        let page = open().conversations().changed_since(&bob, 0, 10).await.unwrap();
        assert!(page.version == 1 && page.states[0].pinned && page.states[0].conversation == team);
    }
}
