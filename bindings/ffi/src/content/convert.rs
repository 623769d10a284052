//! Conversions between these types and the SDK's.

use im_sdk::{
    content as sdk,
    id::{ChannelId, InvalidId, MessageId, UserId},
};

use super::{
    Amended, Body, Card, ChangeKind, Content, File, ForwardSource, ForwardedEntry, Image, Location, Media,
    Quote, Video, Voice,
};

impl From<sdk::Content> for Content {
    fn from(content: sdk::Content) -> Self {
        Self {
            body: content.body.into(),
            mentions: content.mentions.users.iter().map(ToString::to_string).collect(),
            mentions_everybody: content.mentions.everybody,
            quote: content.quote.map(|quote| Quote::from(*quote)),
            thread: content.thread.map(MessageId::as_u64),
            silent: content.silent,
            amended: content.amended.map(|amended| Amended::from(*amended)),
            unknown: (!content.unknown.is_empty()).then(|| content.unknown.into()),
        }
    }
}

impl Content {
    pub(crate) fn parse(self) -> Result<sdk::Content, InvalidId> {
        let mut content = sdk::Content::new(self.body.parse()?);
        content.mentions.users =
            self.mentions.iter().map(|user| UserId::parse(user)).collect::<Result<_, _>>()?;
        content.mentions.everybody = self.mentions_everybody;
        content.quote = self.quote.map(Quote::parse).transpose()?.map(Box::new);
        content.thread = self.thread.map(message_id).transpose()?;
        content.silent = self.silent;
        content.amended = self.amended.map(Amended::parse).transpose()?.map(Box::new);
        content.unknown = self.unknown.unwrap_or_default().into();
        Ok(content)
    }
}

impl From<sdk::Body> for Body {
    fn from(body: sdk::Body) -> Self {
        match body {
            sdk::Body::Text(text) => Self::Text { text },
            sdk::Body::Image(image) => Self::Image { image: (*image).into() },
            sdk::Body::File(file) => Self::File { file: (*file).into() },
            sdk::Body::Voice(voice) => Self::Voice { voice: (*voice).into() },
            sdk::Body::Video(video) => Self::Video { video: (*video).into() },
            sdk::Body::Location(location) => Self::Location { location: (*location).into() },
            sdk::Body::Card(card) => Self::Card { card: (*card).into() },
            sdk::Body::Forwarded(forwarded) => Self::Forwarded {
                title: forwarded.title,
                entries: forwarded.entries.into_iter().map(Into::into).collect(),
            },
            sdk::Body::Notice(notice) => Self::Notice {
                kind: notice.kind,
                text: notice.text,
                parameters: notice.parameters.into_iter().collect(),
            },
            sdk::Body::Change(change) => Self::Change {
                message_id: change.message_id.as_u64(),
                kind: change.kind.into(),
                channel: change.channel.map(|channel| channel.to_string()),
                order: change.order,
            },
            sdk::Body::Custom(custom) => Self::Custom { kind: custom.kind, data: custom.data.into() },
            _ => Self::Unknown,
        }
    }
}

impl Body {
    fn parse(self) -> Result<sdk::Body, InvalidId> {
        Ok(match self {
            Self::Text { text } => sdk::Body::Text(text),
            Self::Image { image } => sdk::Image::from(image).into(),
            Self::File { file } => sdk::File::new(file.media.into()).caption(file.caption).into(),
            Self::Voice { voice } => sdk::Voice::new(voice.media.into(), voice.duration_ms)
                .waveform(voice.waveform.unwrap_or_default())
                .into(),
            Self::Video { video } => sdk::Video::from(video).into(),
            Self::Location { location } => sdk::Location::from(location).into(),
            Self::Card { card } => sdk::Card::from(card).into(),
            Self::Forwarded { title, entries } => {
                let entries: Result<Vec<_>, _> = entries.into_iter().map(ForwardedEntry::parse).collect();
                sdk::Forwarded::new(title, entries?).into()
            }
            Self::Notice { kind, text, parameters } => {
                let mut notice = sdk::Notice::new(kind, text);
                notice.parameters = parameters.into_iter().collect();
                notice.into()
            }
            Self::Change { message_id: id, kind, channel, order } => {
                let mut change = sdk::Change::new(message_id(id)?, kind.parse()?);
                change.channel = channel.map(|channel| ChannelId::parse(&channel)).transpose()?;
                change.order = order;
                change.into()
            }
            Self::Custom { kind, data } => sdk::Custom { kind, data: data.into() }.into(),
            Self::Unknown => sdk::Body::Unknown,
        })
    }
}

