//! Puts the list together from states and logs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    ConversationError, UnreadTotal,
    assemble::RawConversation,
    changes::Changes,
    channels::read_channels,
    inbox::{Inbox, read_inbox},
    marks::log_of,
    read_sizes::FEW,
    store::{MAX_COUNTED_BYTES, count_in_store},
};
use crate::{
    Conversation, ConversationState, HistoryQuery, Recipient,
    backend::{
        history::{HistoryReader, Shows},
        message_store::MessageStore,
        send::message_ids::now_ms,
    },
    cluster::{Cluster, ReadLimit},
    id::{ChannelId, MessageId, UserId},
};

/// The number of states in one read: some 100 KiB.
const STATES: usize = 1024;

/// The number of last messages of a page that are read at once.
const LAST_AT_ONCE: usize = 4;

/// The number of pages of history that are read for a last message before deleted ones.
const MAX_LAST_PAGES: usize = 4;

/// The conversations in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Which {
    Listed,
    /// Also hidden and deleted ones, at the end.
    All,
}

/// A page of the list, with messages as they are kept.
#[derive(Debug)]
pub(in crate::backend) struct RawList {
    pub(in crate::backend) conversations: Vec<RawConversation>,
    pub(in crate::backend) more: bool,
    pub(in crate::backend) unread: UnreadTotal,
    pub(in crate::backend) version: u64,
    pub(in crate::backend) inbox_end: u64,
}

/// Puts the lists of users' conversations together.
#[derive(Debug)]
pub(in crate::backend) struct ConversationLists {
    cluster: Cluster,
    store: Option<Arc<dyn MessageStore>>,
    history: Arc<HistoryReader>,
}

impl ConversationLists {
    pub(super) fn new(
        cluster: Cluster,
        store: Option<Arc<dyn MessageStore>>,
        history: Arc<HistoryReader>,
    ) -> Self {
        Self { cluster, store, history }
    }

    /// Reads a page of a user's conversations, within a limit of conversations and of bytes of last
    /// messages.
    pub(in crate::backend) async fn read(
        &self,
        user: &UserId,
        which: Which,
        skip: usize,
        limit: ReadLimit,
    ) -> Result<RawList, ConversationError> {
        let cluster = &self.cluster;
        // The states come first, so that later changes have a later version.
        let (states, version) = self.all_states(user).await?;
        let member_of = cluster.members().channels(user).await?;
        let (of_channels, of_peers): (HashMap<_, _>, HashMap<_, _>) =
            states.into_iter().partition(|(name, _)| name.as_channel().is_some());
        let channels = listed_channels(member_of, &of_channels);
        // The user's deletions in channels are in the inbox.
        let inbox = self.read_inbox(user, of_peers).await?;
        let mut all = read_channels(&**cluster.log(), user, channels, of_channels, inbox.of_channels).await?;
        let mut of_inbox = inbox.changes;
        all.extend(inbox.peers.into_iter().map(|peer| (peer, None)));
        if which == Which::Listed {
            all.retain(|(listed, _)| listed.is_listed());
        }
        all.sort_by_cached_key(|(listed, _)| listed.rank());

        let more = all.len() > skip.saturating_add(limit.entries);
        let mut room = MAX_COUNTED_BYTES;
        for (listed, changes) in all.iter_mut().skip(skip).take(limit.entries) {
            let changes = changes.as_mut().unwrap_or(&mut of_inbox);
            self.count_further(user, listed, changes, &mut room).await?;
        }
        let mut all: Vec<RawConversation> = all.into_iter().map(|(listed, _)| listed).collect();
        let mut unread = UnreadTotal::default();
        let now = now_ms(cluster);
        for listed in all.iter().filter(|listed| listed.is_listed() && !listed.state.is_muted_at(now)) {
            let mentions_only = listed.state.mentions_only;
            let count = if mentions_only { listed.unread.mentioned() } else { listed.unread.count() };
            unread.count += u64::from(count);
            unread.conversations += u64::from(count > 0);
            unread.more |= listed.unread.more;
        }
        let mut conversations: Vec<_> = all.drain(..).skip(skip).take(limit.entries).collect();
        let wanted = conversations.len();
        self.replace_deleted_last(user, &mut conversations).await?;
        self.read_last(user, &mut conversations, limit.bytes).await?;
        let more = more || conversations.len() < wanted;
        Ok(RawList { conversations, more, unread, version, inbox_end: inbox.end })
    }

    /// Reads one conversation of a user, if there is one of this name.
    pub(super) async fn read_one(
        &self,
        user: &UserId,
        name: Recipient,
    ) -> Result<Option<RawConversation>, ConversationError> {
        let cluster = &self.cluster;
        let mut states: HashMap<Recipient, ConversationState> = cluster
            .conversations()
            .states(user, std::slice::from_ref(&name))
            .await?
            .into_iter()
            .filter(|state| state.version > 0)
            .map(|state| (name.clone(), state))
            .collect();
        let found = match name.as_channel() {
            Some(channel) => {
                let is_member = cluster.members().is_member(channel, user).await?;
                let channels =
                    listed_channels(is_member.then(|| channel.clone()).into_iter().collect(), &states);
                if channels.is_empty() {
                    return Ok(None);
                }
                let inbox = self.read_inbox(user, HashMap::new()).await?;
                let mut found =
                    read_channels(&**cluster.log(), user, channels, states, inbox.of_channels).await?;
                found.pop()
            }
            None => {
                let of_peer = states.remove(&name).map(|state| (name.clone(), state));
                let inbox = self.read_inbox(user, of_peer.into_iter().collect()).await?;
                let peer = inbox.peers.into_iter().find(|peer| peer.state.conversation == name);
                peer.map(|peer| (peer, Some(inbox.changes)))
            }
        };
        let Some((mut listed, changes)) = found else { return Ok(None) };
        let mut changes = changes.unwrap_or_else(|| Changes::new(user));
        self.count_further(user, &mut listed, &mut changes, &mut { MAX_COUNTED_BYTES }).await?;
        let mut page = vec![listed];
        self.replace_deleted_last(user, &mut page).await?;
        self.read_last(user, &mut page, MAX_COUNTED_BYTES).await?;
        Ok(page.pop())
    }

