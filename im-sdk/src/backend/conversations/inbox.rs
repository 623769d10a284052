//! Conversations with users: one pass over the inbox, newest first.

use std::{cmp::Reverse, collections::HashMap};

use futures_util::{StreamExt, stream};
use prost::Message as _;

use super::{
    ConversationError,
    assemble::{RawConversation, Read},
    changes::Changes,
    count::Unread,
    list::{FEW, FIRST_BYTES, PAGE},
    store::read_store,
};
use crate::{
    ConversationState, HistoryRange, Recipient,
    backend::message_store::{MessageStore, peer},
    cluster::{Entry, LogId, LogStore, ReadLimit},
    id::{ChannelId, UserId},
    proto::pb,
};

/// How many entries of the inbox are looked at, the newest ones: all that a log keeps by default, so that no noisy neighbour
/// hides what others have written.
const MAX_INBOX_ENTRIES: usize = 16_384;

/// How many bytes of the inbox are looked at, where it is less than [`MAX_INBOX_ENTRIES`]: all that a log keeps by default.
/// Conversations that are further back are in the list if the user has set something in them.
const MAX_INBOX_BYTES: usize = 8 * 1024 * 1024;

/// Of how many conversations, those that were changed last, the message store is asked for the last message because the
/// inbox does not have it any more.
const MAX_LOOKED_UP: usize = 64;

/// Of how many of them at once: each brings up to [`FEW`] messages.
const LOOKED_UP_AT_ONCE: usize = 4;

/// What an inbox has for a list.
pub(super) struct Inbox {
    pub(super) peers: Vec<RawConversation>,
    pub(super) end: u64,
    /// What was done to messages of the inbox.
    pub(super) changes: Changes,
    /// What the user has deleted of channels.
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
            // Nothing is behind the mark of one that has no message at all.
            peer.unread = Unread::default();
        }
    }
    Ok(inbox)
}

/// Last messages that the inbox does not have any more.
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
        let mut shown = page.into_iter().filter(|read| read.can_be_last(changes));
        let last = shown.next().map(|read| read.entry).filter(|last| peer.state.shows(last.seq));
        last.into_iter().for_each(|last| peer.set_last(last));
    }
    Ok(())
}

/// A way through an inbox, newest first.
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
            // It makes no conversation: what it changes does.
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
