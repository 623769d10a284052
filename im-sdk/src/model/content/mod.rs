//! Contents of messages.
//!
//! A [`Content`] has a [`Body`], which is one of the kinds, and beside it what every kind may have:
//! the users that it [mentions](Mentions), the message that it [quotes](Quote), and the thread that
//! it belongs to.
//!
//! ```
//! use im_sdk::{content::{Body, Content, Image, Media}, id::UserId};
//!
//! let hi = Content::text("hi, @bob").mention(UserId::parse("bob")?);
//! assert_eq!(hi.as_text(), Some("hi, @bob"));
//!
//! let media = Media::new("https://files.example.com/7").mime_type("image/jpeg").bytes(48_211);
//! let picture = Content::from(Image::new(media).pixels(1920, 1080).caption("the harbour"));
//! match &picture.body {
//!     Body::Image(image) => assert_eq!(image.width, 1920),
//!     _ => unreachable!(),
//! }
//! # Ok::<(), im_sdk::id::InvalidId>(())
//! ```
//!
//! # Kinds
//!
//! | kind | for |
//! | --- | --- |
//! | [`Body::Text`] | what people type |
//! | [`Image`], [`File`], [`Voice`], [`Video`] | [`Media`] stored elsewhere: messages reference them, they do not carry them |
//! | [`Location`], [`Card`] | a place on earth; a user, a group, a link |
//! | [`Forwarded`] | messages from other conversations, forwarded together |
//! | [`Notice`] | notices of the system; backends send them, those of devices are refused |
//! | [`Change`] | not shown by itself: it changes an earlier message, see [`timeline`](crate::timeline) |
//! | [`Custom`] | anything that the application defines |
//!
//! # Kinds of newer versions
//!
//! A device that does not know a kind sees [`Body::Unknown`] and shows a placeholder. Nothing is
//! lost: the bytes are in [`Content::unknown`] and go wherever the content goes, into a store, into
//! a [`Forwarded`] bundle, back to a server, so that a newer version reads the message.
//!
//! # Limits
//!
//! A message fits into one frame, 64 KiB. The other limits are in [`limits`](crate::limits),
//! such as [`MAX_MENTIONS`](crate::limits::MAX_MENTIONS). Backends check all of them before
//! a message is sent.

mod change;
mod forwarded;
mod kinds;
mod media;
mod reference;
mod texts;
mod wire;

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message as _;

pub(crate) use self::change::reaction_key;
#[cfg(feature = "client")]
pub(crate) use self::wire::edit;
pub(crate) use self::wire::is_empty;
pub use self::{
    change::{Amended, Change, ChangeKind},
    forwarded::{ForwardSource, Forwarded, ForwardedEntry},
    kinds::{Card, Custom, Location, Notice},
    media::{File, Image, Media, Video, Voice},
    reference::{Mentions, Quote},
};
use crate::{
    Kind,
    id::{MessageId, UserId},
    proto::pb,
};

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Content {
    /// The body: one of the kinds.
    pub body: Body,
    /// The mentioned users.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Mentions::is_empty"))]
    pub mentions: Mentions,
    /// The quoted message.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub quote: Option<Box<Quote>>,
    /// The first message of the thread that this message belongs to.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub thread: Option<MessageId>,
    /// Whether the message is excluded from unread counts, as for bot updates. A [`Notice`] never
    /// counts.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub silent: bool,
    /// A note that an edit or a recall was applied where the message is stored; this is the content
    /// since then.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub amended: Option<Box<Amended>>,
    /// Fields of a newer version, encoded as received. Keep them with the rest.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::model::base64_bytes", skip_serializing_if = "bytes::Bytes::is_empty")
    )]
    pub unknown: Bytes,
}

/// The kinds of content. All but texts are boxed: otherwise every message would be as large as the
/// largest kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Body {
    /// Plain text.
    Text(String),
    /// A picture.
    Image(Box<Image>),
    /// A file.
    File(Box<File>),
    /// A voice message.
    Voice(Box<Voice>),
    /// A video.
    Video(Box<Video>),
    /// A place on earth.
    Location(Box<Location>),
    /// A card for something with a title.
    Card(Box<Card>),
    /// Forwarded messages.
    Forwarded(Box<Forwarded>),
    /// A notice of the system.
    Notice(Box<Notice>),
    /// A change to another message.
    Change(Box<Change>),
    /// A content that the application defines.
    Custom(Box<Custom>),
    /// A kind that this version does not know, kept in [`Content::unknown`]: show a placeholder. If
    /// nothing is there either, the content is empty.
    #[default]
    Unknown,
}