    async fn read_inbox(
        &self,
        user: &UserId,
        states: HashMap<Recipient, ConversationState>,
    ) -> Result<Inbox, ConversationError> {
        read_inbox(&**self.cluster.log(), self.store.as_deref(), user, states).await
    }

    /// Counts unread messages that have left the log and are in the message store.
    async fn count_further(
        &self,
        user: &UserId,
        listed: &mut RawConversation,
        changes: &mut Changes,
        room: &mut usize,
    ) -> Result<(), ConversationError> {
        if listed.unread.more && listed.is_all && !listed.unread.is_full() {
            count_in_store(self.store.as_deref(), user, listed, changes, room).await?;
        }
        Ok(())
    }

    /// Reads all states of a user, and the version of the last change in them.
    async fn all_states(
        &self,
        user: &UserId,
    ) -> Result<(HashMap<Recipient, ConversationState>, u64), ConversationError> {
        let store = self.cluster.conversations();
        let (mut states, mut since, mut version) = (HashMap::new(), 0, None);
        loop {
            let page = store.changed_since(user, since, STATES).await?;
            // States that are changed meanwhile move to the end: they are in the list, and count as
            // later.
            let version = *version.get_or_insert(page.version);
            let last = page.states.last().map_or(since, |state| state.version);
            states.extend(page.states.into_iter().map(|state| (state.conversation.clone(), state)));
            if !page.more || last <= since || last >= version {
                return Ok((states, version));
            }
            since = last;
        }
    }

    /// Replaces a last message that the user deleted so long ago that the deletion was not scanned.
    async fn replace_deleted_last(
        &self,
        user: &UserId,
        page: &mut [RawConversation],
    ) -> Result<(), ConversationError> {
        let last = |listed: &RawConversation| listed.last.as_ref().map(|last| last.message_id);
        let ids: Vec<MessageId> = page.iter().filter_map(last).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let deleted = self.cluster.conversations().find_deleted(user, &ids).await?;
        let is_deleted = |listed: &&mut RawConversation| last(listed).is_some_and(|id| deleted.contains(&id));
        for listed in page.iter_mut().filter(is_deleted) {
            let conversation = Conversation::from(&listed.state.conversation);
            (listed.last, listed.last_edit, listed.last_recalled) = (None, None, None);
            let mut query = HistoryQuery::newest();
            for _ in 0..MAX_LAST_PAGES {
                let read = self.history.read_conversation(
                    user,
                    &conversation,
                    &query,
                    ReadLimit::new(FEW),
                    Shows::Messages,
                );
                let page = read.await?;
                listed.last = page.entries.into_iter().next_back();
                match page.next {
                    Some(next) if listed.last.is_none() => query = query.range(next),
                    _ => break,
                }
            }
            listed.is_missing = false;
        }
        Ok(())
    }

    /// Completes the last messages of a page. Ends the page where they exceed the bytes, after the
    /// first one.
    async fn read_last(
        &self,
        user: &UserId,
        page: &mut Vec<RawConversation>,
        most_bytes: usize,
    ) -> Result<(), ConversationError> {
        let reads: Vec<_> = page.iter().map(|listed| self.last_of(user, listed)).collect();
        let mut reads = stream::iter(reads).buffered(LAST_AT_ONCE);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some(message) = reads.next().await.transpose()? {
            bytes += message.as_ref().map_or(0, Bytes::len);
            if bytes > most_bytes && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        drop(reads);
        page.truncate(messages.len());
        for (listed, message) in page.iter_mut().zip(messages) {
            if let (Some(last), Some(message)) = (&mut listed.last, message) {
                last.message = message;
            }
        }
        Ok(())
    }

    /// Returns the last message of a conversation with its present content.
    async fn last_of(
        &self,
        user: &UserId,
        listed: &RawConversation,
    ) -> Result<Option<Bytes>, ConversationError> {
        let Some(last) = &listed.last else { return Ok(None) };
        let log = log_of(user, &listed.state.conversation);
        let mut message = last.message.clone();
        if listed.is_missing {
            let found = self.history.entry_at(&log, last.seq, last.message_id).await?;
            message = found.map(|entry| entry.message).unwrap_or_default();
        }
        let edit = match (listed.last_edit, listed.edited_at) {
            (Some(edit), Some(seq)) => {
                self.history.entry_at(&log, seq, edit.change).await?.map(|entry| entry.message)
            }
            _ => None,
        };
        Ok(Some(listed.says_now(message, edit)))
    }
}

/// Returns the channels in a list: those that the user is a member of, without closed ones, and
/// closed ones that stay in the list.
fn listed_channels(
    mut member_of: Vec<ChannelId>,
    states: &HashMap<Recipient, ConversationState>,
) -> Vec<ChannelId> {
    let closed = |state: &ConversationState| state.closed.is_some();
    let mut closed: HashMap<&Recipient, &ConversationState> =
        states.iter().filter(|(_, state)| closed(state)).collect();
    if closed.is_empty() {
        return member_of;
    }
    member_of.retain(|channel| !closed.contains_key(&Recipient::Channel(channel.clone())));
    closed.retain(|_, state| state.closed.is_some_and(|closed| closed > 0));
    member_of.extend(closed.keys().filter_map(|name| name.as_channel().cloned()));
    member_of
}
