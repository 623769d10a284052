//! Events in a form that Python reads fast: it takes records apart field by field in Python code, but parses JSON
//! in C.

use im_sdk::{client as sdk, content::Body};

use crate::{Client, Event};

/// A batch of events, of which most are messages of plain text.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct CompactEvents {
    /// The number of events.
    pub count: u32,
    /// A JSON array with an entry for each event: an array for a message of plain text, and `null` for the next one of `others`.
    /// The array holds the message's id, sender, recipient user, channel, text, whether it is silent, local id, whether it came
    /// over QUIC, and the channel, seq and id of its position.
    pub texts: String,
    /// The other events.
    pub others: Vec<Event>,
}

#[uniffi::export]
impl Client {
    /// Takes the next events as `next_events` does.
    pub async fn next_compact_events(&self, max: u32) -> CompactEvents {
        let events = self.inner.next_events(max as usize).await;
        self.lists.apply(&events);
        let mut compact = CompactEvents { count: 0, texts: "[".to_owned(), others: Vec::new() };
        for event in events {
            compact.push(event);
        }
        compact.texts.push(']');
        compact
    }
}

impl CompactEvents {
    fn push(&mut self, event: sdk::Event) {
        if self.count > 0 {
            self.texts.push(',');
        }
        self.count += 1;
        match as_text(&event) {
            Some(text) => self.texts.push_str(&text),
            None => {
                self.texts.push_str("null");
                self.others.push(event.into());
            }
        }
    }
}

/// Returns the array of an event, if it is a message of plain text and nothing else.
fn as_text(event: &sdk::Event) -> Option<String> {
    let sdk::Event::Message(message) = event else { return None };
    let content = &message.content;
    let Body::Text(text) = &content.body else { return None };
    let is_plain = content.mentions.users.is_empty()
        && !content.mentions.everybody
        && content.quote.is_none()
        && content.thread.is_none()
        && content.amended.is_none()
        && content.unknown.is_empty();
    if !is_plain {
        return None;
    }
    let position = message.position.as_ref();
    let fields = (
        message.id.as_u64(),
        message.from.as_ref().map(|user| user.as_str()),
        message.to.as_ref().map(|user| user.as_str()),
        message.channel.as_ref().map(|channel| channel.as_str()),
        text,
        content.silent,
        message.local_id.map(sdk::LocalId::as_u64),
        message.transport == im_sdk::Transport::Quic,
        position.map(|position| position.log.as_str()),
        position.map(|position| position.seq),
        position.and_then(|position| position.id).map(|id| id.as_u64()),
    );
    serde_json::to_string(&fields).ok()
}