impl From<sdk::ChangeKind> for ChangeKind {
    fn from(kind: sdk::ChangeKind) -> Self {
        match kind {
            sdk::ChangeKind::Recall => Self::Recall,
            sdk::ChangeKind::Edit(content) => Self::Edit { content: Box::new((*content).into()) },
            sdk::ChangeKind::DeleteForMe => Self::DeleteForMe,
            sdk::ChangeKind::Reaction { emoji, removed } => Self::Reaction { emoji, removed },
            sdk::ChangeKind::Pin { removed } => Self::Pin { removed },
            _ => Self::Unknown,
        }
    }
}

impl ChangeKind {
    pub(crate) fn parse(self) -> Result<sdk::ChangeKind, InvalidId> {
        Ok(match self {
            Self::Recall => sdk::ChangeKind::Recall,
            Self::Edit { content } => sdk::ChangeKind::Edit(Box::new(content.parse()?)),
            Self::DeleteForMe => sdk::ChangeKind::DeleteForMe,
            Self::Reaction { emoji, removed } => sdk::ChangeKind::Reaction { emoji, removed },
            Self::Pin { removed } => sdk::ChangeKind::Pin { removed },
            Self::Unknown => sdk::ChangeKind::Unknown,
        })
    }
}

impl From<sdk::Media> for Media {
    fn from(media: sdk::Media) -> Self {
        Self {
            url: media.url,
            mime_type: media.mime_type,
            bytes: media.bytes,
            sha256: media.sha256.map(Vec::from),
            name: media.name,
        }
    }
}

impl From<Media> for sdk::Media {
    fn from(from: Media) -> Self {
        let mut media = Self::new(from.url).mime_type(from.mime_type).bytes(from.bytes).name(from.name);
        media.sha256 = from.sha256.and_then(|digest| digest.try_into().ok());
        media
    }
}

impl From<sdk::Image> for Image {
    fn from(image: sdk::Image) -> Self {
        Self {
            media: image.media.into(),
            width: image.width,
            height: image.height,
            thumbnail: image.thumbnail.map(Into::into),
            caption: image.caption,
        }
    }
}

impl From<Image> for sdk::Image {
    fn from(from: Image) -> Self {
        let mut image = Self::new(from.media.into()).pixels(from.width, from.height).caption(from.caption);
        image.thumbnail = from.thumbnail.map(Into::into);
        image
    }
}

impl From<sdk::File> for File {
    fn from(file: sdk::File) -> Self {
        Self { media: file.media.into(), caption: file.caption }
    }
}

impl From<sdk::Voice> for Voice {
    fn from(voice: sdk::Voice) -> Self {
        Self {
            media: voice.media.into(),
            duration_ms: voice.duration_ms,
            waveform: (!voice.waveform.is_empty()).then(|| voice.waveform.into()),
        }
    }
}

impl From<sdk::Video> for Video {
    fn from(video: sdk::Video) -> Self {
        Self {
            media: video.media.into(),
            duration_ms: video.duration_ms,
            width: video.width,
            height: video.height,
            thumbnail: video.thumbnail.map(Into::into),
            caption: video.caption,
        }
    }
}

impl From<Video> for sdk::Video {
    fn from(from: Video) -> Self {
        let video = Self::new(from.media.into(), from.duration_ms).pixels(from.width, from.height);
        let mut video = video.caption(from.caption);
        video.thumbnail = from.thumbnail.map(Into::into);
        video
    }
}

