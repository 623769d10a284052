//! The state of one message: registers that converge, whatever the order of writes.

use std::collections::BTreeMap;

use crate::{
    content::{Amended, Content, reaction_key},
    id::{ChannelId, MessageId, UserId},
    proto::limits::MAX_REACTIONS_PER_USER,
};

/// The maximum number of remembered reactions of one user to a message, removed ones included:
/// twice as many as are shown. Beyond, the one that was changed first is forgotten.
const REMEMBERED_REACTIONS: usize = 2 * MAX_REACTIONS_PER_USER;

/// A message to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownMessage {
    id: MessageId,
    place: Option<Place>,
    /// The sender, once the message has arrived.
    from: Option<Option<UserId>>,
    /// The original content; `None` once it is edited, recalled or deleted.
    original: Option<Content>,
    edit: Option<Latest<Content>>,
    recalled: Option<Recalled>,
    deleted: bool,
    /// By user and [`reaction_key`]: the emoji as given, or `None` once removed.
    reactions: BTreeMap<Option<UserId>, BTreeMap<String, Latest<Option<String>>>>,
    /// The number of all reactions.
    reaction_count: usize,
    pinned: Option<Latest<bool>>,
}

/// A recall of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recalled {
    /// The change; if there are several, the one with the lowest id.
    pub change: MessageId,
    /// The user who recalled the message; `None` for the backend itself.
    pub by: Option<UserId>,
}

/// The reactions with one emoji.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaction<'a> {
    /// The emoji, or the application's name for one. Of emojis that differ only in the variation
    /// selector, the one with it.
    pub emoji: &'a str,
    /// The users, in the order of their ids, at least one; `None` for the backend itself.
    pub users: Vec<Option<&'a UserId>>,
}

/// The rank of a change among the changes of one message: the same in all logs, whatever their
/// order there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangeRank {
    pub(crate) order: u64,
    pub(crate) change: MessageId,
}

/// The position of a message: the channel, or `None` for the inbox, and the seq in that log.
pub(super) type Place = (Option<ChannelId>, u64);

/// The value of the last change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Latest<T> {
    rank: ChangeRank,
    value: T,
}

impl<T> Latest<T> {
    /// Returns whether a change comes after the stored one.
    fn is_older(there: Option<&Self>, rank: ChangeRank) -> bool {
        there.is_none_or(|there| there.rank < rank)
    }
}

impl ShownMessage {
    pub(super) fn new(id: MessageId) -> Self {
        Self {
            id,
            place: None,
            from: None,
            original: None,
            edit: None,
            recalled: None,
            deleted: false,
            reactions: BTreeMap::new(),
            reaction_count: 0,
            pinned: None,
        }
    }

    /// Returns the id of the message.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Returns the sender; `None` for the backend itself.
    pub fn from(&self) -> Option<&UserId> {
        self.from.as_ref()?.as_ref()
    }

    /// Returns the content after its last edit; `None` if it was recalled or deleted.
    pub fn content(&self) -> Option<&Content> {
        self.edit.as_ref().map(|edit| &edit.value).or(self.original.as_ref())
    }

    /// Returns whether the content differs from the original.
    pub fn is_edited(&self) -> bool {
        self.edit.is_some()
    }

    /// Returns the recall, if the message was recalled. Its content must not be shown to anybody.
    pub fn recalled(&self) -> Option<&Recalled> {
        self.recalled.as_ref()
    }

