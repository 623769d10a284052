//! The list, put together from states and logs.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use prost::Message as _;

use super::{ConversationError, count::Unread, marks::log_of};
use crate::{
    Content, ConversationState, HistoryRange, Recipient,
    backend::{
        history::RawEntry,
        im::Im,
        store::{MessageStore, StoreQuery, peer},
    },
    cluster::{Ends, Entry, LogId, MAX_CONVERSATIONS},
    conversation::stands_alone,
    id::{ChannelId, UserId},
    proto::pb,
};

/// How many entries of the inbox are looked at, the newest ones: most of what a log keeps by default.
const MAX_INBOX_ENTRIES: usize = 8192;

/// How many entries of channels are looked at for one list. Channels that come after that are estimated.
const MAX_CHANNEL_ENTRIES: usize = 32_768;

/// How many entries are read at once, and how many logs.
const PAGE: usize = 256;
const PARALLEL: usize = 16;

/// How many entries are looked at where only the last message is wanted: those behind it may be changes.
const FEW: usize = 16;

/// Of how many conversations, those that were changed last, the message store is asked for the last message because the
/// inbox does not have it any more.
const MAX_LOOKED_UP: usize = 64;

/// Which conversations are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Listed,
    /// Behind them also those that are hidden or deleted.
    All,
}

/// A page of the list, with messages as they are kept.
#[derive(Debug)]
pub(crate) struct RawList {
    pub(crate) conversations: Vec<RawConversation>,
    pub(crate) more: bool,
    pub(crate) unread: u64,
    pub(crate) unread_more: bool,
    pub(crate) version: u64,
    pub(crate) inbox_end: u64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct RawConversation {
    pub(crate) state: ConversationState,
    pub(crate) last: Option<RawEntry>,
    pub(crate) unread: Unread,
    /// The end of the log that this is of.
    pub(crate) end: u64,
    /// Everything behind this was looked at.
    looked_to: u64,
    /// The log has nothing before that.
    is_all: bool,
}

impl RawConversation {
    fn new(state: ConversationState, end: u64) -> Self {
        Self { state, last: None, unread: Unread::default(), end, looked_to: end, is_all: false }
    }

    /// Takes the next older entry. What changes another message is none to be shown or counted.
    fn add(&mut self, user: &UserId, entry: &Entry, from: &str, content: &Content) {
        if entry.seq <= self.state.deleted || !stands_alone(content) {
            return;
        }
        if self.last.is_none() {
            self.last = Some(entry.clone().into());
        }
        if entry.seq > self.state.read_to() {
            self.unread.add(user, entry.seq, from, content);
        }
    }

    /// Nothing older was looked at.
    fn finish(&mut self, looked_to: u64, is_all: bool) {
        (self.looked_to, self.is_all) = (looked_to, is_all);
        self.unread.more |= self.state.read_to() < looked_to;
    }

    /// Whether it is in the list. What is not, devices get at the end of it: a message may bring it back.
    pub(super) fn is_listed(&self) -> bool {
        self.state.is_listed(self.last.as_ref().map_or(0, |last| last.seq))
    }

    /// Those in the list first; pinned ones first, then by their last messages.
    fn rank(&self) -> (Reverse<bool>, Reverse<bool>, Reverse<Option<u64>>, Recipient) {
        let sent = self.last.as_ref().map(|last| last.message_id.as_u64());
        let state = &self.state;
        (Reverse(self.is_listed()), Reverse(state.pinned), Reverse(sent), state.conversation.clone())
    }
}

impl Im {
    pub(in crate::backend) async fn raw_conversations(
        &self,
        user: &UserId,
        which: Which,
        skip: usize,
        limit: usize,
    ) -> Result<RawList, ConversationError> {
        let cluster = &self.inner.cluster;
        // First, so that what is set meanwhile has a later version.
        let set = cluster.conversations().changed_since(user, 0, MAX_CONVERSATIONS).await?;
        let mut states: HashMap<Recipient, ConversationState> =
            set.states.into_iter().map(|state| (state.conversation.clone(), state)).collect();
        let channels = cluster.members().channels(user).await?;
        let mut all = self.channels_of(user, channels, &mut states).await?;
        states.retain(|conversation, _| conversation.as_user().is_some());
        let (peers, inbox_end) = self.peers_of(user, states).await?;
        all.extend(peers);
        if which == Which::Listed {
            all.retain(RawConversation::is_listed);
        }
        all.sort_by_cached_key(RawConversation::rank);

        let more = all.len() > skip.saturating_add(limit);
        let counted = all.iter_mut().skip(skip).take(limit);
        for listed in counted.filter(|listed| listed.unread.more && listed.is_all && !listed.unread.is_full())
        {
            self.count_in_store(user, listed).await?;
        }
        let heard = || all.iter().filter(|listed| listed.is_listed() && !listed.state.muted);
        let unread = heard().map(|listed| u64::from(listed.unread.count())).sum();
        let unread_more = heard().any(|listed| listed.unread.more);
        let conversations = all.into_iter().skip(skip).take(limit).collect();
        Ok(RawList { conversations, more, unread, unread_more, version: set.version, inbox_end })
    }

