//! What a message carries, for back ends and devices alike.
//!
//! A [`Content`] has a [`Body`], which is one of the kinds, and beside it what every kind may have: whom it
//! [mentions](Mentions), the message that it [answers](Quote), and the thread that it belongs to.
//!
//! ```
//! use im_sdk::{Content, content::{Body, Image, Media}, id::UserId};
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
//! | [`Image`], [`File`], [`Voice`], [`Video`] | [`Media`] that lie elsewhere: messages reference them, they do not carry them |
//! | [`Location`], [`Card`] | a place on earth; a user, a group, a link |
//! | [`Forwarded`] | messages from elsewhere, passed on together |
//! | [`Notice`] | what the system says; back ends send it, devices are refused |
//! | [`Change`] | not shown by itself: it changes an earlier message, see [`timeline`](crate::timeline) |
//! | [`Custom`] | whatever the application defines |
//!
//! # Kinds of newer versions
//!
//! A device that does not know a kind sees [`Body::Unknown`] and shows a placeholder. Nothing is lost: the bytes are in
//! [`Content::unknown`], and wherever the content goes from there, into a store, into a [`Forwarded`] bundle, back to a
//! server, they go with it, so that a newer version reads the message.
//!
//! # Limits
//!
//! A message fits into one frame, 64 KiB. The other limits are in [`limits`](crate::proto::limits), such as
//! [`MAX_MENTIONS`](crate::proto::limits::MAX_MENTIONS). Back ends check all of them before a message is sent.

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

/// What a message carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Content {
    /// What it is.
    pub body: Body,
    /// Whom it calls by name.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Mentions::is_empty"))]
    pub mentions: Mentions,
    /// The message that it answers.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub quote: Option<Box<Quote>>,
    /// The message that the thread hangs on which this one belongs to.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub thread: Option<MessageId>,
    /// It does not count as unread: who moved in, what a bot keeps up to date. A [`Notice`] never does.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub silent: bool,
    /// An edit or a recall was carried out where the message is kept: this is what it says since then.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub amended: Option<Box<Amended>>,
    /// What a newer version put there and this one does not know, encoded as it came. Keep it with the rest.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::base64_bytes", skip_serializing_if = "bytes::Bytes::is_empty")
    )]
    pub unknown: Bytes,
}

/// The kinds. All but texts are boxed: a message is as large as its largest kind otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Body {
    /// Plain text.
    Text(String),
    /// A picture.
    Image(Box<Image>),
    /// Any file.
    File(Box<File>),
    /// Recorded speech.
    Voice(Box<Voice>),
    /// A moving picture.
    Video(Box<Video>),
    /// A place on earth.
    Location(Box<Location>),
    /// Something with a title.
    Card(Box<Card>),
    /// Messages from elsewhere.
    Forwarded(Box<Forwarded>),
    /// What the system says.
    Notice(Box<Notice>),
    /// Changes another message.
    Change(Box<Change>),
    /// Whatever the application defines.
    Custom(Box<Custom>),
    /// A kind that this version does not know, which is in [`Content::unknown`]: show a placeholder. Without anything
    /// there: nothing.
    #[default]
    Unknown,
}

impl Content {
    /// Any kind.
    pub fn new(body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Body::Text(text.into()))
    }

    /// Whatever the application defines.
    pub fn custom(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::new(Custom { kind: kind.into(), data: data.into() })
    }

    /// Calls a user by name.
    #[must_use]
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.users.push(user);
        self
    }

    /// Calls everybody in the conversation.
    #[must_use]
    pub fn mention_everybody(mut self) -> Self {
        self.mentions.everybody = true;
        self
    }

    /// Answers a message.
    #[must_use]
    pub fn quote(mut self, quote: Quote) -> Self {
        self.quote = Some(Box::new(quote));
        self
    }

    /// Does not count as unread.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Belongs to the thread that hangs on a message.
    #[must_use]
    pub fn in_thread(mut self, message: MessageId) -> Self {
        self.thread = Some(message);
        self
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The change, if it is one.
    pub fn as_change(&self) -> Option<&Change> {
        match &self.body {
            Body::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Its kind, to compare and to filter by; also of one that this version does not know, by its number. `None`: there is nothing.
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

    /// A line for where there is no room for more: a text, a caption, a title. Empty where there is none.
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

    /// As it travels and can be stored, with what this version does not know.
    pub fn encode(&self) -> Vec<u8> {
        pb::Content::from(self.clone()).encode_to_vec()
    }

    /// What [`Content::encode`] made, of this version or another one.
    ///
    /// # Errors
    /// [`NotAContent`]: these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAContent> {
        pb::Content::decode(bytes).map(Self::from).map_err(|error| NotAContent(error.to_string()))
    }

    /// There is nothing, not even something that this version does not know. An empty text is nothing too, unless it calls
    /// somebody or answers a message.
    pub fn is_empty(&self) -> bool {
        let beside = || !self.mentions.is_empty() || self.quote.is_some();
        match &self.body {
            _ if !self.unknown.is_empty() => false,
            Body::Text(text) => text.is_empty() && !beside(),
            body => *body == Body::Unknown,
        }
    }
}

/// Bytes that are no [`Content`].
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

/// `Body::Image` and so on, from what is in it.
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
