//! Validates contents before they are sent to devices.

use crate::{
    content::is_empty,
    id::{ChannelId, InvalidId, MessageId, UserId},
    proto::{
        limits::{
            MAX_EXCERPT_BYTES, MAX_FORWARDED_DEPTH, MAX_FORWARDED_ENTRIES, MAX_MENTIONS,
            MAX_NOTICE_PARAMETERS, MAX_REACTION_BYTES, MAX_URL_BYTES, MAX_WAVEFORM_BYTES,
        },
        pb,
        pb::{change::What, content::Body},
    },
};

/// A content that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContent {
    /// A part of the content has too many items.
    #[error("the content has {count} {what}, the limit is {limit}")]
    TooMany {
        /// The kind of the items.
        what: &'static str,
        /// Their number.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A part of the content is too long.
    #[error("the content's {what} takes {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// The name of the part.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A required part is missing.
    #[error("the content has no {what}")]
    Missing {
        /// The name of the part.
        what: &'static str,
    },
    /// A part has an impossible value.
    #[error("the content's {what} makes no sense")]
    Nonsense {
        /// The name of the part.
        what: &'static str,
    },
    /// The content names a user or a channel by an invalid id.
    #[error("the content names somebody by an id that is none: {0}")]
    InvalidId(InvalidId),
    /// Forwarded messages are nested too deep.
    #[error("forwarded messages lie more than {MAX_FORWARDED_DEPTH} deep in each other")]
    TooDeep,
    /// A change is inside of an edit or of a forwarded message, where it would change nothing.
    #[error("a change of a message cannot be edited in or forwarded")]
    ChangeInside,
}

impl From<InvalidId> for InvalidContent {
    fn from(error: InvalidId) -> Self {
        Self::InvalidId(error)
    }
}

/// Checks all but the size, which the frame limits.
pub(in crate::backend) fn check(content: &pb::Content) -> Result<(), InvalidContent> {
    match &content.body {
        Some(Body::Change(change)) => {
            check_beside(content)?;
            check_change(change)
        }
        _ => check_said(content, 0),
    }
}

/// Checks a content that is no change.
fn check_said(content: &pb::Content, depth: usize) -> Result<(), InvalidContent> {
    check_beside(content)?;
    match &content.body {
        Some(Body::Image(image)) => {
            check_media(image.media.as_ref())?;
            check_optional(image.thumbnail.as_ref())
        }
        Some(Body::File(file)) => check_media(file.media.as_ref()),
        Some(Body::Voice(voice)) => {
            check_media(voice.media.as_ref())?;
            at_most("waveform", voice.waveform.len(), MAX_WAVEFORM_BYTES)
        }
        Some(Body::Video(video)) => {
            check_media(video.media.as_ref())?;
            check_optional(video.thumbnail.as_ref())
        }
        Some(Body::Location(location)) => check_location(location),
        Some(Body::Card(card)) => {
            at_most("URL", card.url.len(), MAX_URL_BYTES)?;
            check_optional(card.image.as_ref())
        }
        Some(Body::Forwarded(forwarded)) => check_forwarded(forwarded, depth + 1),
        Some(Body::Notice(notice)) => count("parameters", notice.parameters.len(), MAX_NOTICE_PARAMETERS),
        Some(Body::Change(_)) => Err(InvalidContent::ChangeInside),
        // Contents of newer versions are not checked.
        Some(Body::Text(_) | Body::Custom(_)) | None => Ok(()),
    }
}

fn check_beside(content: &pb::Content) -> Result<(), InvalidContent> {
    if let Some(mentions) = &content.mentions {
        count("mentions", mentions.users.len(), MAX_MENTIONS)?;
        mentions.users.iter().try_for_each(|user| UserId::parse(user).map(drop))?;
    }
    if let Some(quote) = &content.quote {
        at_most("excerpt", quote.excerpt.len(), MAX_EXCERPT_BYTES)?;
        is_message(quote.message_id, "quoted message")?;
        is_user_or_nobody(&quote.from)?;
    }
    if content.thread == 0 { Ok(()) } else { is_message(content.thread, "thread") }
}

fn check_media(media: Option<&pb::Media>) -> Result<(), InvalidContent> {
    let media = media.filter(|media| !media.url.is_empty());
    let media = media.ok_or(InvalidContent::Missing { what: "URL" })?;
    at_most("URL", media.url.len(), MAX_URL_BYTES)?;
    if matches!(media.sha256.len(), 0 | 32) { Ok(()) } else { nonsense("SHA-256") }
}

