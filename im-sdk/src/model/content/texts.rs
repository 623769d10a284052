//! The texts of a content that people read, for moderation.

use super::{Body, ChangeKind, Content, Media};

impl Content {
    /// Returns all texts that people are shown: the text itself, captions, file names, the titles
    /// and texts of cards, locations, notices and forwarded messages, however deeply nested.
    ///
    /// For an edit these are the texts of the new content; for a reaction its emoji, which may be a
    /// word. The excerpt of a quote is included unless it is [verified](super::Quote::verified):
    /// then somebody else said it before. The data of a [`Custom`](super::Custom) kind is not
    /// included: only the application can read it.
    ///
    /// ```
    /// use im_sdk::content::{Content, Image, Media};
    /// let picture = Content::from(Image::new(Media::new("https://x.example/7").name("7.jpg")).caption("buy spam"));
    /// assert_eq!(picture.texts(), ["7.jpg", "buy spam"]);
    /// ```
    pub fn texts(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        self.collect(&mut texts);
        texts.retain(|text| !text.is_empty());
        texts
    }

    fn collect<'a>(&'a self, texts: &mut Vec<&'a str>) {
        let name = |media: &'a Media| media.name.as_str();
        if let Some(quote) = self.quote.as_deref().filter(|quote| !quote.verified) {
            texts.push(&quote.excerpt);
        }
        match &self.body {
            Body::Text(text) => texts.push(text),
            Body::Image(image) => texts.extend([name(&image.media), &image.caption]),
            Body::File(file) => texts.extend([name(&file.media), &file.caption]),
            Body::Voice(voice) => texts.push(name(&voice.media)),
            Body::Video(video) => texts.extend([name(&video.media), &video.caption]),
            Body::Location(location) => texts.extend([&*location.name, &location.address]),
            Body::Card(card) => texts.extend([&*card.title, &card.text, &card.url]),
            Body::Forwarded(forwarded) => {
                texts.push(&forwarded.title);
                for entry in &forwarded.entries {
                    texts.push(&entry.name);
                    entry.content.collect(texts);
                }
            }
            Body::Notice(notice) => {
                texts.push(&notice.text);
                texts.extend(notice.parameters.values().map(String::as_str));
            }
            Body::Change(change) => match &change.kind {
                ChangeKind::Edit(content) => content.collect(texts),
                ChangeKind::Reaction { emoji, .. } => texts.push(emoji),
                ChangeKind::Recall
                | ChangeKind::DeleteForMe
                | ChangeKind::Pin { .. }
                | ChangeKind::Unknown => {}
            },
            Body::Custom(_) | Body::Unknown => {}
        }
    }

    /// Returns all media that the content refers to: the file itself, thumbnails, the pictures of cards, and those of
    /// forwarded messages and edits, however deeply nested. For rules about who may send which file.
    ///
    /// ```
    /// use im_sdk::content::{Content, Image, Media};
    /// let picture = Image::new(Media::new("/files/7")).thumbnail(Media::new("/files/7-small"));
    /// let urls: Vec<_> = Content::from(picture).media().iter().map(|media| media.url.clone()).collect();
    /// assert_eq!(urls, ["/files/7", "/files/7-small"]);
    /// ```
    pub fn media(&self) -> Vec<&Media> {
        let mut media = Vec::new();
        self.collect_media(&mut media);
        media
    }

    fn collect_media<'a>(&'a self, media: &mut Vec<&'a Media>) {
        match &self.body {
            Body::Image(image) => media.extend(std::iter::once(&image.media).chain(&image.thumbnail)),
            Body::File(file) => media.push(&file.media),
            Body::Voice(voice) => media.push(&voice.media),
            Body::Video(video) => media.extend(std::iter::once(&video.media).chain(&video.thumbnail)),
            Body::Card(card) => media.extend(&card.image),
            Body::Forwarded(forwarded) => {
                forwarded.entries.iter().for_each(|entry| entry.content.collect_media(media));
            }
            Body::Change(change) => {
                if let ChangeKind::Edit(content) = &change.kind {
                    content.collect_media(media);
                }
            }
            Body::Text(_) | Body::Location(_) | Body::Notice(_) | Body::Custom(_) | Body::Unknown => {}
        }
    }

    /// Replaces the text, or the caption of a picture, a file or a video. Mentions, the quote, the
    /// thread and media are kept. Other kinds become a text.
    ///
    /// ```
    /// use im_sdk::{content::Content, id::MessageId};
    /// let thread = MessageId::from_u64(7).unwrap();
    /// let masked = Content::text("damn").in_thread(thread).replace_text("****");
    /// assert_eq!((masked.as_text(), masked.thread), (Some("****"), Some(thread)));
    /// ```
    #[must_use]
    pub fn replace_text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match &mut self.body {
            Body::Image(image) => image.caption = text,
            Body::File(file) => file.caption = text,
            Body::Video(video) => video.caption = text,
            body => *body = Body::Text(text),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        content::{
            Card, Change, File, Forwarded, ForwardedEntry, Image, Location, Media, Notice, Quote, Video,
            Voice,
        },
        id::{MessageId, UserId},
    };

    fn id() -> MessageId {
        MessageId::from_u64(7).unwrap()
    }

    #[test]
    fn no_file_is_left_out() {
        let media = || Media::new("/files/7");
        let contents: Vec<Content> = vec![
            Image::new(media()).into(),
            Image::new(Media::new("u")).thumbnail(media()).into(),
            File::new(media()).into(),
            Voice::new(media(), 7).into(),
            Video::new(media(), 7).into(),
            Video::new(Media::new("u"), 7).thumbnail(media()).into(),
            Card::new("user", "7", "").image(media()).into(),
        ];
        for content in contents {
            let bundle =
                Content::from(Forwarded::new("", [ForwardedEntry::new(id(), None, content.clone())]));
            let edit = Content::from(Change::edit(id(), bundle.clone()));
            for content in [&content, &bundle, &edit] {
                assert!(content.media().iter().any(|media| media.url == "/files/7"), "{content:?}");
            }
        }
        assert!(Content::text("/files/7").media().is_empty());
    }

    #[test]
    fn no_text_that_is_shown_is_left_out() {
        let media = || Media::new("https://x.example/7").name("spam");
        let contents: Vec<Content> = vec![
            "spam".into(),
            File::new(media()).into(),
            File::new(Media::new("u")).caption("spam").into(),
            Voice::new(media(), 7).into(),
            Video::new(Media::new("u"), 7).caption("spam").into(),
            Location::new(1.0, 2.0).named("here", "spam").into(),
            Card::new("user", "7", "spam").into(),
            Card::link("https://spam.example", "").into(),
            Card::new("user", "7", "").text("spam").into(),
            Notice::new("x", "").parameter("who", "spam").into(),
            Change::edit(id(), "spam").into(),
            Change::react(id(), "spam").into(),
            Content::text("yes").quote(Quote::new(id(), None, &"spam".into())),
        ];
        for content in contents {
            let bundle = |content: Content| {
                Content::from(Forwarded::new("", [ForwardedEntry::new(id(), None, content)]))
            };
            let deep = bundle(bundle(content.clone()));
            for content in [content, deep] {
                assert!(content.texts().iter().any(|text| text.contains("spam")), "{content:?}");
            }
        }
        assert!(Content::from(Change::recall(id())).texts().is_empty());
        let mut quote = Quote::new(id(), None, &"what another one said".into());
        quote.verified = true;
        assert_eq!(Content::text("yes").quote(quote).texts(), ["yes"]);
    }

    #[test]
    fn another_text_keeps_what_is_beside_it() {
        let alice = UserId::parse("alice").unwrap();
        let said = Content::text("damn, @alice")
            .mention(alice)
            .quote(Quote::new(id(), None, &"why?".into()))
            .in_thread(id());
        let masked = said.clone().replace_text("****, @alice");
        assert_eq!(masked, Content { body: "****, @alice".into(), ..said });
        let film = Content::from(Video::new(Media::new("u"), 7).caption("damn"));
        let masked = film.replace_text("****");
        assert_eq!(masked, Video::new(Media::new("u"), 7).caption("****").into());
    }
}
