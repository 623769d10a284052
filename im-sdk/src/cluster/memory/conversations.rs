//! Conversations inside one process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;

use crate::{
    ConversationState, Recipient,
    cluster::traits::{
        CONTACT_TTL, ChangedConversation, ChangedPage, ConversationPatch, ConversationStore,
        ConversationsError, MAX_CONTACTS, MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, Readers,
        conversation_patch::Stored,
    },
    id::{ChannelId, MessageId, UserId},
};

/// Conversations inside this process, lost when it ends. Clones share them. Operations never fail,
/// except for too many conversations.
#[derive(Clone, Debug)]
pub struct MemoryConversations {
    state: Arc<Mutex<State>>,
    max: usize,
}

impl Default for MemoryConversations {
    fn default() -> Self {
        Self { state: Arc::default(), max: MAX_CONVERSATIONS }
    }
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, OfUser>,
    readers: HashMap<ChannelId, BTreeMap<UserId, u64>>,
    deleted: HashMap<UserId, BTreeSet<MessageId>>,
    /// Each user's contacts, with the time at which they were last recorded.
    contacts: HashMap<UserId, HashMap<UserId, Instant>>,
}

#[derive(Debug, Default)]
struct OfUser {
    version: u64,
    conversations: HashMap<Recipient, Stored>,
    /// The conversations by version.
    versions: BTreeMap<u64, Recipient>,
}

impl MemoryConversations {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets another limit than [`MAX_CONVERSATIONS`].
    #[must_use]
    pub fn with_max_conversations(self, max: usize) -> Self {
        Self { max, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ConversationStore for MemoryConversations {
    async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        patch: &ConversationPatch,
    ) -> Result<ChangedConversation, ConversationsError> {
        let mut state = self.lock();
        let of_user = state.users.entry(user.clone()).or_default();
        of_user.change(conversation, patch, self.max)
    }

    async fn states(
        &self,
        user: &UserId,
        conversations: &[Recipient],
    ) -> Result<Vec<ConversationState>, ConversationsError> {
        let state = self.lock();
        let of_user = state.users.get(user);
        let find = |conversation: &Recipient| {
            let stored = of_user.and_then(|of_user| of_user.conversations.get(conversation));
            stored.map_or_else(|| ConversationState::new(conversation.clone()), |stored| stored.state.clone())
        };
        Ok(conversations.iter().map(find).collect())
    }

    async fn changed_since(
        &self,
        user: &UserId,
        version: u64,
        limit: usize,
    ) -> Result<ChangedPage, ConversationsError> {
        let state = self.lock();
        let Some(of_user) = state.users.get(user) else { return Ok(ChangedPage::default()) };
        let mut later = of_user.versions.range((Bound::Excluded(version), Bound::Unbounded));
        let found = later
            .by_ref()
            .take(limit)
            .filter_map(|(_, conversation)| Some(of_user.conversations.get(conversation)?.state.clone()));
        let states = found.collect();
        Ok(ChangedPage { states, more: later.next().is_some(), version: of_user.version })
    }

    async fn note_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        seq: u64,
    ) -> Result<(), ConversationsError> {
        if users.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        let readers = state.readers.entry(channel.clone()).or_default();
        for user in users {
            let known = readers.entry(user.clone()).or_default();
            *known = seq.max(*known);
        }
        Ok(())
    }

    async fn noted_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<Option<u64>>, ConversationsError> {
        let state = self.lock();
        let readers = state.readers.get(channel);
        Ok(users.iter().map(|user| readers.and_then(|readers| readers.get(user).copied())).collect())
    }

    async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError> {
        let state = self.lock();
        let readers = state.readers.get(channel).into_iter().flatten().filter(|(_, read)| **read >= seq);
        let mut found = Readers::default();
        for (user, _) in readers {
            found.count += 1;
            if found.users.len() < limit {
                found.users.push(user.clone());
            }
        }
        Ok(found)
    }

    async fn remove_readers(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), ConversationsError> {
        let mut state = self.lock();
        if let Some(readers) = state.readers.get_mut(channel) {
            users.iter().for_each(|user| _ = readers.remove(user));
            if readers.is_empty() {
                state.readers.remove(channel);
            }
        }
        Ok(())
    }

    async fn note_contact(&self, user: &UserId, contact: &UserId) -> Result<(), ConversationsError> {
        let mut state = self.lock();
        let contacts = state.contacts.entry(user.clone()).or_default();
        contacts.insert(contact.clone(), Instant::now());
        if contacts.len() > MAX_CONTACTS
            && let Some(oldest) =
                contacts.iter().min_by_key(|(_, noted)| **noted).map(|(contact, _)| contact.clone())
        {
            contacts.remove(&oldest);
        }
        Ok(())
    }

    async fn note_deleted(&self, user: &UserId, messages: &[MessageId]) -> Result<(), ConversationsError> {
        let mut state = self.lock();
        let deleted = state.deleted.entry(user.clone()).or_default();
        deleted.extend(messages);
        while deleted.len() > MAX_DELETED_MESSAGES {
            deleted.pop_first();
        }
        Ok(())
    }

    async fn find_deleted(
        &self,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<HashSet<MessageId>, ConversationsError> {
        let state = self.lock();
        let Some(deleted) = state.deleted.get(user) else { return Ok(HashSet::new()) };
        Ok(messages.iter().filter(|message| deleted.contains(message)).copied().collect())
    }

    async fn has_contact(&self, user: &UserId, contact: &UserId) -> Result<bool, ConversationsError> {
        let state = self.lock();
        let noted = state.contacts.get(user).and_then(|contacts| contacts.get(contact));
        Ok(noted.is_some_and(|noted| noted.elapsed() < CONTACT_TTL))
    }
}

impl OfUser {
    fn change(
        &mut self,
        conversation: &Recipient,
        patch: &ConversationPatch,
        max: usize,
    ) -> Result<ChangedConversation, ConversationsError> {
        let known = self.conversations.get(conversation).cloned();
        let is_new = known.is_none();
        let mut stored = known.unwrap_or_else(|| Stored::new(ConversationState::new(conversation.clone())));
        let (read_before, version_before) = (stored.state.read.seq, stored.state.version);
        let changed = stored.apply(patch);
        if changed {
            if is_new && self.conversations.len() >= max {
                return Err(ConversationsError::too_many(max));
            }
            self.version += 1;
            stored.set_version(self.version);
            self.versions.remove(&version_before);
            self.versions.insert(self.version, conversation.clone());
            self.conversations.insert(conversation.clone(), stored.clone());
        }
        Ok(ChangedConversation { state: stored.state, read_before, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::{check_conversation_limit, check_conversations};

    #[tokio::test]
    async fn conforms() {
        check_conversations(&MemoryConversations::new()).await;
        check_conversation_limit(&MemoryConversations::new().with_max_conversations(8), 8).await;
    }
}
