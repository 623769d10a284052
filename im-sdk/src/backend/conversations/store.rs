//! Reads messages that have left the logs from the message store.

use super::{ConversationError, assemble::RawConversation, changes::Changes, entry::Read, marks::log_of};
use crate::{
    HistoryRange, Recipient,
    backend::{
        history::HistoryError,
        message_store::{MessageStore, StoreQuery},
    },
    id::UserId,
};

/// The number of messages in one read. The largest of these take some megabytes.
const PAGE: usize = 64;

/// The bytes of messages that are scanned for one page of the list.
pub(super) const MAX_COUNTED_BYTES: usize = 8 * 1024 * 1024;

/// Continues to count in the message store, as long as there is room, in bytes.
pub(super) async fn count_in_store(
    store: Option<&dyn MessageStore>,
    user: &UserId,
    listed: &mut RawConversation,
    changes: &mut Changes,
    room: &mut usize,
) -> Result<(), ConversationError> {
    let Some(store) = store else { return Ok(()) };
    if *room == 0 {
        return Ok(());
    }
    listed.unread.more = false;
    let mut before = listed.looked_to.saturating_add(1);
    loop {
        if *room == 0 {
            listed.unread.more = true;
            break;
        }
        let range = HistoryRange::Before(before);
        let page = read_store(store, user, &listed.state.conversation, range, PAGE).await?;
        let (Some(lowest), count) = (page.last().map(|read| read.entry.seq), page.len()) else { break };
        for read in page {
            *room = room.saturating_sub(read.entry.message.len());
            changes.note(&read);
            listed.count(user, &read, changes);
        }
        if lowest <= listed.state.read_to() || count < PAGE || listed.unread.is_full() {
            break;
        }
        before = lowest;
    }
    listed.settle(changes);
    Ok(())
}

/// Reads entries of the message store, newest first.
pub(super) async fn read_store(
    store: &dyn MessageStore,
    user: &UserId,
    conversation: &Recipient,
    range: HistoryRange,
    limit: usize,
) -> Result<Vec<Read>, ConversationError> {
    let query = StoreQuery::new(range, limit).with_peer(conversation.as_user().cloned());
    let page = store.read(&log_of(user, conversation), &query).await.map_err(HistoryError::from)?;
    Ok(page.entries.into_iter().rev().map(Read::new).collect())
}
