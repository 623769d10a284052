//! Serde support for bytes as base64 text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    STANDARD.decode(&*text).map(Bytes::from).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use crate::{
        Conversation, HistoryRange, Recipient,
        content::{Change, Content, Image, Media},
        id::{MessageId, UserId},
    };

    #[test]
    fn contents_and_places_are_read_as_they_were_written() {
        let id = MessageId::from_u64(253_077_862_244_079_616).unwrap();
        let alice = UserId::parse("alice").unwrap();
        let hi = Content::text("hi").mention(alice.clone()).in_thread(id);
        let text = serde_json::to_string(&hi).unwrap();
        assert_eq!(
            text,
            r#"{"body":{"text":"hi"},"mentions":{"users":["alice"],"everybody":false},"thread":"253077862244079616"}"#
        );
        let contents: [Content; 5] = [
            hi,
            Content::custom("order.paid", &b"\x00\xff"[..]),
            Image::new(Media::new("https://x.example/7").sha256([7; 32])).into(),
            Change::edit(id, "hello").into(),
            Content::default(),
        ];
        for content in contents {
            let text = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), content, "{text}");
        }
        for range in [HistoryRange::Newest, HistoryRange::Before(7), HistoryRange::After(0)] {
            let text = serde_json::to_string(&range).unwrap();
            assert_eq!(serde_json::from_str::<HistoryRange>(&text).unwrap(), range, "{text}");
        }
        assert_eq!(serde_json::to_string(&HistoryRange::Before(7)).unwrap(), r#"{"before":7}"#);
        let with = Recipient::from(alice.clone());
        assert_eq!(serde_json::to_string(&with).unwrap(), r#"{"user":"alice"}"#);
        let text = serde_json::to_string(&Conversation::User(alice.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Conversation>(&text).unwrap(), Conversation::User(alice));
    }
}
