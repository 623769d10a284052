//! Parses requests of devices.

use crate::{
    Conversation, Filter, HistoryQuery, HistoryRange, Search, SearchPlace,
    history::HistoryStart,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::{
        limits::{MAX_KINDS, MAX_PAGE, USUAL_PAGE},
        pb,
    },
};

pub(super) fn conversation(asked: &pb::HistoryRequest) -> Result<Conversation, String> {
    use pb::history_request::Conversation as Asked;
    match &asked.conversation {
        Some(Asked::User(name)) => user(name).map(Conversation::User),
        Some(Asked::Channel(name)) => channel(name).map(Conversation::Channel),
        Some(Asked::Inbox(_)) => Ok(Conversation::Inbox),
        None => Err("the conversation is missing".into()),
    }
}

pub(super) fn query(asked: &pb::HistoryRequest) -> Result<HistoryQuery, String> {
    let filter = filter(&asked.kinds, asked.since_ms, asked.until_ms)?;
    Ok(HistoryQuery { start: start(asked)?, filter })
}

fn start(asked: &pb::HistoryRequest) -> Result<HistoryStart, String> {
    Ok(match (asked.before, asked.before_id, asked.after, asked.after_id) {
        (0, 0, Some(after), _) => HistoryStart::Range(HistoryRange::After(after)),
        (0, 0, None, 0) => HistoryStart::Range(HistoryRange::Newest),
        (0, 0, None, id) => HistoryStart::AfterMessage(message(id)?),
        (0, id, _, _) => HistoryStart::BeforeMessage(message(id)?),
        (before, _, _, _) => HistoryStart::Range(HistoryRange::Before(before)),
    })
}

/// Returns `true` if the entries nearest to the start of the request come first in the order of the
/// log.
pub(super) fn is_forward(asked: &pb::HistoryRequest) -> bool {
    asked.before == 0 && asked.before_id == 0 && (asked.after.is_some() || asked.after_id != 0)
}

pub(super) fn search(asked: &pb::SearchRequest) -> Result<Search, String> {
    use pb::search_request::Conversation as Asked;
    let conversation = match &asked.conversation {
        Some(Asked::User(name)) => Some(Conversation::User(user(name)?)),
        Some(Asked::Channel(name)) => Some(Conversation::Channel(channel(name)?)),
        Some(Asked::Inbox(_)) => Some(Conversation::Inbox),
        None => None,
    };
    let from = if asked.from.is_empty() { None } else { Some(user(&asked.from)?) };
    Ok(Search {
        text: asked.text.clone(),
        conversation,
        filter: filter(&asked.kinds, asked.since_ms, asked.until_ms)?,
        from,
        before: asked.before.as_ref().map(place).transpose()?,
    })
}

pub(super) fn limit(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) => USUAL_PAGE,
        Ok(asked) => asked.min(MAX_PAGE),
        Err(_) => MAX_PAGE,
    }
}

fn place(cursor: &pb::Cursor) -> Result<SearchPlace, String> {
    let channel = if cursor.channel.is_empty() { None } else { Some(channel(&cursor.channel)?) };
    Ok(SearchPlace { channel, message_id: message(cursor.id)? })
}

fn filter(kinds: &[pb::ContentKind], since_ms: u64, until_ms: u64) -> Result<Filter, String> {
    if kinds.len() > MAX_KINDS {
        return Err(format!("{} kinds are asked for, of at most {MAX_KINDS}", kinds.len()));
    }
    Ok(Filter::decode(kinds, since_ms, until_ms))
}

fn message(id: u64) -> Result<MessageId, String> {
    MessageId::from_u64(id).ok_or_else(|| format!("{id} is no message id"))
}

fn user(name: &str) -> Result<UserId, String> {
    UserId::parse(name).map_err(|error: InvalidId| error.to_string())
}

fn channel(name: &str) -> Result<ChannelId, String> {
    ChannelId::parse(name).map_err(|error: InvalidId| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_the_protocol_says() {
        let asked = |before, before_id, after, after_id| {
            let asked = pb::HistoryRequest { before, before_id, after, after_id, ..Default::default() };
            (query(&asked).unwrap().start, is_forward(&asked))
        };
        let range = |range, forward| (HistoryStart::Range(range), forward);
        let id = |id| MessageId::from_u64(id).unwrap();
        assert_eq!(asked(0, 0, None, 0), range(HistoryRange::Newest, false));
        assert_eq!(asked(7, 0, None, 0), range(HistoryRange::Before(7), false));
        assert_eq!(asked(7, 0, Some(3), 0), range(HistoryRange::Before(7), false));
        assert_eq!(asked(0, 0, Some(0), 0), range(HistoryRange::After(0), true));
        assert_eq!(asked(0, 9, Some(3), 0), (HistoryStart::BeforeMessage(id(9)), false));
        assert_eq!(asked(0, 0, None, 9), (HistoryStart::AfterMessage(id(9)), true));
        let wrong = pb::HistoryRequest { before_id: u64::MAX, ..Default::default() };
        assert!(query(&wrong).is_err());
        assert_eq!((limit(0), limit(7), limit(u32::MAX)), (USUAL_PAGE, 7, MAX_PAGE));
    }

    #[test]
    fn too_many_kinds_are_refused() {
        let kinds = vec![pb::ContentKind::default(); MAX_KINDS + 1];
        assert!(query(&pb::HistoryRequest { kinds: kinds.clone(), ..Default::default() }).is_err());
        assert!(search(&pb::SearchRequest { kinds, ..Default::default() }).is_err());
    }
}
