//! Encoding of requests for history and search.

use crate::{
    Conversation, HistoryQuery, HistoryRange, Search,
    history::HistoryStart,
    proto::pb::{self, request::Question},
};

/// Returns the range of the next page, in the requested direction. `next` is 0 from an older backend, which does not report
/// it.
pub(in crate::client::core) fn next(
    asked: &pb::HistoryRequest,
    history: &pb::History,
) -> Option<HistoryRange> {
    if !history.more {
        return None;
    }
    let is_forward =
        asked.before == 0 && asked.before_id == 0 && (asked.after.is_some() || asked.after_id != 0);
    let edge = if is_forward { history.entries.last() } else { history.entries.first() };
    let seq = if history.next == 0 { edge?.seq } else { history.next };
    Some(if is_forward { HistoryRange::After(seq) } else { HistoryRange::Before(seq) })
}

/// Encodes a request for history.
pub(in crate::client::core) fn history(
    conversation: Conversation,
    query: HistoryQuery,
    limit: u32,
    messages: bool,
) -> Question {
    use pb::history_request::Conversation as Asked;
    let conversation = match conversation {
        Conversation::User(user) => Asked::User(user.to_string()),
        Conversation::Channel(channel) => Asked::Channel(channel.to_string()),
        Conversation::Inbox => Asked::Inbox(true),
    };
    let (kinds, since_ms, until_ms) = query.filter.encode();
    let conversation = Some(conversation);
    let mut asked =
        pb::HistoryRequest { conversation, limit, since_ms, until_ms, kinds, messages, ..Default::default() };
    match query.start {
        HistoryStart::Range(HistoryRange::Newest) => {}
        // There is nothing before the first entry, and 0 would mean the newest.
        HistoryStart::Range(HistoryRange::Before(seq)) => asked.before = seq.max(1),
        HistoryStart::Range(HistoryRange::After(seq)) => asked.after = Some(seq),
        HistoryStart::BeforeMessage(id) => asked.before_id = id.as_u64(),
        HistoryStart::AfterMessage(id) => asked.after_id = id.as_u64(),
    }
    Question::History(asked)
}

/// Encodes a search.
pub(in crate::client::core) fn search(search: Search, limit: u32) -> Question {
    use pb::search_request::Conversation as Asked;
    let conversation = search.conversation.map(|conversation| match conversation {
        Conversation::User(user) => Asked::User(user.to_string()),
        Conversation::Channel(channel) => Asked::Channel(channel.to_string()),
        Conversation::Inbox => Asked::Inbox(true),
    });
    let before = search.before.map(|place| pb::Cursor {
        channel: place.channel.map(|channel| channel.to_string()).unwrap_or_default(),
        seq: 0,
        id: place.message_id.as_u64(),
    });
    let (kinds, since_ms, until_ms) = search.filter.encode();
    Question::Search(pb::SearchRequest {
        text: search.text,
        conversation,
        kinds,
        from: search.from.map(|user| user.to_string()).unwrap_or_default(),
        since_ms,
        until_ms,
        before,
        limit,
    })
}
