//! One message: registers that come together to the same, in whatever order they are written.

use std::collections::BTreeMap;

use crate::{
    Content,
    id::{MessageId, UserId},
};

/// A message as it is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownMessage {
    id: MessageId,
    /// Who sent it, once it has come.
    from: Option<Option<UserId>>,
    /// Nothing, once it is recalled or deleted.
    original: Option<Content>,
    edit: Option<Latest<Content>>,
    recalled: Option<Recalled>,
    deleted: bool,
    /// By emoji and user; `true`: it is there.
    reactions: BTreeMap<(String, Option<UserId>), Latest<bool>>,
    pinned: Option<Latest<bool>>,
}

/// That a message was recalled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recalled {
    /// By which change; of several the one with the lowest id.
    pub change: MessageId,
    /// Who did. `None`: the back end itself.
    pub by: Option<UserId>,
}

/// All who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaction<'a> {
    /// The emoji, or the application's name for one.
    pub emoji: &'a str,
    /// Who, in the order of their ids, at least one. `None`: the back end itself.
    pub users: Vec<Option<&'a UserId>>,
}

/// What the change with the highest id says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Latest<T> {
    change: MessageId,
    value: T,
}

impl<T> Latest<T> {
    /// Whether a change comes after what is there.
    fn is_older(there: Option<&Self>, change: MessageId) -> bool {
        there.is_none_or(|there| there.change < change)
    }
}

impl ShownMessage {
    pub(super) fn new(id: MessageId) -> Self {
        Self {
            id,
            from: None,
            original: None,
            edit: None,
            recalled: None,
            deleted: false,
            reactions: BTreeMap::new(),
            pinned: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Who sent it. `None`: the back end itself.
    pub fn from(&self) -> Option<&UserId> {
        self.from.as_ref()?.as_ref()
    }

    /// What it says, after its last edit. `None`: it was recalled or deleted.
    pub fn content(&self) -> Option<&Content> {
        self.edit.as_ref().map(|edit| &edit.value).or(self.original.as_ref())
    }

    /// It says something else than at first.
    pub fn is_edited(&self) -> bool {
        self.edit.is_some()
    }

    /// It was recalled: nobody is to see what it said.
    pub fn recalled(&self) -> Option<&Recalled> {
        self.recalled.as_ref()
    }

    /// The user does not want to see it: leave it out.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// It is to be kept in view.
    pub fn is_pinned(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned.value)
    }

    /// The reactions to it, in the order of the emojis' bytes.
    pub fn reactions(&self) -> Vec<Reaction<'_>> {
        let mut reactions: Vec<Reaction<'_>> = Vec::new();
        for ((emoji, user), _) in self.reactions.iter().filter(|(_, latest)| latest.value) {
            match reactions.last_mut() {
                Some(last) if last.emoji == emoji => last.users.push(user.as_ref()),
                _ => reactions.push(Reaction { emoji, users: vec![user.as_ref()] }),
            }
        }
        reactions
    }

    /// The edit that says what it says.
    #[cfg(any(feature = "backend", feature = "client"))]
    pub(crate) fn edit_id(&self) -> Option<MessageId> {
        self.edit.as_ref().map(|edit| edit.change)
    }

    pub(super) fn has_come(&self) -> bool {
        self.from.is_some()
    }

    /// How many changes wait for it.
    pub(super) fn waiting(&self) -> usize {
        if self.has_come() {
            return 0;
        }
        let single = [self.edit.is_some(), self.recalled.is_some(), self.deleted, self.pinned.is_some()];
        single.into_iter().filter(|there| *there).count() + self.reactions.len()
    }

    // What follows says whether the message looks different. Each commutes with all others and has no effect the second
    // time.

    pub(super) fn arrive(&mut self, from: Option<&UserId>, content: &Content) -> bool {
        if self.has_come() {
            return false;
        }
        self.from = Some(from.cloned());
        if !self.is_gone() {
            self.original = Some(content.clone());
        }
        true
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

    pub(super) fn edit(&mut self, change: MessageId, content: &Content) -> bool {
        let counts = !self.is_gone() && Latest::is_older(self.edit.as_ref(), change);
        if counts {
            self.edit = Some(Latest { change, value: content.clone() });
        }
        counts
    }

    pub(super) fn pin(&mut self, change: MessageId, removed: bool) -> bool {
        let before = self.is_pinned();
        if !self.is_gone() && Latest::is_older(self.pinned.as_ref(), change) {
            self.pinned = Some(Latest { change, value: !removed });
        }
        self.is_pinned() != before
    }

    pub(super) fn react(
        &mut self,
        change: MessageId,
        user: Option<&UserId>,
        emoji: &str,
        removed: bool,
    ) -> bool {
        let key = (emoji.to_owned(), user.cloned());
        let there = self.reactions.get(&key);
        if self.is_gone() || !Latest::is_older(there, change) {
            return false;
        }
        let before = there.is_some_and(|there| there.value);
        // One that was taken back stays as such: an older one may yet come.
        self.reactions.insert(key, Latest { change, value: !removed });
        before == removed
    }

    /// Nobody, or not this user, is to see what it said.
    pub(crate) fn is_gone(&self) -> bool {
        self.recalled.is_some() || self.deleted
    }

    /// What nobody is to see is not kept either.
    fn clear(&mut self) {
        self.original = None;
        self.edit = None;
        self.reactions.clear();
        self.pinned = None;
    }
}
