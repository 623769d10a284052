//! Names of content kinds.

use std::fmt;

use crate::proto::{limits, pb};

/// A kind of content.
///
/// [`Content::kind`](crate::content::Content::kind) returns it, and filters name some. A kind is identified
/// by the number of the body's field in an encoded content, so that kinds that this version cannot
/// read are distinguished as well.
///
/// Its text is the name, `custom:` and the application's name, or `#` and the number:
///
/// ```
/// use im_sdk::Kind;
/// assert_eq!(Kind::Image.to_string(), "image");
/// assert_eq!(Kind::custom("order.paid").to_string(), "custom:order.paid");
/// assert_eq!(Kind::Other(12).to_string(), "#12");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Plain text.
    Text,
    /// A picture.
    Image,
    /// A file.
    File,
    /// A voice message.
    Voice,
    /// A video.
    Video,
    /// A location.
    Location,
    /// A card.
    Card,
    /// A bundle of forwarded messages.
    Forwarded,
    /// A notice of the system.
    Notice,
    /// A change to another message.
    Change,
    /// A kind that the application defines, by its name. See [`Kind::custom`].
    Custom(String),
    /// The number of a field that this version has no name for.
    Other(u32),
}

/// The number of `Content.custom`.
const CUSTOM: u32 = 15;

/// The maximum length of an application's kind name that counts, in bytes.
const MAX_CUSTOM_BYTES: usize = limits::MAX_CUSTOM_KIND_BYTES;

impl Kind {
    /// Creates a kind that the application defines. Its name counts without control characters and
    /// up to 128 bytes, so that it fits into any database.
    pub fn custom(name: &str) -> Self {
        let mut name: String = name.chars().filter(|char| !char.is_control()).collect();
        name.truncate(name.floor_char_boundary(MAX_CUSTOM_BYTES));
        Self::Custom(name)
    }

    /// Returns the number of the body's field in `Content`.
    pub fn number(&self) -> u32 {
        match self {
            Self::Text => 1,
            Self::Image => 2,
            Self::File => 3,
            Self::Voice => 4,
            Self::Video => 5,
            Self::Location => 6,
            Self::Card => 7,
            Self::Forwarded => 8,
            Self::Notice => 9,
            Self::Change => 10,
            Self::Custom(_) => CUSTOM,
            Self::Other(number) => *number,
        }
    }

    /// Returns the kind with this number; the name counts only for an application's kind.
    pub fn from_number(number: u32, custom: &str) -> Self {
        match number {
            1 => Self::Text,
            2 => Self::Image,
            3 => Self::File,
            4 => Self::Voice,
            5 => Self::Video,
            6 => Self::Location,
            7 => Self::Card,
            8 => Self::Forwarded,
            9 => Self::Notice,
            10 => Self::Change,
            CUSTOM => Self::custom(custom),
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::File => "file",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::Location => "location",
            Self::Card => "card",
            Self::Forwarded => "forwarded",
            Self::Notice => "notice",
            Self::Change => "change",
            Self::Custom(name) => return write!(formatter, "custom:{name}"),
            Self::Other(number) => return write!(formatter, "#{number}"),
        };
        formatter.write_str(name)
    }
}

impl From<&pb::ContentKind> for Kind {
    fn from(kind: &pb::ContentKind) -> Self {
        Self::from_number(kind.number, &kind.custom)
    }
}

impl From<&Kind> for pb::ContentKind {
    fn from(kind: &Kind) -> Self {
        let custom = if let Kind::Custom(name) = kind { name.clone() } else { String::new() };
        Self { number: kind.number(), custom }
    }
}

/// Inspection of encoded messages.
mod encoded {
    use bytes::{Buf as _, Bytes};
    use prost::{
        DecodeError, Message as _,
        encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
    };

    use super::{CUSTOM, Kind};
    use crate::proto::pb;

