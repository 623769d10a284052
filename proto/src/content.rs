//! `im.v1.Content`, written by hand because it keeps unknown fields, which generated types drop. So
//! a newer kind, and a newer field of a kind, survive being stored, forwarded and passed on by this
//! version.

mod nested;

use std::borrow::Cow;

use bytes::{Buf, BufMut};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};

use crate::pb::{
    Amended, Card, Change, Custom, File, Forwarded, Image, Location, Mentions, Notice, Quote, Text, Video,
    Voice,
};

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// The kind; `None` for an empty content, or for a newer kind, which is in `unknown`.
    pub body: Option<Body>,
    /// The mentioned users.
    pub mentions: Option<Box<Mentions>>,
    /// The quoted message.
    pub quote: Option<Box<Quote>>,
    /// The first message of the thread; 0 for none.
    pub thread: u64,
    /// A note that a change was applied where the message is stored.
    pub amended: Option<Box<Amended>>,
    /// Whether the message is excluded from unread counts.
    pub silent: bool,
    /// Unknown fields, as received. Those inside of a kind, of mentions and of a quote are in a
    /// further occurrence of the field that contains them, which readers merge with the first.
    pub unknown: Vec<u8>,
}

/// The kinds of content.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// Plain text.
    #[prost(message, tag = "1")]
    Text(Text),
    /// A picture.
    #[prost(message, boxed, tag = "2")]
    Image(Box<Image>),
    /// A file.
    #[prost(message, boxed, tag = "3")]
    File(Box<File>),
    /// A voice message.
    #[prost(message, boxed, tag = "4")]
    Voice(Box<Voice>),
    /// A video.
    #[prost(message, boxed, tag = "5")]
    Video(Box<Video>),
    /// A place on earth.
    #[prost(message, tag = "6")]
    Location(Location),
    /// A card for something with a title.
    #[prost(message, boxed, tag = "7")]
    Card(Box<Card>),
    /// Forwarded messages.
    #[prost(message, tag = "8")]
    Forwarded(Forwarded),
    /// A notice of the system.
    #[prost(message, boxed, tag = "9")]
    Notice(Box<Notice>),
    /// A change to another message.
    #[prost(message, boxed, tag = "10")]
    Change(Box<Change>),
    /// A content that the application defines.
    #[prost(message, tag = "15")]
    Custom(Custom),
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

const MENTIONS: u32 = 16;
const QUOTE: u32 = 17;
const THREAD: u32 = 18;
const AMENDED: u32 = 19;
const SILENT: u32 = 20;

