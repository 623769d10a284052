//! Conversions of contents to and from the wire.

use super::{
    Amended, Body, Card, Change, ChangeKind, Content, Custom, File, ForwardSource, Forwarded, ForwardedEntry,
    Image, Location, Media, Mentions, Notice, Quote, Video, Voice,
};
use crate::{
    id::{ChannelId, MessageId, UserId},
    proto::{
        pb,
        pb::{change::What, content::Body as Wire},
    },
};

impl From<Content> for pb::Content {
    fn from(content: Content) -> Self {
        let mut wire = Self {
            body: content.body.into(),
            mentions: (!content.mentions.is_empty()).then(|| Box::new(content.mentions.into())),
            quote: content.quote.map(|quote| Box::new((*quote).into())),
            thread: content.thread.map_or(0, MessageId::as_u64),
            silent: content.silent,
            amended: content.amended.map(|amended| Box::new((*amended).into())),
            unknown: content.unknown.into(),
        };
        wire.keep_unknown_mentions();
        wire
    }
}

/// Returns whether a content is empty, without even fields that this version does not know. An
/// empty text without mentions and quote is empty, too.
pub(crate) fn is_empty(content: &pb::Content) -> bool {
    let beside = || content.mentions.is_some() || content.quote.is_some();
    match &content.body {
        _ if !content.unknown.is_empty() => false,
        Some(Wire::Text(text)) => text.text.is_empty() && !beside(),
        body => body.is_none(),
    }
}

/// Returns the new content of an edit.
#[cfg(feature = "client")]
pub(crate) fn edit(content: &pb::Content) -> Option<&pb::Content> {
    match &content.body {
        Some(Wire::Change(change)) => match &change.what {
            Some(What::Edit(content)) => Some(content),
            _ => None,
        },
        _ => None,
    }
}

impl From<pb::Content> for Content {
    fn from(mut content: pb::Content) -> Self {
        let (has_body, has_quote) = (content.body.is_some(), content.quote.is_some());
        let body = content.body.take().map_or(Body::Unknown, Body::from);
        let quote = content.quote.take().and_then(|wire| quote(*wire)).map(Box::new);
        let (is_body_gone, is_quote_gone) = (has_body && body == Body::Unknown, has_quote && quote.is_none());
        if is_body_gone || is_quote_gone {
            content.remove_unknown(is_body_gone, is_quote_gone);
        }
        Self {
            body,
            mentions: content.mentions.map(|mentions| Mentions::from(*mentions)).unwrap_or_default(),
            quote,
            thread: MessageId::from_u64(content.thread),
            silent: content.silent,
            amended: content.amended.and_then(|wire| amended(*wire)).map(Box::new),
            unknown: content.unknown.into(),
        }
    }
}

impl From<Option<pb::Content>> for Content {
    fn from(content: Option<pb::Content>) -> Self {
        content.map(Self::from).unwrap_or_default()
    }
}

impl From<Body> for Option<Wire> {
    fn from(body: Body) -> Self {
        Some(match body {
            Body::Text(text) => Wire::Text(pb::Text { text }),
            Body::Image(image) => Wire::Image(Box::new((*image).into())),
            Body::File(file) => Wire::File(Box::new((*file).into())),
            Body::Voice(voice) => Wire::Voice(Box::new((*voice).into())),
            Body::Video(video) => Wire::Video(Box::new((*video).into())),
            Body::Location(location) => Wire::Location((*location).into()),
            Body::Card(card) => Wire::Card(Box::new((*card).into())),
            Body::Forwarded(forwarded) => Wire::Forwarded((*forwarded).into()),
            Body::Notice(notice) => Wire::Notice(Box::new((*notice).into())),
            Body::Change(change) => Wire::Change(Box::new((*change).into())),
            Body::Custom(custom) => Wire::Custom(pb::Custom { kind: custom.kind, data: custom.data }),
            Body::Unknown => return None,
        })
    }
}

impl From<Wire> for Body {
    fn from(body: Wire) -> Self {
        match body {
            Wire::Text(text) => Self::Text(text.text),
            Wire::Image(image) => Image::from(*image).into(),
            Wire::File(file) => File::from(*file).into(),
            Wire::Voice(voice) => Voice::from(*voice).into(),
            Wire::Video(video) => Video::from(*video).into(),
            Wire::Location(location) => Location::from(location).into(),
            Wire::Card(card) => Card::from(*card).into(),
            Wire::Forwarded(forwarded) => Forwarded::from(forwarded).into(),
            Wire::Notice(notice) => Notice::from(*notice).into(),
            // A change without a message changes nothing.
            Wire::Change(wire) => change(*wire).map_or(Self::Unknown, Self::from),
            Wire::Custom(custom) => Custom { kind: custom.kind, data: custom.data }.into(),
        }
    }
}

