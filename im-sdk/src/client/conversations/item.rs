//! A conversation of the list.

use std::collections::{BTreeMap, BTreeSet};

use super::ListedConversation;
use crate::{
    ConversationState,
    client::ReceivedMessage,
    content::Content,
    conversation::message::{counts, mentions, stands_alone},
    id::{MessageId, UserId},
    proto::limits,
    timeline::{ChangeRank, Recalled, ShownMessage},
};

/// The limit up to which unread messages of one conversation are counted, as backends do.
const MAX_UNREAD: usize = limits::MAX_UNREAD as usize;

/// The number of newest unread messages with known seqs, as backends list them.
const LISTED: usize = limits::MAX_LISTED_UNREAD;

/// A conversation of the list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) state: ConversationState,
    /// The last message, as it is now.
    last: Option<ReceivedMessage>,
    last_edit: Option<ChangeRank>,
    last_recalled: Option<Recalled>,
    pub(super) end: u64,
    /// The number of unread messages with unknown seqs. All of them are before those with known seqs.
    unlisted: usize,
    more: bool,
    /// Set if `more` means that the backend stopped counting.
    full: bool,
    /// The unread messages by seq.
    unread: BTreeMap<u64, Option<MessageId>>,
    places: BTreeMap<MessageId, u64>,
    mentions: BTreeSet<u64>,
    /// The number of unread messages with unknown seqs that mention the user.
    unlisted_mentions: usize,
}

impl From<ListedConversation> for Item {
    fn from(mut listed: ListedConversation) -> Self {
        let last_edit = last_edit(&listed);
        // As when the edit comes by itself.
        if let Some(last) = listed.last.as_mut().filter(|_| last_edit.is_some()) {
            last.content.amended = None;
        }
        let ids: Vec<Option<MessageId>> = if listed.unread_ids.len() == listed.unread_seqs.len() {
            listed.unread_ids.into_iter().map(Some).collect()
        } else {
            vec![None; listed.unread_seqs.len()]
        };
        let unread: BTreeMap<u64, Option<MessageId>> = listed.unread_seqs.into_iter().zip(ids).collect();
        let count = usize::try_from(listed.unread).unwrap_or(MAX_UNREAD);
        Self {
            last_edit,
            last_recalled: listed.last_recalled,
            last: listed.last,
            end: listed.end,
            unlisted: count.saturating_sub(unread.len()),
            more: listed.unread_more,
            full: listed.unread_more && count >= MAX_UNREAD,
            places: unread.iter().filter_map(|(seq, id)| Some(((*id)?, *seq))).collect(),
            unread,
            unlisted_mentions: usize::try_from(listed.mentions)
                .unwrap_or(MAX_UNREAD)
                .saturating_sub(listed.mention_seqs.len()),
            mentions: listed.mention_seqs.into_iter().collect(),
            state: listed.state,
        }
    }
}

/// Returns the edit whose content the last message has.
fn last_edit(listed: &ListedConversation) -> Option<ChangeRank> {
    let amended = listed.last.as_ref().and_then(|last| last.content.amended.as_deref());
    let edit = amended.filter(|amended| !amended.recalled);
    let edit = edit.map(|edit| ChangeRank { order: edit.order, change: edit.change });
    edit.or(listed.last_edit.map(|change| ChangeRank { order: 0, change }))
}

impl Item {
    pub(super) fn new(state: ConversationState) -> Self {
        Self {
            state,
            last: None,
            last_edit: None,
            last_recalled: None,
            end: 0,
            unlisted: 0,
            more: false,
            full: false,
            unread: BTreeMap::new(),
            places: BTreeMap::new(),
            mentions: BTreeSet::new(),
            unlisted_mentions: 0,
        }
    }

    fn last_seq(&self) -> u64 {
        self.last.as_ref().and_then(|last| last.position.as_ref()).map_or(0, |position| position.seq)
    }