fn check_optional(media: Option<&pb::Media>) -> Result<(), InvalidContent> {
    if media.is_some() { check_media(media) } else { Ok(()) }
}

fn check_location(location: &pb::Location) -> Result<(), InvalidContent> {
    let within = |e7: i32, degrees: u32| e7.unsigned_abs() <= degrees * 10_000_000;
    let is_on_earth = within(location.latitude_e7, 90) && within(location.longitude_e7, 180);
    if is_on_earth { Ok(()) } else { nonsense("location") }
}

fn check_forwarded(forwarded: &pb::Forwarded, depth: usize) -> Result<(), InvalidContent> {
    if depth > MAX_FORWARDED_DEPTH {
        return Err(InvalidContent::TooDeep);
    }
    count("forwarded messages", forwarded.entries.len(), MAX_FORWARDED_ENTRIES)?;
    for entry in &forwarded.entries {
        is_user_or_nobody(&entry.from)?;
        let content = entry.content.as_ref().filter(|content| !is_empty(content));
        check_said(
            content.ok_or(InvalidContent::Missing { what: "content in a forwarded message" })?,
            depth,
        )?;
    }
    Ok(())
}

fn check_change(change: &pb::Change) -> Result<(), InvalidContent> {
    is_message(change.message_id, "changed message")?;
    if !change.channel.is_empty() {
        ChannelId::parse(&change.channel)?;
    }
    match &change.what {
        Some(What::Edit(content)) if is_empty(content) => {
            Err(InvalidContent::Missing { what: "new content" })
        }
        Some(What::Edit(content)) => check_said(content, 0),
        Some(What::Reaction(reaction)) if reaction.emoji.is_empty() => {
            Err(InvalidContent::Missing { what: "emoji" })
        }
        Some(What::Reaction(reaction)) => {
            at_most("emoji", reaction.emoji.len(), MAX_REACTION_BYTES)?;
            if reaction.emoji.chars().any(is_no_sign) { nonsense("emoji") } else { Ok(()) }
        }
        Some(What::Recall(_) | What::DeleteForMe(_) | What::Pin(_)) => Ok(()),
        None => Err(InvalidContent::Missing { what: "change that this backend knows" }),
    }
}