impl From<Media> for pb::Media {
    fn from(media: Media) -> Self {
        let Media { url, mime_type, bytes, sha256, name } = media;
        let sha256 = sha256.map(|digest| digest.to_vec().into()).unwrap_or_default();
        Self { url, mime_type, bytes, sha256, name }
    }
}

impl From<pb::Media> for Media {
    fn from(media: pb::Media) -> Self {
        let pb::Media { url, mime_type, bytes, sha256, name } = media;
        Self { url, mime_type, bytes, sha256: (&sha256[..]).try_into().ok(), name }
    }
}

impl From<Image> for pb::Image {
    fn from(image: Image) -> Self {
        let Image { media, width, height, thumbnail, caption } = image;
        Self { media: Some(media.into()), width, height, thumbnail: thumbnail.map(Into::into), caption }
    }
}

impl From<pb::Image> for Image {
    fn from(image: pb::Image) -> Self {
        let pb::Image { media, width, height, thumbnail, caption } = image;
        Self { media: known(media), width, height, thumbnail: thumbnail.map(Into::into), caption }
    }
}

impl From<File> for pb::File {
    fn from(file: File) -> Self {
        Self { media: Some(file.media.into()), caption: file.caption }
    }
}

impl From<pb::File> for File {
    fn from(file: pb::File) -> Self {
        Self { media: known(file.media), caption: file.caption }
    }
}

impl From<Voice> for pb::Voice {
    fn from(voice: Voice) -> Self {
        Self { media: Some(voice.media.into()), duration_ms: voice.duration_ms, waveform: voice.waveform }
    }
}

impl From<pb::Voice> for Voice {
    fn from(voice: pb::Voice) -> Self {
        Self { media: known(voice.media), duration_ms: voice.duration_ms, waveform: voice.waveform }
    }
}

impl From<Video> for pb::Video {
    fn from(video: Video) -> Self {
        let Video { media, width, height, duration_ms, thumbnail, caption } = video;
        let (media, thumbnail) = (Some(media.into()), thumbnail.map(Into::into));
        Self { media, width, height, duration_ms, thumbnail, caption }
    }
}

impl From<pb::Video> for Video {
    fn from(video: pb::Video) -> Self {
        let pb::Video { media, width, height, duration_ms, thumbnail, caption } = video;
        let (media, thumbnail) = (known(media), thumbnail.map(Into::into));
        Self { media, width, height, duration_ms, thumbnail, caption }
    }
}

impl From<Location> for pb::Location {
    fn from(location: Location) -> Self {
        let Location { latitude_e7, longitude_e7, name, address } = location;
        Self { latitude_e7, longitude_e7, name, address }
    }
}

impl From<pb::Location> for Location {
    fn from(location: pb::Location) -> Self {
        let pb::Location { latitude_e7, longitude_e7, name, address } = location;
        Self { latitude_e7, longitude_e7, name, address }
    }
}

impl From<Card> for pb::Card {
    fn from(card: Card) -> Self {
        let Card { kind, id, title, text, url, image } = card;
        Self { kind, id, title, text, url, image: image.map(Into::into) }
    }
}

impl From<pb::Card> for Card {
    fn from(card: pb::Card) -> Self {
        let pb::Card { kind, id, title, text, url, image } = card;
        Self { kind, id, title, text, url, image: image.map(Into::into) }
    }
}

impl From<Forwarded> for pb::Forwarded {
    fn from(forwarded: Forwarded) -> Self {
        let entry = |entry: ForwardedEntry| pb::ForwardedEntry {
            from: entry.from.map(|user| user.to_string()).unwrap_or_default(),
            sent_at_ms: entry.sent_at_ms,
            content: Some(entry.content.into()),
            name: entry.name,
            message_id: entry.source.as_ref().map_or(0, |source| source.message_id.as_u64()),
            seq: entry.source.as_ref().map_or(0, |source| source.seq),
            channel: entry
                .source
                .and_then(|source| source.channel)
                .map(|channel| channel.to_string())
                .unwrap_or_default(),
            verified: entry.verified,
        };
        Self { title: forwarded.title, entries: forwarded.entries.into_iter().map(entry).collect() }
    }
}

impl From<pb::Forwarded> for Forwarded {
    fn from(forwarded: pb::Forwarded) -> Self {
        let entry = |entry: pb::ForwardedEntry| ForwardedEntry {
            from: UserId::parse(&entry.from).ok(),
            sent_at_ms: entry.sent_at_ms,
            content: entry.content.into(),
            name: entry.name,
            verified: entry.verified,
            source: MessageId::from_u64(entry.message_id).map(|message_id| {
                let channel = ChannelId::parse(&entry.channel).ok();
                ForwardSource { message_id, seq: entry.seq, channel }
            }),
        };
        Self { title: forwarded.title, entries: forwarded.entries.into_iter().map(entry).collect() }
    }
}

