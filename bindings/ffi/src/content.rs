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
    /// Users whom it calls by name.
    #[uniffi(default = [])]
    pub mentions: Vec<String>,
    /// It calls everybody in the conversation.
    #[uniffi(default = false)]
    pub mentions_everybody: bool,
    /// The message that it answers.
    #[uniffi(default = None)]
    pub quote: Option<Quote>,
    /// The message that the thread hangs on which this one belongs to.
    #[uniffi(default = None)]
    pub thread: Option<u64>,
    /// It does not count as unread.
    #[uniffi(default = false)]
    pub silent: bool,
    /// An edit or a recall was carried out where the message is kept: this is what it says since then.
    #[uniffi(default = None)]
    pub amended: Option<Amended>,
    /// Fields of a newer version that this one does not know. Keep them with the rest.
    #[uniffi(default = None)]
    pub unknown: Option<Vec<u8>>,
}

/// That an edit or a recall was carried out where the message is kept. A timeline needs this or the change itself.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Amended {
    /// The change.
    pub change: u64,
    /// It was a recall, and the content is empty. Else the content is that of the edit.
    pub recalled: bool,
    /// The user that recalled it. None: the back end itself.
    pub by_user: Option<String>,
    /// The change's own order.
    pub order: u64,
}

/// The kinds.
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
    /// Any file.
    File {
        /// The file.
        file: File,
    },
    /// Recorded speech.
    Voice {
        /// The recording.
        voice: Voice,
    },
    /// A moving picture.
    Video {
        /// The video.
        video: Video,
    },
    /// A place on earth.
    Location {
        /// The position.
        location: Location,
    },
    /// Something with a title.
    Card {
        /// The card.
        card: Card,
    },
    /// Messages from elsewhere.
    Forwarded {
        /// Their title.
        title: String,
        /// The messages.
        entries: Vec<ForwardedEntry>,
    },
    /// A notice of the system.
    Notice {
        /// The application's name for it.
        kind: String,
        /// For devices that do not know the kind.
        text: String,
        /// Parameters, of which a device makes a sentence.
        parameters: HashMap<String, String>,
    },
    /// Changes another message.
    Change {
        /// The message that is changed.
        message_id: u64,
        /// The change.
        kind: ChangeKind,
        /// The channel that the message is in, where the change is in another log.
        channel: Option<String>,
        /// Ranks the changes of one message; 0 on the way to the back end.
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
    /// A recall: the message is not shown to anybody any more.
    Recall,
    /// It says this from now on.
    Edit {
        /// The new content.
        content: Box<Content>,
    },
    /// The user that says so does not want to see it any more.
    DeleteForMe,
    /// A user's reaction to it.
    Reaction {
        /// An emoji, or the application's name for one.
        emoji: String,
        /// It is taken back.
        removed: bool,
    },
    /// It is kept in view, for everybody in the conversation.
    Pin {
        /// It is let go again.
        removed: bool,
    },
    /// A kind that this version does not know: without effect.
    Unknown,
}

/// The place and the type of the bytes of a picture, a recording or a file.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Media {
    /// Their URL.
    pub url: String,
    /// Such as `image/jpeg`; empty: not told.
    #[uniffi(default = "")]
    pub mime_type: String,
    /// The number; 0 if unknown.
    #[uniffi(default = 0)]
    pub bytes: u64,
    /// 32 bytes, to check what was fetched.
    #[uniffi(default = None)]
    pub sha256: Option<Vec<u8>>,
    /// The file's name, as it is to be shown.
    #[uniffi(default = "")]
    pub name: String,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Image {
    /// The picture itself.
    pub media: Media,
    /// Pixels; 0: not told.
    #[uniffi(default = 0)]
    pub width: u32,
    /// Pixels; 0: not told.
    #[uniffi(default = 0)]
    pub height: u32,
    /// A smaller one.
    #[uniffi(default = None)]
    pub thumbnail: Option<Media>,
    /// Its caption.
    #[uniffi(default = "")]
    pub caption: String,
}