/// Returns `true` for characters that are in no emoji and in no name of one: spaces, control
/// characters, and marks that change the direction of the text around them.
fn is_no_sign(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn count(what: &'static str, count: usize, limit: usize) -> Result<(), InvalidContent> {
    if count <= limit { Ok(()) } else { Err(InvalidContent::TooMany { what, count, limit }) }
}

fn at_most(what: &'static str, bytes: usize, limit: usize) -> Result<(), InvalidContent> {
    if bytes <= limit { Ok(()) } else { Err(InvalidContent::TooLong { what, bytes, limit }) }
}

fn is_message(id: u64, what: &'static str) -> Result<(), InvalidContent> {
    if MessageId::from_u64(id).is_some() { Ok(()) } else { nonsense(what) }
}

fn is_user_or_nobody(user: &str) -> Result<(), InvalidContent> {
    if !user.is_empty() {
        UserId::parse(user)?;
    }
    Ok(())
}

fn nonsense(what: &'static str) -> Result<(), InvalidContent> {
    Err(InvalidContent::Nonsense { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{
        Change, Content, Forwarded, ForwardedEntry, Image, Location, Media, Notice, Quote, Video, Voice,
    };

    fn checked(content: impl Into<Content>) -> Result<(), InvalidContent> {
        check(&content.into().into())
    }

    fn id() -> MessageId {
        MessageId::from_u64(7).unwrap()
    }

    fn nested(depth: usize) -> Content {
        let inner = if depth == 1 { Content::text("hi") } else { nested(depth - 1) };
        Forwarded::new("", [ForwardedEntry::new(id(), None, inner)]).into()
    }

    #[test]
    fn limits_hold_and_may_be_reached() {
        let bob = UserId::parse("bob").unwrap();
        let mentions = |count| (0..count).fold(Content::text(""), |text, _| text.mention(bob.clone()));
        assert_eq!(checked(mentions(MAX_MENTIONS)), Ok(()));
        let error = checked(mentions(MAX_MENTIONS + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the content has 201 mentions, the limit is 200");
        assert_eq!(checked(nested(MAX_FORWARDED_DEPTH)), Ok(()));
        assert_eq!(checked(nested(MAX_FORWARDED_DEPTH + 1)), Err(InvalidContent::TooDeep));
        let entry = || ForwardedEntry::new(id(), None, Content::text("hi"));
        let bundle = |count| Forwarded::new("", (0..count).map(|_| entry()));
        assert_eq!(checked(bundle(MAX_FORWARDED_ENTRIES)), Ok(()));
        assert!(matches!(
            checked(bundle(MAX_FORWARDED_ENTRIES + 1)),
            Err(InvalidContent::TooMany { count: 101, .. })
        ));
        let emoji = |bytes| Change::react(id(), "x".repeat(bytes));
        assert_eq!(checked(emoji(MAX_REACTION_BYTES)), Ok(()));
        assert!(matches!(checked(emoji(MAX_REACTION_BYTES + 1)), Err(InvalidContent::TooLong { .. })));
        assert_eq!(checked(emoji(0)), Err(InvalidContent::Missing { what: "emoji" }));
        for emoji in ["👍", "👩🏽\u{200d}🚒", "❤\u{fe0f}", "party_parrot", "+1"] {
            assert_eq!(checked(Change::react(id(), emoji)), Ok(()), "{emoji}");
        }
        for emoji in [" ", "a b", "x\n", "\u{202e}x", "\u{2028}", "\0"] {
            assert_eq!(checked(Change::react(id(), emoji)), nonsense("emoji"), "{emoji:?}");
        }
        let voice = |bytes| Voice::new(Media::new("u"), 1).waveform(vec![0; bytes]);
        assert_eq!(checked(voice(MAX_WAVEFORM_BYTES)), Ok(()));
        assert!(matches!(checked(voice(MAX_WAVEFORM_BYTES + 1)), Err(InvalidContent::TooLong { .. })));
        let url = |bytes| Video::new(Media::new("u".repeat(bytes)), 1);
        assert_eq!(checked(url(MAX_URL_BYTES)), Ok(()));
        assert!(matches!(checked(url(MAX_URL_BYTES + 1)), Err(InvalidContent::TooLong { .. })));
        let notice =
            |count: usize| (0..count).fold(Notice::new("", ""), |n, i| n.parameter(i.to_string(), ""));
        assert_eq!(checked(notice(MAX_NOTICE_PARAMETERS)), Ok(()));
        assert!(matches!(checked(notice(MAX_NOTICE_PARAMETERS + 1)), Err(InvalidContent::TooMany { .. })));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(checked(Location::new(90.0, -180.0)), Ok(()));
        assert_eq!(checked(Location::new(90.1, 0.0)), nonsense("location"));
        assert_eq!(checked(Location::new(0.0, 1e9)), nonsense("location"));
        assert_eq!(checked(Image::default()), Err(InvalidContent::Missing { what: "URL" }));
        let thumbnail = Image::new(Media::new("u")).thumbnail(Media::default());
        assert_eq!(checked(thumbnail), Err(InvalidContent::Missing { what: "URL" }));
        let mut quote = Quote::new(id(), None, &Content::text("hi"));
        quote.excerpt = "x".repeat(MAX_EXCERPT_BYTES + 1);
        assert!(matches!(checked(Content::text("").quote(quote)), Err(InvalidContent::TooLong { .. })));
        assert_eq!(checked(Change::edit(id(), "")), Err(InvalidContent::Missing { what: "new content" }));
        let called = Content::text("").mention_everybody();
        assert_eq!(checked(Change::edit(id(), called)), Ok(()), "it calls somebody");
        let nothing = Change::edit(id(), Content::default());
        assert_eq!(checked(nothing), Err(InvalidContent::Missing { what: "new content" }));
        let change = || Content::from(Change::recall(id()));
        assert_eq!(checked(Change::edit(id(), change())), Err(InvalidContent::ChangeInside));
        let forwarded = Forwarded::new("", [ForwardedEntry::new(id(), None, change())]);
        assert_eq!(checked(forwarded), Err(InvalidContent::ChangeInside));
        // Contents that only the wire format can express.
        let wire = |body: Body| check(&body.into());
        let media = pb::Media { url: "u".into(), sha256: vec![1; 31].into(), ..Default::default() };
        let file = pb::File { media: Some(media), ..Default::default() };
        assert_eq!(wire(Body::File(file.into())), nonsense("SHA-256"));
        assert_eq!(wire(Body::Change(Box::default())), nonsense("changed message"));
        let newer = pb::Change { message_id: 7, ..Default::default() };
        assert!(matches!(wire(Body::Change(newer.into())), Err(InvalidContent::Missing { .. })));
        let mentions = Some(Box::new(pb::Mentions { users: vec!["not a user".into()], everybody: false }));
        let calls_nobody = pb::Content { mentions, ..Default::default() };
        assert!(matches!(check(&calls_nobody), Err(InvalidContent::InvalidId(_))));
    }
}