    /// Returns whether the user has deleted the message: leave it out.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Returns whether the message is pinned.
    pub fn is_pinned(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned.value)
    }

    /// Returns the reactions, in the order of the emojis' bytes: the newest of each user, up to
    /// [`MAX_REACTIONS_PER_USER`](crate::limits::MAX_REACTIONS_PER_USER).
    pub fn reactions(&self) -> Vec<Reaction<'_>> {
        let mut by_key: BTreeMap<&str, Reaction<'_>> = BTreeMap::new();
        for (user, reactions) in &self.reactions {
            for (key, emoji) in shown(reactions) {
                let reaction = by_key.entry(key).or_insert_with(|| Reaction { emoji, users: Vec::new() });
                // The selector comes last: the emoji with it is the greater one.
                reaction.emoji = reaction.emoji.max(emoji);
                reaction.users.push(user.as_ref());
            }
        }
        by_key.into_values().collect()
    }

    /// Returns the seq in its log, if it is known.
    pub fn seq(&self) -> Option<u64> {
        self.place.as_ref().map(|(_, seq)| *seq)
    }

    /// Returns the channel whose log has the message; `None` for the inbox, or if it is unknown.
    pub fn channel(&self) -> Option<&ChannelId> {
        self.place.as_ref()?.0.as_ref()
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn set_place(&mut self, place: Place) {
        self.place.get_or_insert(place);
    }

    /// Returns the rank of the edit that is shown.
    #[cfg(any(feature = "backend", feature = "client"))]
    pub(crate) fn edit_rank(&self) -> Option<ChangeRank> {
        self.edit.as_ref().map(|edit| edit.rank)
    }

    pub(super) fn has_come(&self) -> bool {
        self.from.is_some()
    }

    /// Returns the number of changes that wait for the message.
    pub(super) fn waiting(&self) -> usize {
        if self.has_come() {
            return 0;
        }
        let single = [self.edit.is_some(), self.recalled.is_some(), self.deleted, self.pinned.is_some()];
        single.into_iter().filter(|there| *there).count() + self.reaction_count
    }

    // Each of the following methods returns whether the message looks different. Each commutes with
    // all others, and has no effect the second time.

    pub(super) fn arrive(&mut self, from: Option<&UserId>, content: &Content) -> bool {
        let is_new = !self.has_come();
        if is_new {
            self.from = Some(from.cloned());
        }
        let changed = match content.amended.as_deref() {
            // The log has applied the change: the same as if the change arrived, too.
            Some(Amended { change, recalled: true, by, .. }) => self.recall(*change, by.as_ref()),
            Some(Amended { change, order, .. }) => {
                let says = Content { amended: None, ..content.clone() };
                self.edit(ChangeRank { order: *order, change: *change }, &says)
            }
            None => {
                if is_new && !self.is_gone() && self.edit.is_none() {
                    self.original = Some(content.clone());
                }
                false
            }
        };
        is_new || changed
    }

    /// Returns the message that it quotes.
    pub(super) fn quotes(&self) -> Option<MessageId> {
        self.content()?.quote.as_ref().map(|quote| quote.message_id)
    }

    /// Removes the excerpt of a recalled message.
    pub(super) fn hide_quote(&mut self, of: MessageId) {
        let says = self.edit.as_mut().map(|edit| &mut edit.value).or(self.original.as_mut());
        if let Some(quote) = says.and_then(|content| content.quote.as_mut())
            && quote.message_id == of
        {
            quote.recalled = true;
            quote.excerpt.clear();
            quote.kind.clear();
        }
    }

    pub(super) fn recall(&mut self, change: MessageId, by: Option<&UserId>) -> bool {
        if self.recalled.as_ref().is_some_and(|first| first.change <= change) {
            return false;
        }
        self.recalled = Some(Recalled { change, by: by.cloned() });
        self.clear();
        true
    }

    pub(super) fn delete(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.deleted, true);
        self.clear();
        is_new
    }

    pub(super) fn edit(&mut self, rank: ChangeRank, content: &Content) -> bool {
        let counts = !self.is_gone() && Latest::is_older(self.edit.as_ref(), rank);
        if counts {
            self.edit = Some(Latest { rank, value: content.clone() });
            // The original content is gone.
            self.original = None;
        }
        counts
    }

    pub(super) fn pin(&mut self, rank: ChangeRank, removed: bool) -> bool {
        let before = self.is_pinned();
        if !self.is_gone() && Latest::is_older(self.pinned.as_ref(), rank) {
            self.pinned = Some(Latest { rank, value: !removed });
        }
        self.is_pinned() != before
    }

    pub(super) fn react(
        &mut self,
        rank: ChangeRank,
        user: Option<&UserId>,
        emoji: &str,
        removed: bool,
    ) -> bool {
        if self.is_gone() {
            return false;
        }
        let reactions = self.reactions.entry(user.cloned()).or_default();
        let key = reaction_key(emoji);
        if !Latest::is_older(reactions.get(&key), rank) {
            return false;
        }
        let count = reactions.len();
        // A removed reaction is kept as such: an older change may yet arrive.
        let value = (!removed).then(|| emoji.to_owned());
        let before = reactions.insert(key, Latest { rank, value: value.clone() });
        let differs = before.and_then(|before| before.value) != value;
        let forgotten = forget_oldest(reactions);
        self.reaction_count = self.reaction_count - count + reactions.len();
        // A reaction of many may become visible by being changed again.
        differs || forgotten || reactions.len() > MAX_REACTIONS_PER_USER
    }

    /// Returns whether the content must not be shown to anybody, or to this user.
    pub(crate) fn is_gone(&self) -> bool {
        self.recalled.is_some() || self.deleted
    }

    /// Removes content that must not be shown.
    fn clear(&mut self) {
        self.original = None;
        self.edit = None;
        self.reactions.clear();
        self.reaction_count = 0;
        self.pinned = None;
    }
}

/// Limits the remembered reactions of a user. Whatever the order of changes, the same are left:
/// those with the highest ranks, which only rise. Returns whether one that was there is gone.
fn forget_oldest(reactions: &mut BTreeMap<String, Latest<Option<String>>>) -> bool {
    if reactions.len() <= REMEMBERED_REACTIONS {
        return false;
    }
    let oldest = reactions.iter().min_by_key(|(_, latest)| latest.rank).map(|(key, _)| key.clone());
    oldest.and_then(|key| reactions.remove(&key)).is_some_and(|latest| latest.value.is_some())
}

/// Returns the newest existing reactions of a user: their keys, and the emojis as given.
fn shown(reactions: &BTreeMap<String, Latest<Option<String>>>) -> impl Iterator<Item = (&str, &str)> {
    let there = || reactions.iter().filter(|(_, latest)| latest.value.is_some());
    let mut changes: Vec<ChangeRank> = there().map(|(_, latest)| latest.rank).collect();
    changes.sort_unstable_by(|one, other| other.cmp(one));
    let lowest = changes.get(MAX_REACTIONS_PER_USER - 1).copied();
    there()
        .filter(move |(_, latest)| lowest.is_none_or(|lowest| latest.rank >= lowest))
        .filter_map(|(key, latest)| Some((&**key, latest.value.as_deref()?)))
}
