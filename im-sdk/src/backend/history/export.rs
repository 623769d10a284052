//! Exports a conversation as text: one JSON object a line.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{Stream, stream};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{HistoryError, HistoryReader, Shows};
use crate::{
    Conversation, HistoryQuery, HistoryRange, Kind,
    backend::message_store::RawEntry,
    cluster::ReadLimit,
    content::{Body, Content},
    id::{MessageId, UserId},
    kind::content_of,
    proto::pb,
};

/// The limit of one read, which is all that is in memory at a time.
const PAGE: ReadLimit = ReadLimit::new(256);

/// Reads a conversation as lines. See [`Im::export`](crate::backend::Im::export).
pub(in crate::backend) fn export(
    reader: Arc<HistoryReader>,
    user: UserId,
    conversation: Conversation,
) -> impl Stream<Item = Result<String, HistoryError>> + Send + use<> {
    let start = Place {
        reader,
        user,
        conversation,
        next: Some(HistoryRange::After(0)),
        lines: Vec::new().into_iter(),
    };
    stream::try_unfold(start, Place::line)
}

/// The progress of an export.
struct Place {
    reader: Arc<HistoryReader>,
    user: UserId,
    conversation: Conversation,
    next: Option<HistoryRange>,
    lines: std::vec::IntoIter<RawEntry>,
}

impl Place {
    async fn line(mut self) -> Result<Option<(String, Self)>, HistoryError> {
        loop {
            if let Some(entry) = self.lines.next() {
                return Ok(Some((line(&entry, &self.conversation), self)));
            }
            let Some(range) = self.next else { return Ok(None) };
            let query = HistoryQuery::from(range);
            let read =
                self.reader.read_conversation(&self.user, &self.conversation, &query, PAGE, Shows::Messages);
            let page = read.await?;
            (self.next, self.lines) = (page.next, page.entries.into_iter());
        }
    }
}

fn line(entry: &RawEntry, conversation: &Conversation) -> String {
    // An entry that cannot be decoded has no content.
    let message = pb::Message::decode(entry.message.clone()).unwrap_or_default();
    let mut line = Map::new();
    let mut set = |name: &str, value: Value| _ = line.insert(name.to_owned(), value);
    set("time", time(entry.message_id).into());
    set("id", entry.message_id.to_string().into());
    set("seq", entry.seq.into());
    for (name, user) in [("from", &message.from), ("to", &message.to)] {
        if !user.is_empty() {
            set(name, user.as_str().into());
        }
    }
    if let Conversation::Channel(channel) = conversation {
        set("channel", channel.as_str().into());
    }
    if let Some(kind) = Kind::of_message(&entry.message) {
        set("kind", kind.to_string().into());
        set("content", content(message.content.into(), entry));
    }
    format!("{}\n", Value::Object(line))
}

fn content(content: Content, entry: &RawEntry) -> Value {
    match content.body {
        Body::Text(text) => json!({ "text": text }),
        Body::Custom(custom) => json!({ "data": STANDARD.encode(custom.data) }),
        _ => json!({ "encoded": STANDARD.encode(content_of(&entry.message).unwrap_or_default()) }),
    }
}

/// Formats the time of sending as RFC 3339 in UTC.
fn time(id: MessageId) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(id.unix_ms());
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn exported(content: &[u8]) -> Value {
        let id = MessageId::first_at(1_767_225_600_007);
        let mut message =
            pb::Message { id: id.as_u64(), from: "alice".into(), ..Default::default() }.encode_to_vec();
        message.extend([0x22, content.len() as u8]);
        message.extend(content);
        let entry = RawEntry { seq: 7, message_id: id, message: message.into() };
        let line = line(&entry, &Conversation::Channel("team".parse().unwrap()));
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn contents_are_readable_or_whole() {
        let encoded = |content: Content| pb::Content::from(content).encode_to_vec();
        let text = exported(&encoded(Content::text("two\nlines")));
        assert_eq!(
            text,
            json!({
                "time": "2026-01-01T00:00:00.007Z", "id": MessageId::first_at(1_767_225_600_007).to_string(),
                "seq": 7, "from": "alice", "channel": "team", "kind": "text", "content": { "text": "two\nlines" },
            })
        );
        let custom = exported(&encoded(Content::custom("order.paid", Bytes::from_static(b"\x00\xff"))));
        assert_eq!(
            (&custom["kind"], &custom["content"]),
            (&json!("custom:order.paid"), &json!({ "data": "AP8=" }))
        );
        let later = exported(b"\x62\x01\x00");
        assert_eq!((&later["kind"], &later["content"]), (&json!("#12"), &json!({ "encoded": "YgEA" })));
        assert_eq!(exported(b"").get("content"), None);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_ms, expected) in [
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (1_835_481_599_999, "2028-02-29T23:59:59.999Z"),
            (1_835_481_600_000, "2028-03-01T00:00:00.000Z"),
            (1_767_184_496_789, "2025-12-31T12:34:56.789Z"),
            (3_913_056_000_123, "2093-12-31T00:00:00.123Z"),
        ] {
            assert_eq!(time(MessageId::first_at(unix_ms)), expected);
        }
    }
}
