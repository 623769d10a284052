//! The list, put together from states and logs.

use std::collections::HashMap;

use super::{ConversationError, raw::RawConversation};
use crate::{
    ConversationState, Recipient, backend::im::Im, cluster::MAX_CONVERSATIONS, id::UserId, timeline::Timeline,
};

/// How many entries are read at once, and how many logs.
pub(super) const PAGE: usize = 256;
pub(super) const PARALLEL: usize = 16;

/// How many entries are looked at where only the last message is wanted: those behind it may be changes.
pub(super) const FEW: usize = 16;

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

/// A conversation, and what was done to its messages, where that stands in a log of its own.
pub(super) type Found = (RawConversation, Option<Timeline>);

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
        let (of_channels, of_peers): (HashMap<_, _>, HashMap<_, _>) =
            states.drain().partition(|(name, _)| name.as_channel().is_some());
        // What the user has deleted of channels is in the inbox.
        let inbox = self.inbox_of(user, of_peers).await?;
        let mut all = self.channels_of(user, channels, of_channels, inbox.of_channels).await?;
        let mut of_inbox = inbox.changes;
        all.extend(inbox.peers.into_iter().map(|peer| (peer, None)));
        if which == Which::Listed {
            all.retain(|(listed, _)| listed.is_listed());
        }
        all.sort_by_cached_key(|(listed, _)| listed.rank());

        let more = all.len() > skip.saturating_add(limit);
        for (listed, changes) in all.iter_mut().skip(skip).take(limit) {
            if listed.unread.more && listed.is_all && !listed.unread.is_full() {
                self.count_in_store(user, listed, changes.as_mut().unwrap_or(&mut of_inbox)).await?;
            }
        }
        let mut all: Vec<RawConversation> = all.into_iter().map(|(listed, _)| listed).collect();
        let heard = || all.iter().filter(|listed| listed.is_listed() && !listed.state.muted);
        let unread = heard().map(|listed| u64::from(listed.unread.count())).sum();
        let unread_more = heard().any(|listed| listed.unread.more);
        let conversations = all.drain(..).skip(skip).take(limit).collect();
        Ok(RawList { conversations, more, unread, unread_more, version: set.version, inbox_end: inbox.end })
    }
}