impl From<Notice> for pb::Notice {
    fn from(notice: Notice) -> Self {
        Self { kind: notice.kind, text: notice.text, parameters: notice.parameters }
    }
}

impl From<pb::Notice> for Notice {
    fn from(notice: pb::Notice) -> Self {
        Self { kind: notice.kind, text: notice.text, parameters: notice.parameters }
    }
}

impl From<Mentions> for pb::Mentions {
    fn from(mentions: Mentions) -> Self {
        Self { users: names(&mentions.users), everybody: mentions.everybody }
    }
}

impl From<pb::Mentions> for Mentions {
    fn from(mentions: pb::Mentions) -> Self {
        Self { users: users(&mentions.users), everybody: mentions.everybody }
    }
}

impl From<Quote> for pb::Quote {
    fn from(quote: Quote) -> Self {
        let Quote { message_id, from, kind, excerpt, verified, recalled, seq, change, order } = quote;
        let from = from.map(|user| user.to_string()).unwrap_or_default();
        let (message_id, change) = (message_id.as_u64(), change.map_or(0, MessageId::as_u64));
        Self { message_id, from, kind, excerpt, seq, verified, recalled, change, order }
    }
}

/// Converts a quote; one without a message quotes nothing.
fn quote(quote: pb::Quote) -> Option<Quote> {
    let pb::Quote { message_id, from, kind, excerpt, seq, verified, recalled, change, order } = quote;
    let (message_id, from) = (MessageId::from_u64(message_id)?, UserId::parse(&from).ok());
    let change = MessageId::from_u64(change);
    Some(Quote { message_id, from, kind, excerpt, verified, recalled, seq, change, order })
}

impl From<Amended> for pb::Amended {
    fn from(amended: Amended) -> Self {
        let by = amended.by.map(|user| user.to_string()).unwrap_or_default();
        Self { change: amended.change.as_u64(), recalled: amended.recalled, by, order: amended.order }
    }
}

/// Converts a note of an applied change; without a change, nothing was applied.
fn amended(amended: pb::Amended) -> Option<Amended> {
    let change = MessageId::from_u64(amended.change)?;
    let (recalled, by, order) = (amended.recalled, UserId::parse(&amended.by).ok(), amended.order);
    Some(Amended { change, recalled, by, order })
}

impl From<Change> for pb::Change {
    fn from(change: Change) -> Self {
        let what = match change.kind {
            ChangeKind::Recall => Some(What::Recall(pb::Recall {})),
            ChangeKind::Edit(content) => Some(What::Edit(Box::new((*content).into()))),
            ChangeKind::DeleteForMe => Some(What::DeleteForMe(pb::DeleteForMe {})),
            ChangeKind::Reaction { emoji, removed } => Some(What::Reaction(pb::Reaction { emoji, removed })),
            ChangeKind::Pin { removed } => Some(What::Pin(pb::Pin { removed })),
            ChangeKind::Unknown => None,
        };
        Self {
            message_id: change.message_id.as_u64(),
            seq: change.seq,
            what,
            channel: change.channel.map(|channel| channel.to_string()).unwrap_or_default(),
            between: names(&change.between),
            order: change.order,
        }
    }
}

fn change(change: pb::Change) -> Option<Change> {
    let kind = match change.what {
        Some(What::Recall(pb::Recall {})) => ChangeKind::Recall,
        Some(What::Edit(content)) => ChangeKind::Edit(Box::new((*content).into())),
        Some(What::DeleteForMe(pb::DeleteForMe {})) => ChangeKind::DeleteForMe,
        Some(What::Reaction(pb::Reaction { emoji, removed })) => ChangeKind::Reaction { emoji, removed },
        Some(What::Pin(pb::Pin { removed })) => ChangeKind::Pin { removed },
        None => ChangeKind::Unknown,
    };
    Some(Change {
        message_id: MessageId::from_u64(change.message_id)?,
        kind,
        channel: ChannelId::parse(&change.channel).ok(),
        seq: change.seq,
        between: users(&change.between),
        order: change.order,
    })
}

fn known(media: Option<pb::Media>) -> Media {
    media.map(Media::from).unwrap_or_default()
}

fn names(users: &[UserId]) -> Vec<String> {
    users.iter().map(ToString::to_string).collect()
}

/// Parses user ids. Backends let no invalid ones through.
fn users(names: &[String]) -> Vec<UserId> {
    names.iter().filter_map(|name| UserId::parse(name).ok()).collect()
}