    /// The field of `Message` that holds the content, and the fields of `Content` that are one
    /// body.
    #[cfg(feature = "backend")]
    const CONTENT: u32 = 4;
    const BODIES: std::ops::RangeInclusive<u32> = 1..=15;

    impl Kind {
        /// Returns the kind of an encoded `im.v1.Content`, or `None` if it has no body or is no
        /// content.
        pub(crate) fn of_content(content: Bytes) -> Option<Self> {
            let (number, body) = last(content, |number| BODIES.contains(&number)).ok()??;
            let custom = match number {
                CUSTOM => pb::Custom::decode(body).ok()?.kind,
                _ => String::new(),
            };
            Some(Self::from_number(number, &custom))
        }

        /// Returns the kind of an encoded `im.v1.Message`.
        #[cfg(feature = "backend")]
        pub(crate) fn of_message(message: &Bytes) -> Option<Self> {
            Self::of_content(content_of(message)?)
        }
    }

    /// Returns the encoded content of an encoded message.
    #[cfg(feature = "backend")]
    pub(crate) fn content_of(message: &Bytes) -> Option<Bytes> {
        Some(last(message.clone(), |number| number == CONTENT).ok()??.1)
    }

    /// Returns the last of the wanted fields that hold bytes: the last one counts.
    fn last(mut rest: Bytes, wanted: impl Fn(u32) -> bool) -> Result<Option<(u32, Bytes)>, DecodeError> {
        let mut found = None;
        while rest.has_remaining() {
            let (number, wire_type) = decode_key(&mut rest)?;
            if wire_type != WireType::LengthDelimited || !wanted(number) {
                skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
            if length > rest.len() {
                return Ok(None);
            }
            found = Some((number, rest.split_to(length)));
        }
        Ok(found)
    }
}

#[cfg(feature = "backend")]
pub(crate) use encoded::content_of;

#[cfg(all(test, feature = "backend"))]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;
    use crate::content::Content;

    fn encoded(content: Content) -> Bytes {
        let message = pb::Message {
            id: 7,
            from: "a".into(),
            to: "b".into(),
            content: Some(content.into()),
            ..Default::default()
        };
        message.encode_to_vec().into()
    }

    #[test]
    fn kinds_are_told_by_the_number_of_the_field() {
        assert_eq!(Kind::of_message(&encoded(Content::text(""))), Some(Kind::Text));
        let paid = encoded(Content::custom("order.paid", "x"));
        assert_eq!(Kind::of_message(&paid), Some(Kind::custom("order.paid")));
        // Content { image: { 1: "x" } }, Content { 12: "" } and fields beside the body.
        for (content, kind) in [
            (&b"\x12\x03\x0a\x01x"[..], Some(Kind::Image)),
            (b"\x62\x00", Some(Kind::Other(12))),
            (b"\x82\x01\x00\x62\x00\x8a\x01\x00", Some(Kind::Other(12))),
            (b"\x82\x01\x00", None),
            (b"\x62\x09", None),
            (b"\x62", None),
            (b"", None),
        ] {
            let mut message = vec![0x22, content.len() as u8];
            message.extend(content);
            assert_eq!(Kind::of_message(&message.into()), kind, "{content:?}");
        }
        assert_eq!(Kind::of_message(&Bytes::new()), None);
    }

    #[test]
    fn the_last_body_counts_as_it_does_for_devices() {
        let mut message = encoded(Content::text("hi")).to_vec();
        message.extend(b"\x22\x02\x12\x00");
        assert_eq!(Kind::of_message(&message.into()), Some(Kind::Image));
    }

    #[test]
    fn numbers_and_names_read_back() {
        for number in 0..20 {
            let kind = Kind::from_number(number, "x");
            assert_eq!(kind.number(), number);
            assert_eq!(Kind::from(&pb::ContentKind::from(&kind)), kind);
        }
        assert_eq!(Kind::custom("a\0b\n").to_string(), "custom:ab");
        assert_eq!(Kind::custom(&"é".repeat(100)), Kind::Custom("é".repeat(64)));
    }
}