/// Any file.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct File {
    /// The file itself.
    pub media: Media,
    /// Its caption.
    #[uniffi(default = "")]
    pub caption: String,
}

/// Recorded speech.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Voice {
    /// The recording itself.
    pub media: Media,
    /// The duration.
    pub duration_ms: u32,
    /// Loudness, one byte for each of as many equal parts.
    #[uniffi(default = None)]
    pub waveform: Option<Vec<u8>>,
}

/// A moving picture.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Video {
    /// The video itself.
    pub media: Media,
    /// The duration.
    pub duration_ms: u32,
    /// Pixels; 0: not told.
    #[uniffi(default = 0)]
    pub width: u32,
    /// Pixels; 0: not told.
    #[uniffi(default = 0)]
    pub height: u32,
    /// A still picture of it.
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
    /// Its name.
    #[uniffi(default = "")]
    pub name: String,
    /// Its address.
    #[uniffi(default = "")]
    pub address: String,
}

/// Something with a title.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Card {
    /// The kind of thing that it stands for: `user`, `channel`, `link`, or the application's own word.
    pub kind: String,
    /// The id of that thing.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its text.
    #[uniffi(default = "")]
    pub text: String,
    /// Its link.
    #[uniffi(default = "")]
    pub url: String,
    /// Its picture.
    #[uniffi(default = None)]
    pub image: Option<Media>,
}

/// A message that is passed on.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ForwardedEntry {
    /// The sender. None: not told, or the back end.
    pub from_user: Option<String>,
    /// The name of the sender.
    pub name: String,
    /// When, in milliseconds since the Unix epoch; 0: not told.
    pub sent_at_ms: u64,
    /// Its content.
    pub content: Content,
    /// The back end has found the message and says who sent it, when, and what it says. Else that is what the user says who passes
    /// it on.
    #[uniffi(default = false)]
    pub verified: bool,
    /// The place of the message, in a log of the user that passes it on: `forward_message` tells it. None: the back end does not look for it.
    #[uniffi(default = None)]
    pub source: Option<ForwardSource>,
}

/// The place of a message that is passed on, in a log of the user that passes it on.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ForwardSource {
    /// The message.
    pub message_id: u64,
    /// Its position in the log.
    pub seq: u64,
    /// The channel that it is in. None: the user's inbox.
    pub channel: Option<String>,
}

/// The message that another one answers.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Quote {
    /// The message.
    pub message_id: u64,
    /// The sender. None: the back end.
    pub from_user: Option<String>,
    /// Its kind: `text`, `image` and so on.
    pub kind: String,
    /// The beginning of what it says.
    pub excerpt: String,
    /// The back end has found the message in this conversation. Else all of this is what the sender of the quote says.
    #[uniffi(default = false)]
    pub verified: bool,
    /// The message was recalled: there is no excerpt.
    #[uniffi(default = false)]
    pub recalled: bool,
    /// For who quotes: the message's place in this user's log of the conversation, as `quote_message` says it. 0: the back end does
    /// not look for it.
    #[uniffi(default = 0)]
    pub seq: u64,
}

/// Plain text.
#[uniffi::export]
pub fn text_content(text: String) -> Content {
    im_sdk::content::Content::text(text).into()
}

/// A content as it travels, to be stored: also what this version does not know is in there.
///
/// # Errors
/// [`InvalidContent`]: it names somebody by an id that is none.
#[uniffi::export]
pub fn encode_content(content: Content) -> Result<Vec<u8>, InvalidContent> {
    Ok(content.parse()?.encode())
}

/// Decodes a content that [`encode_content`] has encoded, of this version or another one.
///
/// # Errors
/// [`InvalidContent`]: these bytes are something else.
#[uniffi::export]
pub fn decode_content(bytes: Vec<u8>) -> Result<Content, InvalidContent> {
    Ok(im_sdk::content::Content::decode(&bytes)?.into())
}

#[cfg(test)]
mod tests;
