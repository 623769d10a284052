//! Amendments: the effect of recalls and edits on kept messages.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    content::{Content, Quote},
    id::MessageId,
    proto::{
        limits::MAX_CONTENT_BYTES,
        pb::{self, change::What, content::Body},
    },
};

/// The new content of a kept message, in every log. The former content is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    message_id: MessageId,
    part: AmendedPart,
    /// With [`pb::Content::amended`], which ranks it.
    content: pb::Content,
}

/// The part of a message that an [`Amendment`] replaces. A message may have one of each, and each
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AmendedPart {
    /// The whole content.
    Content,
    /// The quote.
    Quote,
}

impl AmendedPart {
    /// Returns a number for a database.
    pub fn number(self) -> u8 {
        match self {
            Self::Content => 0,
            Self::Quote => 1,
        }
    }
}

impl Amendment {
    /// Returns the amendment that a message makes, or `None` if it removes no content of another
    /// message.
    pub fn of(message: &Bytes) -> Option<Self> {
        let message = pb::Message::decode(message.clone()).ok()?;
        let id = MessageId::from_u64(message.id)?;
        Self::by_change(id, &message.from, message.content.as_ref()?)
    }

    /// Returns the amendment of a decoded message.
    pub(in crate::backend) fn by_change(id: MessageId, from: &str, content: &pb::Content) -> Option<Self> {
        let Some(Body::Change(change)) = &content.body else { return None };
        let message_id = MessageId::from_u64(change.message_id)?;
        let order = change.order;
        let amended = |recalled, by: &str| {
            Some(Box::new(pb::Amended { change: id.as_u64(), recalled, by: by.into(), order }))
        };
        let content = match change.what.as_ref()? {
            What::Recall(_) => pb::Content { amended: amended(true, from), ..pb::Content::default() },
            What::Edit(content) => pb::Content { amended: amended(false, ""), ..(**content).clone() },
            _ => return None,
        };
        Some(Self { message_id, part: AmendedPart::Content, content })
    }

    /// Returns the amendment that was carried out in a message, or `None` if it was not changed.
    pub(in crate::backend) fn carried_out(message_id: MessageId, content: &pb::Content) -> Option<Self> {
        content.amended.as_ref()?;
        Some(Self { message_id, part: AmendedPart::Content, content: content.clone() })
    }

    /// Returns the amendment that empties an edit's own entry once another edit or a recall has a
    /// higher rank. Returns `None` if this is no edit.
    pub fn outranked(&self) -> Option<Self> {
        let amended = self.content.amended.as_ref().filter(|amended| !amended.recalled)?;
        if matches!(self.content.body, Some(Body::Change(_))) {
            return None;
        }
        let change = pb::Change { message_id: self.message_id.as_u64(), ..pb::Change::default() };
        let content = pb::Content { amended: Some(amended.clone()), ..Body::Change(Box::new(change)).into() };
        let message_id = MessageId::from_u64(amended.change)?;
        (self.part == AmendedPart::Content).then_some(Self {
            message_id,
            part: AmendedPart::Content,
            content,
        })
    }

    /// Returns the amendment for a message that quotes this one.
    pub(in crate::backend) fn quoted_in(&self, quoting: MessageId, from: &str) -> Self {
        let content = Content::from(self.content.clone());
        let quote = Quote { verified: true, ..Quote::new(self.message_id, from.parse().ok(), &content) };
        let content = pb::Content {
            quote: Some(Box::new(quote.into())),
            amended: self.content.amended.clone(),
            ..pb::Content::default()
        };
        Self { message_id: quoting, part: AmendedPart::Quote, content }
    }

    /// Returns the amended message.
    pub fn message_id(&self) -> MessageId {
        self.message_id
    }

    /// Returns the amended part.
    pub fn part(&self) -> AmendedPart {
        self.part
    }

    /// Returns `true` for a recall.
    pub fn is_recall(&self) -> bool {
        let is_recall = self.content.amended.as_ref().is_some_and(|amended| amended.recalled);
        self.part == AmendedPart::Content && is_recall
    }

    /// Returns the change that the amendment comes from.
    pub(in crate::backend) fn change(&self) -> u64 {
        self.content.amended.as_ref().map_or(0, |amended| amended.change)
    }

    /// Returns the rank. Of several amendments of one part the one with the highest rank counts,
    /// whichever comes first: a recall before any edit, the first of recalls, and the last of
    /// edits.
    pub fn rank(&self) -> (u64, u64) {
        let rank = |amended: &pb::Amended| match amended.recalled {
            true => (u64::MAX, u64::MAX - amended.change),
            false => (amended.order, amended.change),
        };
        self.content.amended.as_deref().map(rank).unwrap_or_default()
    }