impl From<sdk::Location> for Location {
    fn from(location: sdk::Location) -> Self {
        Self {
            latitude_e7: location.latitude_e7,
            longitude_e7: location.longitude_e7,
            name: location.name,
            address: location.address,
        }
    }
}

impl From<Location> for sdk::Location {
    fn from(from: Location) -> Self {
        let mut location = Self::default().named(from.name, from.address);
        location.latitude_e7 = from.latitude_e7;
        location.longitude_e7 = from.longitude_e7;
        location
    }
}

impl From<sdk::Card> for Card {
    fn from(card: sdk::Card) -> Self {
        Self {
            kind: card.kind,
            id: card.id,
            title: card.title,
            text: card.text,
            url: card.url,
            image: card.image.map(Into::into),
        }
    }
}

impl From<Card> for sdk::Card {
    fn from(from: Card) -> Self {
        let mut card = Self::new(from.kind, from.id, from.title).text(from.text);
        card.url = from.url;
        card.image = from.image.map(Into::into);
        card
    }
}

impl From<sdk::ForwardedEntry> for ForwardedEntry {
    fn from(entry: sdk::ForwardedEntry) -> Self {
        Self {
            from_user: entry.from.map(|user| user.to_string()),
            name: entry.name,
            sent_at_ms: entry.sent_at_ms,
            content: entry.content.into(),
            verified: entry.verified,
            source: entry.source.map(|source| ForwardSource {
                message_id: source.message_id.as_u64(),
                seq: source.seq,
                channel: source.channel.map(|channel| channel.to_string()),
            }),
        }
    }
}

impl ForwardSource {
    fn parse(self) -> Result<sdk::ForwardSource, InvalidId> {
        let channel = self.channel.map(|channel| ChannelId::parse(&channel)).transpose()?;
        Ok(sdk::ForwardSource { message_id: message_id(self.message_id)?, seq: self.seq, channel })
    }
}

impl From<sdk::Amended> for Amended {
    fn from(amended: sdk::Amended) -> Self {
        Self {
            change: amended.change.as_u64(),
            recalled: amended.recalled,
            by_user: amended.by.map(|user| user.to_string()),
            order: amended.order,
        }
    }
}

impl Amended {
    fn parse(self) -> Result<sdk::Amended, InvalidId> {
        let by = self.by_user.map(|user| UserId::parse(&user)).transpose()?;
        let mut amended = sdk::Amended::new(message_id(self.change)?, self.recalled, by);
        amended.order = self.order;
        Ok(amended)
    }
}

impl ForwardedEntry {
    fn parse(self) -> Result<sdk::ForwardedEntry, InvalidId> {
        let mut entry = sdk::ForwardedEntry::default().name(self.name);
        entry.from = self.from_user.map(|user| UserId::parse(&user)).transpose()?;
        entry.sent_at_ms = self.sent_at_ms;
        entry.content = self.content.parse()?;
        entry.verified = self.verified;
        entry.source = self.source.map(ForwardSource::parse).transpose()?;
        Ok(entry)
    }
}

impl From<sdk::Quote> for Quote {
    fn from(quote: sdk::Quote) -> Self {
        Self {
            message_id: quote.message_id.as_u64(),
            from_user: quote.from.map(|user| user.to_string()),
            kind: quote.kind,
            excerpt: quote.excerpt,
            verified: quote.verified,
            recalled: quote.recalled,
            seq: quote.seq,
        }
    }
}

impl Quote {
    fn parse(self) -> Result<sdk::Quote, InvalidId> {
        let from = self.from_user.map(|user| UserId::parse(&user)).transpose()?;
        let mut quote = sdk::Quote::new(message_id(self.message_id)?, from, &sdk::Content::default());
        quote.kind = self.kind;
        quote.excerpt = self.excerpt;
        (quote.verified, quote.recalled, quote.seq) = (self.verified, self.recalled, self.seq);
        Ok(quote)
    }
}

pub(crate) fn message_id(number: u64) -> Result<MessageId, InvalidId> {
    MessageId::from_u64(number).map_or_else(|| number.to_string().parse(), Ok)
}