    /// Returns the time at which the last message was sent, from its id.
    pub(super) fn sent(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.id.as_u64())
    }

    pub(super) fn is_listed(&self) -> bool {
        self.state.is_listed(self.last_seq())
    }

    fn total(&self) -> usize {
        self.unlisted.saturating_add(self.unread.len())
    }

    pub(super) fn count(&self) -> usize {
        self.total().min(MAX_UNREAD)
    }

    /// Returns the number of unread messages that mention the user.
    pub(super) fn mentioned(&self) -> usize {
        self.unlisted_mentions.saturating_add(self.mentions.len()).min(MAX_UNREAD)
    }

    pub(super) fn more(&self) -> bool {
        self.more || self.total() > MAX_UNREAD
    }

    pub(super) fn show(&self) -> ListedConversation {
        let newest = self.unread.len().saturating_sub(LISTED);
        let (unread_seqs, ids): (Vec<u64>, Vec<Option<MessageId>>) =
            self.unread.iter().skip(newest).map(|(seq, id)| (*seq, *id)).unzip();
        let first = unread_seqs.first().copied().unwrap_or(u64::MAX);
        ListedConversation {
            state: self.state.clone(),
            last: self.last.clone(),
            last_edit: self.last_edit.map(|edit| edit.change),
            last_recalled: self.last_recalled.clone(),
            end: self.end,
            unread: u32::try_from(self.count()).unwrap_or(u32::MAX),
            unread_more: self.more(),
            mention_seqs: self.mentions.range(first..).copied().collect(),
            mentions: u32::try_from(self.mentioned()).unwrap_or(u32::MAX),
            unread_ids: ids.into_iter().collect::<Option<_>>().unwrap_or_default(),
            unread_seqs,
        }
    }

    /// Takes the next entry of the log. `done` has the changes of this message that came before it.
    pub(super) fn add(
        &mut self,
        user: &UserId,
        seq: u64,
        message: &ReceivedMessage,
        done: Option<&ShownMessage>,
    ) {
        if seq <= self.end {
            return;
        }
        self.end = seq;
        // Changes of other messages are neither shown nor counted.
        if !self.state.shows(seq) || !stands_alone(&message.content) {
            return;
        }
        if !done.is_some_and(ShownMessage::is_deleted) {
            (self.last_edit, self.last_recalled) = (None, None);
            self.last = Some(message.clone());
            done.into_iter().for_each(|done| self.show_last(done));
        }
        let from = message.from.as_ref().map_or("", UserId::as_str);
        let is_gone = done.is_some_and(ShownMessage::is_gone);
        if seq <= self.state.read_to() || is_gone || !counts(from, &message.content, user) {
            return;
        }
        self.unread.insert(seq, Some(message.id));
        self.places.insert(message.id, seq);
        self.set_mention(user, seq, done.and_then(ShownMessage::content).unwrap_or(&message.content));
        if self.unread.len() > MAX_UNREAD + LISTED {
            self.unlist();
        }
    }

    /// Forgets the seq of the oldest unread message, once too many are known. It still counts.
    fn unlist(&mut self) {
        if let Some((_, id)) = self.unread.pop_first() {
            id.and_then(|id| self.places.remove(&id));
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// Takes a change of a message. Returns `false` if its effect is unknown.
    pub(super) fn change(&mut self, user: &UserId, id: MessageId, done: &ShownMessage) -> bool {
        let mut can_tell = true;
        match self.places.get(&id).copied() {
            Some(seq) if done.is_gone() => {
                self.forget(id, seq);
                // A backend that stopped counting would have counted another message instead.
                can_tell = !self.full || self.total() >= MAX_UNREAD;
            }
            Some(seq) => done.content().into_iter().for_each(|says| self.set_mention(user, seq, says)),
            None => can_tell = !done.is_gone() || !self.has_unknown(),
        }
        if self.has_last(id) {
            self.show_last(done);
            // The message before it is unknown.
            can_tell &= !done.is_deleted();
        }
        can_tell
    }

    /// Returns `true` if the conversation is known to have this message.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.places.contains_key(&id) || self.has_last(id)
    }

    /// Returns `true` if there are unread messages with unknown ids.
    pub(super) fn has_unknown(&self) -> bool {
        self.unlisted > 0 || self.places.len() < self.unread.len()
    }

    fn has_last(&self, id: MessageId) -> bool {
        self.last.as_ref().is_some_and(|last| last.id == id)
    }

    fn forget(&mut self, id: MessageId, seq: u64) {
        self.places.remove(&id);
        self.unread.remove(&seq);
        self.mentions.remove(&seq);
    }

    fn set_mention(&mut self, user: &UserId, seq: u64, says: &Content) {
        if mentions(says, user) {
            self.mentions.insert(seq);
        } else {
            self.mentions.remove(&seq);
        }
    }

    /// Applies changes to the last message, by the rules of a [`Timeline`](crate::timeline::Timeline), whether they came
    /// with the page or later.
    fn show_last(&mut self, done: &ShownMessage) {
        let Some(last) = &mut self.last else { return };
        if let Some(recalled) = done.recalled() {
            if self.last_recalled.as_ref().is_none_or(|known| recalled.change < known.change) {
                self.last_recalled = Some(recalled.clone());
            }
            self.last_edit = None;
            last.content = Content::default();
        } else if self.last_recalled.is_none()
            && let (Some(edit), Some(says)) = (done.edit_rank(), done.content())
            && self.last_edit.is_none_or(|known| known < edit)
        {
            self.last_edit = Some(edit);
            last.content = says.clone();
        }
    }

    /// Takes a newer state. Returns `false` if the number of unread messages is unknown.
    pub(super) fn set(&mut self, state: ConversationState) -> bool {
        if state.version <= self.state.version {
            return true;
        }
        let before = std::mem::replace(&mut self.state, state);
        let (was, is) = (before.read_to(), self.state.read_to());
        if !self.state.shows(self.last_seq()) {
            self.last = None;
            (self.last_edit, self.last_recalled) = (None, None);
        }
        if is == was {
            return true;
        }
        let first = self.unread.first_key_value().map(|(seq, _)| *seq);
        self.unread.retain(|seq, _| *seq > is);
        self.mentions.retain(|seq| *seq > is);
        self.places.retain(|_, seq| *seq > is);
        // Messages with unknown seqs are before the first known one, or before the end.
        let covers_unlisted = is >= first.unwrap_or(self.end);
        if covers_unlisted {
            (self.unlisted, self.more, self.full) = (0, false, false);
            self.unlisted_mentions = 0;
        }
        is > was && (covers_unlisted || (self.unlisted == 0 && !self.more))
    }
}