impl Content {
    /// Creates a content of any kind.
    pub fn new(body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Creates a plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Body::Text(text.into()))
    }

    /// Creates a content that the application defines.
    pub fn custom(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::new(Custom { kind: kind.into(), data: data.into() })
    }

    /// Mentions a user.
    #[must_use]
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.users.push(user);
        self
    }

    /// Mentions everybody in the conversation.
    #[must_use]
    pub fn mention_everybody(mut self) -> Self {
        self.mentions.everybody = true;
        self
    }

    /// Quotes a message.
    #[must_use]
    pub fn quote(mut self, quote: Quote) -> Self {
        self.quote = Some(Box::new(quote));
        self
    }

    /// Excludes the message from unread counts.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Puts the message into the thread that begins with `message`.
    #[must_use]
    pub fn in_thread(mut self, message: MessageId) -> Self {
        self.thread = Some(message);
        self
    }

    /// Returns the text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the change, if it is one.
    pub fn as_change(&self) -> Option<&Change> {
        match &self.body {
            Body::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Returns the kind, for comparisons and filters. A kind that this version does not know is
    /// returned by its number; `None` means that the content is empty.
    pub fn kind(&self) -> Option<Kind> {
        Some(match &self.body {
            Body::Text(_) => Kind::Text,
            Body::Image(_) => Kind::Image,
            Body::File(_) => Kind::File,
            Body::Voice(_) => Kind::Voice,
            Body::Video(_) => Kind::Video,
            Body::Location(_) => Kind::Location,
            Body::Card(_) => Kind::Card,
            Body::Forwarded(_) => Kind::Forwarded,
            Body::Notice(_) => Kind::Notice,
            Body::Change(_) => Kind::Change,
            Body::Custom(custom) => Kind::custom(&custom.kind),
            Body::Unknown => return Kind::of_content(self.unknown.clone()),
        })
    }

    /// Returns one line of text, for previews: a text, a caption, a title. Empty if there is none.
    pub fn summary(&self) -> &str {
        match &self.body {
            Body::Text(text) => text,
            Body::Image(image) => &image.caption,
            Body::File(file) if file.caption.is_empty() => &file.media.name,
            Body::File(file) => &file.caption,
            Body::Video(video) => &video.caption,
            Body::Location(location) => &location.name,
            Body::Card(card) => &card.title,
            Body::Forwarded(forwarded) => &forwarded.title,
            Body::Notice(notice) => &notice.text,
            Body::Voice(_) | Body::Change(_) | Body::Custom(_) | Body::Unknown => "",
        }
    }

    /// Encodes the content for the wire and for storage, including fields that this version does
    /// not know.
    pub fn encode(&self) -> Vec<u8> {
        pb::Content::from(self.clone()).encode_to_vec()
    }

    /// Decodes the result of [`Content::encode`], of this version or another one.
    ///
    /// # Errors
    /// [`NotAContent`]: the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAContent> {
        pb::Content::decode(bytes).map(Self::from).map_err(|error| NotAContent(error.to_string()))
    }

    /// Returns whether the content is empty, without even fields that this version does not know.
    /// An empty text is empty too, unless it mentions somebody or quotes a message.
    pub fn is_empty(&self) -> bool {
        let beside = || !self.mentions.is_empty() || self.quote.is_some();
        match &self.body {
            _ if !self.unknown.is_empty() => false,
            Body::Text(text) => text.is_empty() && !beside(),
            body => *body == Body::Unknown,
        }
    }
}

/// The bytes are no [`Content`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no content of a message: {0}")]
pub struct NotAContent(String);

impl<B: Into<Body>> From<B> for Content {
    fn from(body: B) -> Self {
        Self::new(body)
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Implements conversions from the kinds into `Body`.
macro_rules! body_from {
    ($($kind:ident)*) => {
        $(impl From<$kind> for Body {
            fn from(value: $kind) -> Self {
                Self::$kind(value.into())
            }
        })*
    };
}

body_from!(Image File Voice Video Location Card Forwarded Notice Change Custom);