impl Message for Content {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(body) = &self.body {
            body.encode(buf);
        }
        if let Some(mentions) = &self.mentions {
            encoding::message::encode(MENTIONS, mentions, buf);
        }
        if let Some(quote) = &self.quote {
            encoding::message::encode(QUOTE, quote, buf);
        }
        if self.thread != 0 {
            encoding::fixed64::encode(THREAD, &self.thread, buf);
        }
        if let Some(amended) = &self.amended {
            encoding::message::encode(AMENDED, amended, buf);
        }
        if self.silent {
            encoding::bool::encode(SILENT, &self.silent, buf);
        }
        buf.put_slice(&self.to_pass_on());
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1..=10 | 15 => {
                nested::keep(tag, wire_type, buf, &mut self.unknown);
                Body::merge(&mut self.body, tag, wire_type, buf, ctx)
            }
            MENTIONS => {
                nested::keep(tag, wire_type, buf, &mut self.unknown);
                encoding::message::merge(wire_type, self.mentions.get_or_insert_default(), buf, ctx)
            }
            QUOTE => {
                nested::keep(tag, wire_type, buf, &mut self.unknown);
                encoding::message::merge(wire_type, self.quote.get_or_insert_default(), buf, ctx)
            }
            THREAD => encoding::fixed64::merge(wire_type, &mut self.thread, buf, ctx),
            AMENDED => encoding::message::merge(wire_type, self.amended.get_or_insert_default(), buf, ctx),
            SILENT => encoding::bool::merge(wire_type, &mut self.silent, buf, ctx),
            _ => keep(&mut self.unknown, tag, wire_type, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let silent = if self.silent { encoding::bool::encoded_len(SILENT, &self.silent) } else { 0 };
        let thread = if self.thread == 0 { 0 } else { encoding::fixed64::encoded_len(THREAD, &self.thread) };
        self.body.as_ref().map_or(0, Body::encoded_len)
            + self.mentions.as_ref().map_or(0, |mentions| encoding::message::encoded_len(MENTIONS, mentions))
            + self.quote.as_ref().map_or(0, |quote| encoding::message::encoded_len(QUOTE, quote))
            + thread
            + silent
            + self.amended.as_ref().map_or(0, |amended| encoding::message::encoded_len(AMENDED, amended))
            + self.to_pass_on().len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Content {
    /// Returns the unknown fields without those inside of a part that is gone: a reader would merge
    /// them into the part that is there.
    fn to_pass_on(&self) -> Cow<'_, [u8]> {
        if self.unknown.is_empty() {
            return Cow::Borrowed(&[]);
        }
        let body = self.body.as_ref().map(Body::tag);
        nested::without(&self.unknown, |tag| match tag {
            1..=10 | 15 => Some(tag) != body,
            MENTIONS => self.mentions.is_none(),
            QUOTE => self.quote.is_none(),
            _ => false,
        })
    }

    /// Adds empty mentions if there are none, but unknown fields inside of mentions, which are written only with mentions.
    pub fn keep_unknown_mentions(&mut self) {
        let is_unknown = || nested::without(&self.unknown, |tag| tag == MENTIONS).len() < self.unknown.len();
        if self.mentions.is_none() && !self.unknown.is_empty() && is_unknown() {
            self.mentions = Some(Box::default());
        }
    }

    /// Removes the unknown fields inside of a body or a quote, which a reader dropped as invalid. Writing would drop them too, so what
    /// was read equals what is read again.
    pub fn remove_unknown(&mut self, in_body: bool, in_quote: bool) {
        let kept = nested::without(&self.unknown, |tag| match tag {
            1..=10 | 15 => in_body,
            QUOTE => in_quote,
            _ => false,
        });
        if let Cow::Owned(kept) = kept {
            self.unknown = kept;
        }
    }
}

impl Body {
    /// Returns the number of the field.
    fn tag(&self) -> u32 {
        match self {
            Self::Text(_) => 1,
            Self::Image(_) => 2,
            Self::File(_) => 3,
            Self::Voice(_) => 4,
            Self::Video(_) => 5,
            Self::Location(_) => 6,
            Self::Card(_) => 7,
            Self::Forwarded(_) => 8,
            Self::Notice(_) => 9,
            Self::Change(_) => 10,
            Self::Custom(_) => 15,
        }
    }
}

/// Copies a field unchanged. Groups, which proto3 does not have, are skipped.
fn keep(
    unknown: &mut Vec<u8>,
    tag: u32,
    wire_type: WireType,
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<(), DecodeError> {
    // The extent of the value is found by reading over it; only complete values are kept.
    let start = unknown.len();
    encoding::encode_key(tag, wire_type, unknown);
    let read = match wire_type {
        WireType::Varint => encoding::decode_varint(buf).map(|value| encoding::encode_varint(value, unknown)),
        WireType::SixtyFourBit => take::<8>(buf).map(|value| unknown.extend(value)),
        WireType::ThirtyTwoBit => take::<4>(buf).map(|value| unknown.extend(value)),
        WireType::LengthDelimited => {
            let mut value = Vec::new();
            encoding::bytes::merge(wire_type, &mut value, buf, ctx).map(|()| {
                encoding::encode_varint(value.len() as u64, unknown);
                unknown.append(&mut value);
            })
        }
        WireType::StartGroup | WireType::EndGroup => {
            unknown.truncate(start);
            return encoding::skip_field(wire_type, tag, buf, ctx);
        }
    };
    if read.is_err() {
        unknown.truncate(start);
    }
    read
}

fn take<const BYTES: usize>(buf: &mut impl Buf) -> Result<[u8; BYTES], DecodeError> {
    let mut value = [0; BYTES];
    match buf.try_copy_to_slice(&mut value) {
        Ok(()) => Ok(value),
        // The library's own error for a truncated field.
        Err(_) => encoding::decode_varint(&mut &[][..]).map(|_| value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    fn unknown_kind() -> Vec<u8> {
        // Field 11, "a poll", with four bytes; a mention; field 40, a varint; field 41, eight
        // bytes; field 42, four.
        let mut newer = vec![0x5a, 4, 1, 2, 3, 4];
        let mentions = pb::Mentions { users: vec!["bob".into()], everybody: false };
        encoding::message::encode(MENTIONS, &mentions, &mut newer);
        newer.extend([0xc0, 0x02, 0x96, 0x01]);
        newer.extend([0xc9, 0x02, 1, 2, 3, 4, 5, 6, 7, 8]);
        newer.extend([0xd5, 0x02, 1, 2, 3, 4]);
        newer
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let content = Content::decode(&unknown_kind()[..]).unwrap();
        assert_eq!(content.body, None);
        assert_eq!(content.mentions.as_ref().unwrap().users, ["bob"]);
        assert_eq!(content.unknown.len(), unknown_kind().len() - 8, "all but the mention");
        let written = content.encode_to_vec();
        assert_eq!(written.len(), content.encoded_len());
        assert_eq!(Content::decode(&written[..]).unwrap(), content);
        for field in [&[0x5a, 4, 1, 2, 3, 4][..], &[0xc0, 0x02, 0x96, 0x01], &[0xd5, 0x02, 1, 2, 3, 4]] {
            assert!(written.windows(field.len()).any(|window| window == field), "{field:?}");
        }
    }

    /// Returns a field in wire format.
    fn field(tag: u32, value: &[u8]) -> Vec<u8> {
        let mut field = Vec::new();
        encoding::bytes::encode(tag, &value.to_vec(), &mut field);
        field
    }

    #[test]
    fn fields_of_tomorrow_are_kept_inside_of_what_is_known() {
        let new = field(40, b"tomorrow");
        let media = [field(1, b"https://a.example/b"), new.clone()].concat();
        let cases = [
            (1, [field(1, b"hi"), new.clone()].concat()),
            (2, [field(1, &media), field(5, b"a caption")].concat()),
            (4, [field(1, &media), new.clone(), field(3, b"wave")].concat()),
            (7, [field(1, b"user"), field(6, &media)].concat()),
            (15, [field(1, b"order"), new.clone()].concat()),
        ];
        for (tag, kind) in cases {
            let mention = [field(1, b"bob"), new.clone()].concat();
            let came = [field(tag, &kind), field(MENTIONS, &mention)].concat();
            let mut content = Content::decode(&came[..]).unwrap();
            for _ in 0..3 {
                let passed_on = content.encode_to_vec();
                assert_eq!(passed_on.len(), content.encoded_len());
                let times = passed_on.windows(new.len()).filter(|window| *window == new).count();
                assert_eq!(times, came.windows(new.len()).filter(|window| *window == new).count(), "{tag}");
                let again = Content::decode(&passed_on[..]).unwrap();
                assert_eq!(again, content, "{tag}: it is read as it was");
                content = again;
            }
            // Replacing the kind drops what was inside of the previous one.
            content.body = Some(Body::Location(pb::Location { name: "here".into(), ..Default::default() }));
            content.mentions = None;
            let other = content.encode_to_vec();
            assert_eq!(other.len(), content.encoded_len());
            assert_eq!(Content::decode(&other[..]).unwrap().body, content.body, "{tag}");
            assert!(!other.windows(new.len()).any(|window| window == new));
        }
    }

    #[test]
    fn also_inside_of_what_is_forwarded_and_edited() {
        let newer = || Content::decode(&unknown_kind()[..]).unwrap();
        let entry = pb::ForwardedEntry { content: Some(newer()), ..Default::default() };
        let forwarded = pb::Forwarded { title: String::new(), entries: vec![entry] };
        let edit = pb::Change { what: Some(pb::change::What::Edit(newer().into())), ..Default::default() };
        for body in [Body::Forwarded(forwarded), Body::Change(edit.into())] {
            let content = Content::from(body);
            let bytes = content.encode_to_vec();
            assert_eq!(Content::decode(&bytes[..]).unwrap(), content);
            assert!(bytes.windows(6).any(|window| window == [0x5a, 4, 1, 2, 3, 4]));
        }
    }

    #[test]
    fn what_ends_too_early_is_an_error() {
        let whole = unknown_kind();
        let ends = [6, 6 + 8, 6 + 8 + 4, 6 + 8 + 4 + 10, whole.len()];
        for end in 1..whole.len() {
            let read = Content::decode(&whole[..end]);
            assert_eq!(read.is_ok(), ends.contains(&end), "{end}: {read:?}");
        }
        // A group with a field inside is skipped; one without an end is an error.
        assert_eq!(Content::decode(&[0xa3, 0x02, 0x08, 7, 0xa4, 0x02][..]), Ok(Content::default()));
        assert!(Content::decode(&[0xa3, 0x02, 0x08, 7][..]).is_err());
    }
}
