//! Conversations in channels: of each what is behind the mark, newest first.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ConversationError,
    count::Unread,
    list::{FEW, Found, PAGE, PARALLEL},
    raw::{RawConversation, Read},
};
use crate::{
    ConversationState, Recipient,
    backend::im::Im,
    cluster::{Ends, LogId},
    id::{ChannelId, UserId},
    timeline::Timeline,
};

/// How many entries of channels are looked at for one list. Channels that come after that are estimated.
const MAX_CHANNEL_ENTRIES: usize = 32_768;

impl Im {
    /// `deleted`: the user's own deletions, which are in the inbox.
    pub(super) async fn channels_of(
        &self,
        user: &UserId,
        channels: Vec<ChannelId>,
        mut states: HashMap<Recipient, ConversationState>,
        mut deleted: HashMap<ChannelId, Vec<Read>>,
    ) -> Result<Vec<Found>, ConversationError> {
        let logs: Vec<LogId> = channels.iter().cloned().map(LogId::Channel).collect();
        let ends = self.inner.cluster.log().ends(&logs).await?;
        let room = AtomicUsize::new(MAX_CHANNEL_ENTRIES);
        let found = channels.into_iter().zip(ends).map(|(channel, ends)| {
            let mut changes = Timeline::new(user.clone());
            deleted.remove(&channel).into_iter().flatten().for_each(|read| read.note_in(&mut changes));
            let name = Recipient::Channel(channel.clone());
            let state = states.remove(&name).unwrap_or_else(|| ConversationState::new(name));
            self.channel_of(user, LogId::Channel(channel), ends, (state, changes), &room)
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
        (state, mut changes): (ConversationState, Timeline),
        room: &AtomicUsize,
    ) -> Result<Found, ConversationError> {
        let (read_to, mut before) = (state.read_to(), None);
        let mut channel = RawConversation::new(state, ends.last);
        if ends.last == 0 {
            return Ok((channel, Some(changes)));
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
            let taken = page.entries.len();
            let lowest = page.entries.last().map_or(page.first, |entry| entry.seq);
            for entry in page.entries {
                let read = Read::new(entry);
                read.note_in(&mut changes);
                channel.add(user, read, &changes);
            }
            let left = room.load(Ordering::Relaxed).saturating_sub(taken);
            room.store(left, Ordering::Relaxed);
            let looked_to = lowest.saturating_sub(1);
            let is_counted = looked_to <= read_to || channel.unread.is_full();
            // Behind a row of changes there may still be a message.
            let has_last = channel.last.is_some() || looked_to <= channel.state.deleted || left == 0;
            if lowest <= page.first || is_counted && has_last {
                channel.finish(looked_to, lowest <= page.first);
                break;
            }
            if left == 0 {
                channel.unread = Unread::estimated(channel.end.saturating_sub(read_to));
                break;
            }
            (before, wanted) = (Some(lowest), PAGE);
        }
        channel.settle(&changes);
        Ok((channel, Some(changes)))
    }
}
