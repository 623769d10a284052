//! Conversations with users: one pass over the inbox, newest first.

use std::{cmp::Reverse, collections::HashMap};

use futures_util::{StreamExt, stream};
use prost::Message as _;

use super::{
    ConversationError,
    assemble::RawConversation,
    changes::Changes,
    count::Unread,
    entry::Read,
    read_sizes::{FEW, FIRST_BYTES, PAGE},
    store::read_store,
};
use crate::{
    ConversationState, HistoryRange, Recipient,
    backend::message_store::{MessageStore, peer},
    cluster::{Entry, LogId, LogStore, ReadLimit},
    id::{ChannelId, UserId},
    proto::pb,
};

/// The number of entries that are scanned of an inbox, newest first. A log keeps as many by
/// default, so that no noisy peer hides what others have written.
const MAX_INBOX_ENTRIES: usize = 16_384;

/// The bytes that are scanned of an inbox, if they are reached before [`MAX_INBOX_ENTRIES`]. A log
/// keeps as many by default. Older conversations are listed if the user has a state of them.
const MAX_INBOX_BYTES: usize = 8 * 1024 * 1024;

/// The number of conversations, those changed last, whose last message is read from the message
/// store because it has left the inbox.
const MAX_LOOKED_UP: usize = 64;

/// The number of these that are read at once. Each brings up to [`FEW`] messages.
const LOOKED_UP_AT_ONCE: usize = 4;

/// The contents of an inbox that a list needs.
pub(super) struct Inbox {
    pub(super) peers: Vec<RawConversation>,
    pub(super) end: u64,
    /// The changes of messages in the inbox.
    pub(super) changes: Changes,
    /// The user's deletions of messages in channels.
    pub(super) of_channels: HashMap<ChannelId, Vec<Read>>,
}

pub(super) async fn read_inbox(
    log: &dyn LogStore,
    store: Option<&dyn MessageStore>,
    user: &UserId,
    states: HashMap<Recipient, ConversationState>,
) -> Result<Inbox, ConversationError> {
    let inbox = LogId::Inbox(user.clone());
    let first = ReadLimit::new(PAGE).with_bytes(FIRST_BYTES);
    let mut page = log.read_back(&inbox, None, first).await?;
    let end = page.last;
    let mut walk = Walk::new(user, states, end);
    let (mut entries, mut bytes) = (0, 0);
    let is_all = loop {
        entries += page.entries.len();
        bytes += page.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
        let lowest = page.entries.last().map(|entry| entry.seq);
        page.entries.into_iter().for_each(|entry| walk.take(entry));
        match lowest.filter(|lowest| *lowest > page.first) {
            None => break true,
            Some(_) if entries >= MAX_INBOX_ENTRIES || bytes >= MAX_INBOX_BYTES => break false,
            Some(lowest) => page = log.read_back(&inbox, Some(lowest), ReadLimit::new(PAGE)).await?,
        }
    };
    let mut inbox = walk.finish(is_all);
    look_up(store, user, &mut inbox).await?;
    for peer in &mut inbox.peers {
        peer.settle(&inbox.changes);
        if peer.last.is_none() {
            // A conversation without any message has nothing behind its mark.
            peer.unread = Unread::default();
        }
    }
    Ok(inbox)
}

/// Reads last messages that have left the inbox.
async fn look_up(
    store: Option<&dyn MessageStore>,
    user: &UserId,
    inbox: &mut Inbox,
) -> Result<(), ConversationError> {
    let Some(store) = store else { return Ok(()) };
    let Inbox { peers, changes, .. } = inbox;
    let mut old: Vec<_> = peers.iter_mut().filter(|peer| peer.last.is_none()).collect();
    old.sort_by_key(|peer| Reverse(peer.state.version));
    old.truncate(MAX_LOOKED_UP);
    let names: Vec<Recipient> = old.iter().map(|peer| peer.state.conversation.clone()).collect();
    let looks = names.iter().map(|name| read_store(store, user, name, HistoryRange::Newest, FEW));
    let looks: Vec<_> = looks.collect();
    let mut pages = stream::iter(looks).buffered(LOOKED_UP_AT_ONCE);
    for peer in old {
        let Some(page) = pages.next().await.transpose()? else { break };
        page.iter().for_each(|read| changes.note(read));
        let mut shown = page.into_iter().filter(|read| changes.can_be_last(read));
        let last = shown.next().map(|read| read.entry).filter(|last| peer.state.shows(last.seq));
        last.into_iter().for_each(|last| peer.set_last(last));
    }
    Ok(())
}

/// A scan of an inbox, newest first.
struct Walk<'a> {
    user: &'a UserId,
    end: u64,
    looked_to: u64,
    peers: HashMap<Recipient, RawConversation>,
    changes: Changes,
    of_channels: HashMap<ChannelId, Vec<Read>>,
}

impl<'a> Walk<'a> {
    fn new(user: &'a UserId, states: HashMap<Recipient, ConversationState>, end: u64) -> Self {
        let peers = states.into_iter().map(|(name, state)| (name, RawConversation::new(state, end)));
        let (peers, changes) = (peers.collect(), Changes::new(user));
        Self { user, end, looked_to: end, peers, changes, of_channels: HashMap::new() }
    }

    /// Takes the next older entry.
    fn take(&mut self, entry: Entry) {
        self.looked_to = entry.seq.saturating_sub(1);
        let Ok(message) = pb::Message::decode(entry.payload.clone()) else { return };
        let peer = peer(self.user, &message).map(Recipient::User);
        let read = Read::of(entry.into(), message);
        if read.stands_alone() {
            let Some(peer) = peer else { return };
            let new = || RawConversation::new(ConversationState::new(peer.clone()), self.end);
            let listed = self.peers.entry(peer.clone()).or_insert_with(new);
            listed.add(self.user, read, &self.changes);
        } else if let Some(channel) = read.channel().cloned() {
            self.of_channels.entry(channel).or_default().extend(read.slim());
        } else {
            // The change makes no conversation: its message does.
            self.changes.note(&read);
        }
    }

    fn finish(self, is_all: bool) -> Inbox {
        let Self { peers, end, looked_to, changes, of_channels, .. } = self;
        let mut peers: Vec<RawConversation> = peers.into_values().collect();
        peers.iter_mut().for_each(|peer| peer.finish(looked_to, is_all));
        Inbox { peers, end, changes, of_channels }
    }
}