    /// Returns an encoded `im.v1.Message` with the amendment, or `None` if it does not change.
    pub fn apply(&self, message: &Bytes) -> Option<Bytes> {
        let message = pb::Message::decode(message.clone()).ok()?;
        let amended = self.apply_to(message.content.as_ref())?;
        Some(pb::Message { content: Some(amended), ..message }.encode_to_vec().into())
    }

    /// Returns a content with the amendment, or `None` if it does not change.
    pub(in crate::backend) fn apply_to(&self, content: Option<&pb::Content>) -> Option<pb::Content> {
        if self.part == AmendedPart::Quote {
            return self.requote(content?);
        }
        let changes = |content: &pb::Content| match &content.body {
            Some(Body::Change(change)) => Some(change.clone()),
            _ => None,
        };
        match (changes(&self.content), content.and_then(changes)) {
            // Its position and its recipients stay.
            (Some(_), Some(change)) => {
                let is_edit = matches!(change.what, Some(What::Edit(_)));
                let emptied = pb::Change { what: None, ..*change };
                is_edit.then(|| Body::Change(Box::new(emptied)).into())
            }
            (None, None) => {
                // Content that was removed from the database stays removed: an edit restores
                // nothing.
                if content.is_none() && !self.is_recall() {
                    return None;
                }
                let there = content.and_then(|content| Self::carried_out(self.message_id, content));
                let is_higher = there.is_none_or(|there| there.rank() < self.rank());
                // The message decides whether it counts as unread, not its changes.
                let silent = content.is_some_and(|content| content.silent);
                is_higher.then(|| pb::Content { silent, ..self.content.clone() })
            }
            // A change is no message.
            _ => None,
        }
    }

    fn requote(&self, content: &pb::Content) -> Option<pb::Content> {
        let mut amended = content.clone();
        let quoting = match &mut amended.body {
            Some(Body::Change(change)) => match &mut change.what {
                Some(What::Edit(content)) => &mut **content,
                _ => return None,
            },
            _ => &mut amended,
        };
        let (quote, new) = (quoting.quote.as_mut()?, self.content.quote.as_ref()?);
        if quote.message_id != new.message_id || quote == new || quote.recalled {
            return None;
        }
        // The quote has the content of a later edit already.
        if !new.recalled && quote.verified && (quote.order, quote.change) > (new.order, new.change) {
            return None;
        }
        let before = quote.encoded_len();
        quote.clone_from(new);
        let grows_by = quote.encoded_len().saturating_sub(before);
        // The result must fit into a device's frame.
        if content.encoded_len() + grows_by > MAX_CONTENT_BYTES {
            quote.excerpt.clear();
        }
        Some(amended)
    }

    /// Encodes the amendment for a database, which keeps it for entries that are written later.
    pub fn encode(&self) -> Vec<u8> {
        let content = Some(self.content.clone());
        pb::Message { id: self.message_id.as_u64(), content, ..pb::Message::default() }.encode_to_vec()
    }