    /// One pass over the inbox, newest first.
    async fn peers_of(
        &self,
        user: &UserId,
        states: HashMap<Recipient, ConversationState>,
    ) -> Result<(Vec<RawConversation>, u64), ConversationError> {
        let (log, inbox) = (self.inner.cluster.log(), LogId::Inbox(user.clone()));
        let mut page = log.read_back(&inbox, None, PAGE).await?;
        let end = page.last;
        let of = |(name, state)| (name, RawConversation::new(state, end));
        let mut peers: HashMap<Recipient, RawConversation> = states.into_iter().map(of).collect();
        let (mut looked_at, mut looked_to) = (0, end);
        let is_all = loop {
            for entry in &page.entries {
                looked_to = entry.seq.saturating_sub(1);
                let Ok(message) = pb::Message::decode(entry.payload.clone()) else { continue };
                let Some(peer) = peer(user, &message).map(Recipient::User) else { continue };
                let content = Content::from(message.content);
                // It makes no conversation: what it changes does.
                if !stands_alone(&content) {
                    continue;
                }
                let new = || RawConversation::new(ConversationState::new(peer.clone()), end);
                let listed = peers.entry(peer.clone()).or_insert_with(new);
                listed.add(user, entry, &message.from, &content);
            }
            looked_at += page.entries.len();
            let lowest = page.entries.last().map(|entry| entry.seq);
            match lowest.filter(|lowest| *lowest > page.first) {
                None => break true,
                Some(_) if looked_at >= MAX_INBOX_ENTRIES => break false,
                Some(lowest) => page = log.read_back(&inbox, Some(lowest), PAGE).await?,
            }
        };
        let mut peers: Vec<RawConversation> = peers.into_values().collect();
        peers.iter_mut().for_each(|peer| peer.finish(looked_to, is_all));
        self.look_up(user, &mut peers).await?;
        // Nothing is behind the mark of one that has no message at all.
        peers.iter_mut().filter(|peer| peer.last.is_none()).for_each(|peer| peer.unread = Unread::default());
        Ok((peers, end))
    }

