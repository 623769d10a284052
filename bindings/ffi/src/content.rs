//! Contents of messages.

mod convert;

use std::collections::HashMap;

pub(crate) use self::convert::message_id;
use crate::InvalidContent;

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Content {
    /// The kind of content, with its fields.
    pub body: Body,
    /// The mentioned users.
    #[uniffi(default = [])]
    pub mentions: Vec<String>,
    /// Set if it mentions everybody in the conversation.
    #[uniffi(default = false)]
    pub mentions_everybody: bool,
    /// The quoted message.
    #[uniffi(default = None)]
    pub quote: Option<Quote>,
    /// The first message of the thread that this message belongs to.
    #[uniffi(default = None)]
    pub thread: Option<u64>,
    /// Set if the message does not count as unread.
    #[uniffi(default = false)]
    pub silent: bool,
    /// Set if an edit or a recall was applied where the message is stored. The content is then the result.
    #[uniffi(default = None)]
    pub amended: Option<Amended>,
    /// Fields of a newer version, encoded as received. Keep them with the rest.
    #[uniffi(default = None)]
    pub unknown: Option<Vec<u8>>,
}

/// The note that an edit or a recall was applied where the message is stored. A timeline needs this or the change
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Amended {
    /// The change.
    pub change: u64,
    /// Set for a recall, with an empty content. Otherwise the content is that of the edit.
    pub recalled: bool,
    /// The user that recalled it. None: the back end itself.
    pub by_user: Option<String>,
    /// The order of the change.
    pub order: u64,
}

/// The kinds of content.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Body {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// The picture.
        image: Image,
    },
    /// A file.
    File {
        /// The file.
        file: File,
    },
    /// A voice message.
    Voice {
        /// The recording.
        voice: Voice,
    },
    /// A video.
    Video {
        /// The video.
        video: Video,
    },
    /// A place on earth.
    Location {
        /// The position.
        location: Location,
    },
    /// A card for something with a title.
    Card {
        /// The card.
        card: Card,
    },
    /// Forwarded messages.
    Forwarded {
        /// Their title.
        title: String,
        /// The messages.
        entries: Vec<ForwardedEntry>,
    },
    /// A notice of the system.
    Notice {
        /// The application's name for the notice.
        kind: String,
        /// The text for devices that do not know the kind.
        text: String,
        /// The parameters from which a device makes a sentence in its user's language.
        parameters: HashMap<String, String>,
    },
    /// A change of another message.
    Change {
        /// The message that is changed.
        message_id: u64,
        /// The change.
        kind: ChangeKind,
        /// The channel of the message, if the change is in another log.
        channel: Option<String>,
        /// The rank among the changes of one message; 0 on the way to the back end.
        order: u64,
    },
    /// A kind that the application defines.
    Custom {
        /// The application's name for the kind, such as `order.paid`.
        kind: String,
        /// The application's bytes.
        data: Vec<u8>,
    },
    /// A kind that this version does not know: show a placeholder.
    Unknown,
}

/// A change of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChangeKind {
    /// Recalls the message: its content is not shown to anybody any more.
    Recall,
    /// Replaces the content of the message.
    Edit {
        /// The new content.
        content: Box<Content>,
    },
    /// Removes the message for the user who sends the change.
    DeleteForMe,
    /// A reaction of a user.
    Reaction {
        /// An emoji, or the application's name for one.
        emoji: String,
        /// Set if the reaction is removed.
        removed: bool,
    },
    /// Pins the message, for everybody in the conversation.
    Pin {
        /// Set if the pin is removed.
        removed: bool,
    },
    /// A kind that this version does not know. It has no effect.
    Unknown,
}

/// A reference to the bytes of a picture, a recording or a file.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Media {
    /// The URL of the bytes.
    pub url: String,
    /// The MIME type, such as `image/jpeg`; empty if unknown.
    #[uniffi(default = "")]
    pub mime_type: String,
    /// The size in bytes; 0 if unknown.
    #[uniffi(default = 0)]
    pub bytes: u64,
    /// The digest of 32 bytes, to check the downloaded bytes.
    #[uniffi(default = None)]
    pub sha256: Option<Vec<u8>>,
    /// The name of the file, for display.
    #[uniffi(default = "")]
    pub name: String,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Image {
    /// The picture itself.
    pub media: Media,
    /// The width in pixels; 0 if unknown.
    #[uniffi(default = 0)]
    pub width: u32,
    /// The height in pixels; 0 if unknown.
    #[uniffi(default = 0)]
    pub height: u32,
    /// A smaller version of the picture.
    #[uniffi(default = None)]
    pub thumbnail: Option<Media>,
    /// Its caption.
    #[uniffi(default = "")]
    pub caption: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct File {
    /// The file itself.
    pub media: Media,
    /// Its caption.
    #[uniffi(default = "")]
    pub caption: String,
}

/// A voice message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Voice {
    /// The recording itself.
    pub media: Media,
    /// The duration in milliseconds.
    pub duration_ms: u32,
    /// The loudness over the whole duration, one byte for each of that many equal parts.
    #[uniffi(default = None)]
    pub waveform: Option<Vec<u8>>,
}