    /// Decodes the result of [`Amendment::encode`], or returns `None`.
    pub fn decode(part: AmendedPart, bytes: &[u8]) -> Option<Self> {
        let message = pb::Message::decode(bytes).ok()?;
        let (message_id, content) = (MessageId::from_u64(message.id)?, message.content?);
        Some(Self { message_id, part, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Change;

    fn id(number: u64) -> MessageId {
        MessageId::from_u64(number).unwrap()
    }

    fn by(change_id: u64, change: Change) -> Amendment {
        Amendment::by_change(id(change_id), "alice", &Content::from(change).into()).unwrap()
    }

    fn recall(change_id: u64) -> Amendment {
        by(change_id, Change::recall(id(7)))
    }

    fn edit(change_id: u64, text: &str) -> Amendment {
        by(change_id, Change::edit(id(7), text))
    }

    fn message(content: impl Into<Content>) -> Bytes {
        let content = Some(content.into().into());
        pb::Message { id: 7, from: "alice".into(), to: "bob".into(), content, ..Default::default() }
            .encode_to_vec()
            .into()
    }

    fn content(message: &Bytes) -> Content {
        pb::Message::decode(message.clone()).unwrap().content.into()
    }

    #[test]
    fn the_highest_rank_is_left_in_whatever_order_they_come() {
        let mut all = [recall(20), recall(30), edit(10, "first"), edit(40, "last")];
        for round in 0..24 {
            all.rotate_left(1 + round % 3);
            all.swap(0, round % 4);
            for count in 1..=4 {
                let mut kept = message(Content::text("secret"));
                for amendment in &all[..count] {
                    kept = amendment.apply(&kept).unwrap_or(kept);
                    assert_eq!(amendment.apply(&kept), None, "again");
                }
                let highest = all[..count].iter().max_by_key(|amendment| amendment.rank()).unwrap();
                let kept = pb::Message::decode(kept).unwrap();
                assert_eq!(kept.content.as_ref(), Some(&highest.content));
                assert_eq!((&*kept.from, &*kept.to), ("alice", "bob"));
            }
        }
        let kept = content(&recall(20).apply(&message(Content::text("secret"))).unwrap());
        let amended = kept.amended.unwrap();
        assert!(amended.recalled && kept.body == crate::content::Body::Unknown);
        assert_eq!((amended.change, amended.by), (id(20), Some("alice".parse().unwrap())));
    }

    #[test]
    fn of_edits_the_one_that_was_made_last_counts_whatever_the_clocks() {
        let ordered =
            |change_id, order, text: &str| by(change_id, Change { order, ..Change::edit(id(7), text) });
        let (first, last) = (ordered(90, 3, "first"), ordered(10, 4, "last"));
        let says = |edits: [&Amendment; 2]| {
            let apply = |kept, edit: &Amendment| edit.apply(&kept).unwrap_or(kept);
            content(&edits.into_iter().fold(message(Content::text("")), apply))
        };
        assert_eq!(says([&first, &last]).as_text(), Some("last"));
        assert_eq!(says([&last, &first]).as_text(), Some("last"));
        assert!(recall(1).rank() > last.rank());
    }

    #[test]
    fn an_edit_that_does_not_count_says_nothing() {
        let outranked = edit(10, "first").outranked().unwrap();
        assert_eq!(outranked.message_id(), id(10));
        assert_eq!(recall(20).outranked(), None);
        let entry = message(Change::edit(id(7), "first"));
        let left = content(&outranked.apply(&entry).unwrap());
        let change = left.as_change().unwrap();
        assert_eq!((change.message_id, &change.kind), (id(7), &crate::content::ChangeKind::Unknown));
        assert_eq!(outranked.apply(&message(Change::recall(id(7)))), None, "a recall stays");
    }

    #[test]
    fn quotes_follow() {
        let quoting =
            |quoted| Content::text("no!").quote(Quote::new(id(quoted), None, &Content::text("secret")));
        let recalled = recall(20).quoted_in(id(9), "alice");
        let left = content(&recalled.apply(&message(quoting(7))).unwrap());
        assert_eq!(left.as_text(), Some("no!"));
        let quote = left.quote.unwrap();
        assert!(quote.recalled && quote.verified && quote.excerpt.is_empty());
        assert_eq!(recalled.apply(&message(quoting(8))), None, "another message");
        let (first, last) = (edit(30, "first"), edit(40, "last"));
        let [first, last] = [first, last].map(|edit| edit.quoted_in(id(9), "alice"));
        let follows_last = last.apply(&message(quoting(7))).unwrap();
        assert_eq!(first.apply(&follows_last), None, "an edit that was carried out late");
        let edited = edit(30, "better").quoted_in(id(9), "alice");
        let left = content(&edited.apply(&message(Change::edit(id(9), quoting(7)))).unwrap());
        let crate::content::ChangeKind::Edit(inner) = &left.as_change().unwrap().kind else {
            panic!("an edit")
        };
        assert_eq!(inner.quote.as_ref().unwrap().excerpt, "better");
        assert!(edited.rank() < recalled.rank());
        // The content has the largest permitted size: a longer excerpt would not fit.
        let longer = edit(30, &"x".repeat(500)).quoted_in(id(9), "alice");
        let full = Content { quote: quoting(7).quote, ..Content::text("y".repeat(MAX_CONTENT_BYTES - 100)) };
        let left = longer.apply(&message(full)).unwrap();
        let left = pb::Message::decode(left).unwrap().content.unwrap();
        assert!(left.encoded_len() <= MAX_CONTENT_BYTES);
        assert!(left.quote.unwrap().excerpt.is_empty());
    }

    #[test]
    fn they_can_be_stored() {
        let all =
            [recall(20), edit(10, "x"), edit(10, "x").outranked().unwrap(), recall(9).quoted_in(id(8), "")];
        for amendment in all {
            let read = Amendment::decode(amendment.part(), &amendment.encode());
            assert_eq!(read.as_ref().map(Amendment::rank), Some(amendment.rank()));
            assert_eq!(read, Some(amendment));
        }
    }
}