    /// Last messages that the inbox does not have any more.
    async fn look_up(&self, user: &UserId, peers: &mut [RawConversation]) -> Result<(), ConversationError> {
        let Some(store) = self.inner.config.message_store.as_deref() else { return Ok(()) };
        let mut old: Vec<_> = peers.iter_mut().filter(|peer| peer.last.is_none()).collect();
        old.sort_by_key(|peer| Reverse(peer.state.version));
        let looks = old.into_iter().take(MAX_LOOKED_UP).map(|peer| look_up(store, user, peer));
        let looks: Vec<_> = looks.collect();
        stream::iter(looks).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn channels_of(
        &self,
        user: &UserId,
        channels: Vec<ChannelId>,
        states: &mut HashMap<Recipient, ConversationState>,
    ) -> Result<Vec<RawConversation>, ConversationError> {
        let logs: Vec<LogId> = channels.iter().cloned().map(LogId::Channel).collect();
        let ends = self.inner.cluster.log().ends(&logs).await?;
        let room = AtomicUsize::new(MAX_CHANNEL_ENTRIES);
        let found = channels.into_iter().zip(ends).map(|(channel, ends)| {
            let name = Recipient::Channel(channel.clone());
            let state = states.remove(&name).unwrap_or_else(|| ConversationState::new(name));
            self.channel_of(user, LogId::Channel(channel), ends, state, &room)
        });
        let found: Vec<_> = found.collect();
        stream::iter(found).buffer_unordered(PARALLEL).try_collect().await
    }

    /// What is behind the mark, newest first, and the last message in any case.
    async fn channel_of(
        &self,
        user: &UserId,
        log: LogId,
        ends: Ends,
        state: ConversationState,
        room: &AtomicUsize,
    ) -> Result<RawConversation, ConversationError> {
        let (read_to, mut before) = (state.read_to(), None);
        let mut channel = RawConversation::new(state, ends.last);
        if ends.last == 0 {
            return Ok(channel);
        }
        let behind = usize::try_from(ends.last.saturating_sub(read_to)).unwrap_or(usize::MAX);
        let mut wanted = behind.clamp(1, PAGE);
        if room.load(Ordering::Relaxed) == 0 {
            wanted = FEW;
        }
        loop {
            let page = self.inner.cluster.log().read_back(&log, before, wanted).await?;
            if before.is_none() {
                channel.end = page.last;
            }
            for entry in &page.entries {
                let message = pb::Message::decode(entry.payload.clone()).unwrap_or_default();
                channel.add(user, entry, &message.from, &message.content.into());
            }
            let taken = page.entries.len();
            let left = room.load(Ordering::Relaxed).saturating_sub(taken);
            room.store(left, Ordering::Relaxed);
            let lowest = page.entries.last().map_or(page.first, |entry| entry.seq);
            let looked_to = lowest.saturating_sub(1);
            let is_counted = looked_to <= read_to || channel.unread.is_full();
            // Behind a row of changes there may still be a message.
            let has_last = channel.last.is_some() || looked_to <= channel.state.deleted || left == 0;
            if lowest <= page.first || is_counted && has_last {
                channel.finish(looked_to, lowest <= page.first);
                return Ok(channel);
            }
            if left == 0 {
                channel.unread = Unread::estimated(channel.end.saturating_sub(read_to));
                return Ok(channel);
            }
            (before, wanted) = (Some(lowest), PAGE);
        }
    }

    /// Goes on where the log does not reach back any more.
    async fn count_in_store(
        &self,
        user: &UserId,
        listed: &mut RawConversation,
    ) -> Result<(), ConversationError> {
        let Some(store) = self.inner.config.message_store.as_deref() else { return Ok(()) };
        listed.unread.more = false;
        let mut before = listed.looked_to.saturating_add(1);
        loop {
            let range = HistoryRange::Before(before);
            let page = read_store(store, user, &listed.state.conversation, range, PAGE).await?;
            let Some(lowest) = page.last().map(|entry| entry.seq) else { return Ok(()) };
            for entry in page.iter().filter(|entry| entry.seq > listed.state.read_to()) {
                let message = pb::Message::decode(entry.message.clone()).unwrap_or_default();
                listed.unread.add(user, entry.seq, &message.from, &message.content.into());
            }
            if lowest <= listed.state.read_to() || page.len() < PAGE || listed.unread.is_full() {
                return Ok(());
            }
            before = lowest;
        }
    }
}

async fn look_up(
    store: &dyn MessageStore,
    user: &UserId,
    peer: &mut RawConversation,
) -> Result<(), ConversationError> {
    let page = read_store(store, user, &peer.state.conversation, HistoryRange::Newest, FEW).await?;
    let stands_alone = |entry: &RawEntry| {
        pb::Message::decode(entry.message.clone()).is_ok_and(|message| stands_alone(&message.content.into()))
    };
    peer.last = page.into_iter().find(stands_alone).filter(|last| last.seq > peer.state.deleted);
    Ok(())
}

/// Entries of the message store, newest first.
async fn read_store(
    store: &dyn MessageStore,
    user: &UserId,
    conversation: &Recipient,
    range: HistoryRange,
    limit: usize,
) -> Result<Vec<RawEntry>, ConversationError> {
    let query = StoreQuery::new(range, limit).with_peer(conversation.as_user().cloned());
    let page = store.read(&log_of(user, conversation), &query).await;
    let page = page.map_err(crate::backend::HistoryError::from)?;
    Ok(page.entries.into_iter().rev().map(RawEntry::from).collect())
}