/// A video.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Video {
    /// The video itself.
    pub media: Media,
    /// The duration in milliseconds.
    pub duration_ms: u32,
    /// The width in pixels; 0 if unknown.
    #[uniffi(default = 0)]
    pub width: u32,
    /// The height in pixels; 0 if unknown.
    #[uniffi(default = 0)]
    pub height: u32,
    /// A still picture of the video.
    #[uniffi(default = None)]
    pub thumbnail: Option<Media>,
    /// Its caption.
    #[uniffi(default = "")]
    pub caption: String,
}

/// A place on earth.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Location {
    /// Degrees north of the equator, times ten million.
    pub latitude_e7: i32,
    /// Degrees east of Greenwich, times ten million.
    pub longitude_e7: i32,
    /// The name of the place.
    #[uniffi(default = "")]
    pub name: String,
    /// The address of the place.
    #[uniffi(default = "")]
    pub address: String,
}

/// A card for something with a title.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Card {
    /// The kind of the subject: `user`, `channel`, `link`, or the application's own word.
    pub kind: String,
    /// The id of the subject.
    pub id: String,
    /// The title.
    pub title: String,
    /// Further text.
    #[uniffi(default = "")]
    pub text: String,
    /// The target of the card.
    #[uniffi(default = "")]
    pub url: String,
    /// The picture of the card.
    #[uniffi(default = None)]
    pub image: Option<Media>,
}

/// A forwarded message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ForwardedEntry {
    /// The sender. None: unknown, or the back end.
    pub from_user: Option<String>,
    /// The name of the sender.
    pub name: String,
    /// The time of sending, in milliseconds since the Unix epoch; 0 if unknown.
    pub sent_at_ms: u64,
    /// Its content.
    pub content: Content,
    /// Set if the back end has found the message and filled in its sender, time and content. Otherwise they are claims of the
    /// user who forwards it.
    #[uniffi(default = false)]
    pub verified: bool,
    /// The position of the message in a log of the user who forwards it, as `forward_message` returns it. None: the back end does
    /// not look it up.
    #[uniffi(default = None)]
    pub source: Option<ForwardSource>,
}

/// The position of a forwarded message, in a log of the user who forwards it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ForwardSource {
    /// The message.
    pub message_id: u64,
    /// Its position in the log.
    pub seq: u64,
    /// The channel that it is in. None: the user's inbox.
    pub channel: Option<String>,
}

/// A quote of another message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Quote {
    /// The quoted message.
    pub message_id: u64,
    /// The sender. None: the back end.
    pub from_user: Option<String>,
    /// The kind of the message: `text`, `image` and so on.
    pub kind: String,
    /// The beginning of its text.
    pub excerpt: String,
    /// Set if the back end has found the message in this conversation. Otherwise all fields are claims of the sender
    /// of the quote.
    #[uniffi(default = false)]
    pub verified: bool,
    /// Set if the message was recalled. There is no excerpt then.
    #[uniffi(default = false)]
    pub recalled: bool,
    /// The position of the message in the quoting user's log of the conversation, as `quote_message` returns it. 0: the back end
    /// does not look it up.
    #[uniffi(default = 0)]
    pub seq: u64,
}

/// Creates a plain text.
#[uniffi::export]
pub fn text_content(text: String) -> Content {
    im_sdk::content::Content::text(text).into()
}

/// Encodes a content for storage, including fields that this version does not know.
///
/// # Errors
/// [`InvalidContent`]: an id in the content is not valid.
#[uniffi::export]
pub fn encode_content(content: Content) -> Result<Vec<u8>, InvalidContent> {
    Ok(content.parse()?.encode())
}

/// Decodes a content from [`encode_content`], of this version or another one.
///
/// # Errors
/// [`InvalidContent`]: the bytes are not a content.
#[uniffi::export]
pub fn decode_content(bytes: Vec<u8>) -> Result<Content, InvalidContent> {
    Ok(im_sdk::content::Content::decode(&bytes)?.into())
}

#[cfg(test)]
mod tests;
