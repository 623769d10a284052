//! Conversations in channels: reads the entries behind the mark of each, newest first.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ConversationError,
    assemble::RawConversation,
    changes::Changes,
    count::Unread,
    entry::Read,
    read_sizes::{FEW, FIRST_BYTES, PAGE, PARALLEL},
};
use crate::{
    ConversationState, Recipient,
    cluster::{LogEnds, LogId, LogStore, Page, ReadLimit},
    id::{ChannelId, UserId},
};

/// The number of entries that are scanned of all channels for one list. Further channels are
/// estimated.
const MAX_CHANNEL_ENTRIES: usize = 32_768;

/// The bytes that are scanned of all channels for one list, if they are reached before
/// [`MAX_CHANNEL_ENTRIES`].
const MAX_CHANNEL_BYTES: usize = 8 * 1024 * 1024;

/// A conversation, and the changes of its messages if they are in a log of its own.
pub(super) type Found = (RawConversation, Option<Changes>);

/// The limit of the read of a channel after that: nearly always enough for the last message.
const LAST: ReadLimit = ReadLimit::new(FEW).with_bytes(4 * 1024);

/// The entries and bytes that may still be scanned.
struct Room {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    fn new() -> Self {
        Self { entries: AtomicUsize::new(MAX_CHANNEL_ENTRIES), bytes: AtomicUsize::new(MAX_CHANNEL_BYTES) }
    }

    fn take(&self, page: &Page) {
        let bytes = page.entries.iter().map(|entry| entry.payload.len()).sum();
        for (left, taken) in [(&self.entries, page.entries.len()), (&self.bytes, bytes)] {
            let left_now = left.load(Ordering::Relaxed).saturating_sub(taken);
            left.store(left_now, Ordering::Relaxed);
        }
    }

    fn is_used_up(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0 || self.bytes.load(Ordering::Relaxed) == 0
    }
}

/// Reads channels. `deleted` has the user's own deletions, which are in the inbox.
pub(super) async fn read_channels(
    log: &dyn LogStore,
    user: &UserId,
    channels: Vec<ChannelId>,
    mut states: HashMap<Recipient, ConversationState>,
    mut deleted: HashMap<ChannelId, Vec<Read>>,
) -> Result<Vec<Found>, ConversationError> {
    let logs: Vec<LogId> = channels.iter().cloned().map(LogId::Channel).collect();
    let ends = log.ends(&logs).await?;
    let room = Room::new();
    let found = channels.into_iter().zip(ends).map(|(channel, ends)| {
        let mut changes = Changes::new(user);
        deleted.remove(&channel).into_iter().flatten().for_each(|read| changes.note(&read));
        let name = Recipient::Channel(channel.clone());
        let state = states.remove(&name).unwrap_or_else(|| ConversationState::new(name));
        read_channel(log, user, LogId::Channel(channel), ends, (state, changes), &room)
    });
    let found: Vec<_> = found.collect();
    stream::iter(found).buffer_unordered(PARALLEL).try_collect().await
}

/// Reads the entries behind the mark, newest first, and the last message in any case.
async fn read_channel(
    store: &dyn LogStore,
    user: &UserId,
    log: LogId,
    ends: LogEnds,
    (state, mut changes): (ConversationState, Changes),
    room: &Room,
) -> Result<Found, ConversationError> {
    let (read_to, mut before) = (state.read_to(), None);
    let mut channel = RawConversation::new(state, ends.last);
    if ends.last == 0 {
        return Ok((channel, Some(changes)));
    }
    let behind = usize::try_from(ends.last.saturating_sub(read_to)).unwrap_or(usize::MAX);
    let mut wanted = ReadLimit::new(behind.clamp(1, PAGE)).with_bytes(FIRST_BYTES);
    if room.is_used_up() {
        wanted = LAST;
    }
    loop {
        let page = store.read_back(&log, before, wanted).await?;
        if before.is_none() {
            channel.end = page.last;
        }
        room.take(&page);
        let lowest = page.entries.last().map_or(page.first, |entry| entry.seq);
        for entry in page.entries {
            let read = Read::new(entry);
            changes.note(&read);
            channel.add(user, read, &changes);
        }
        let looked_to = lowest.saturating_sub(1);
        let is_counted = looked_to <= read_to || channel.unread.is_full();
        // There may be a message behind a row of changes.
        let has_last = channel.last.is_some() || looked_to <= channel.state.shown_from() || room.is_used_up();
        if lowest <= page.first || is_counted && has_last {
            channel.finish(looked_to, lowest <= page.first);
            break;
        }
        if room.is_used_up() {
            channel.unread = Unread::estimated(channel.end.saturating_sub(read_to));
            break;
        }
        (before, wanted) = (Some(lowest), ReadLimit::new(PAGE));
    }
    channel.settle(&changes);
    Ok((channel, Some(changes)))
}
