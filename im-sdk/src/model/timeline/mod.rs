//! Timelines: messages with all their changes applied.
//!
//! A [change](crate::content::Change) is an entry of the logs like any message, and names the
//! message that it changes. A [`Timeline`] takes messages and changes from events and pages of
//! history, in any order and any number of times, and returns what is to be shown. Timelines with
//! the same entries are equal, whatever their order.
//!
//! ```
//! use im_sdk::{content::{Change, Content}, id::{MessageId, UserId}, timeline::{Entry, Timeline}};
//!
//! let (alice, bob) = (UserId::parse("alice")?, UserId::parse("bob")?);
//! let mut timeline = Timeline::new(bob.clone());
//! let [first, second, third] = [1, 2, 3].map(|number| MessageId::from_u64(number).unwrap());
//!
//! // The change arrives before the message.
//! timeline.apply(Entry::new(second, Some(&alice), &Change::edit(first, "hello").into()));
//! timeline.apply(Entry::new(third, Some(&bob), &Change::react(first, "👍").into()));
//! timeline.apply(Entry::new(first, Some(&alice), &Content::text("helo")));
//!
//! let message = timeline.get(first).unwrap();
//! assert_eq!(message.content().and_then(Content::as_text), Some("hello"));
//! assert!(message.is_edited());
//! assert_eq!(message.reactions()[0].emoji, "👍");
//! assert_eq!(message.reactions()[0].users, [Some(&bob)]);
//! # Ok::<(), im_sdk::id::InvalidId>(())
//! ```
//!
//! # On a device
//!
//! Received messages and entries of history are applied as they are. A change refers to a received
//! message.
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use im_sdk::{client::{Client, Event}, id::UserId, timeline::Timeline};
//!
//! # async fn example(client: Client, me: UserId) -> Result<(), Box<dyn std::error::Error>> {
//! let mut timeline = Timeline::new(me.clone());
//! for event in client.next_events(100).await {
//!     let Event::Message(message) = event else { continue };
//!     if let Some(changed) = timeline.apply(&message) {
//!         println!("draw message {changed} again: {:?}", timeline.get(changed));
//!     }
//!     // A sign that it was seen. `edit`, `recall`, `delete_for_me` and `pin` are called alike.
//!     if let Some(reference) = message.reference(&me).filter(|_| message.content.as_text().is_some()) {
//!         client.react(&reference, "👀").await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # In the backend
//!
//! `ChangePolicy` in `ImBuilder::changes` sets what devices may do; a handler refuses or grants more
//! in `Handler::change`. `Im::change` changes messages regardless of the policy.
//!
#![cfg_attr(feature = "backend", doc = "```no_run")]
#![cfg_attr(not(feature = "backend"), doc = "```ignore")]
//! use im_sdk::backend::{Acceptance, ChangeRights, Handler, Incoming, IncomingChange, Refusal};
//! use im_sdk::content::ChangeKind;
//!
//! struct Rules;
//!
//! impl Handler for Rules {
//!     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
//!         check(incoming.content.as_text())?;
//!         Ok(incoming.accept())
//!     }
//!
//!     async fn change(&self, incoming: &IncomingChange) -> Result<ChangeRights, Refusal> {
//!         match &incoming.change.kind {
//!             // What may not be said may not be edited in either.
//!             ChangeKind::Edit(content) => check(content.as_text())?,
//!             ChangeKind::Recall if incoming.from.as_str() == "moderator" => return Ok(ChangeRights::Granted),
//!             _ => {}
//!         }
//!         Ok(ChangeRights::ByPolicy)
//!     }
//! }
//!
//! fn check(text: Option<&str>) -> Result<(), Refusal> {
//!     match text {
//!         Some(text) if text.contains("spam") => Err(Refusal::new("no spam, please")),
//!         _ => Ok(()),
//!     }
//! }
//! ```
//!
//! # Rules
//!
//! - A recall and a deletion are final: the content is forgotten, whatever comes after or before.
//! - Messages are shown in the order of their log, whatever their ids say.
//! - Of several edits, the last one wins: the one made when the others were already logged, whatever
//!   the clocks say. The same holds for pins, and for each user's reaction with each emoji. Of
//!   concurrent changes the one with the highest message id wins, so that two users agree whose
//!   inboxes hold them in different order.
//! - If the log, or the message store, has applied an edit or a recall ([`Content::amended`]), the
//!   message itself says so.
//! - A quote of a recalled message shows no excerpt.
//! - A change waits for its message, see [`MAX_WAITING_CHANGES`].
//! - A deletion counts only for the user of the timeline.
//! - Backends refuse changes that a user may not make, so every change in a log counts.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

#[cfg(any(feature = "backend", feature = "client"))]
pub(crate) use self::state::ChangeRank;
#[cfg(not(any(feature = "backend", feature = "client")))]
use self::state::ChangeRank;
pub use self::state::{Reaction, Recalled, ShownMessage};
use crate::{
    content::{ChangeKind, Content},
    id::{ChannelId, MessageId, UserId},
};

/// The maximum number of changes in one timeline that wait for their messages, at some hundred
/// bytes each. Beyond, the oldest awaited message is given up, and all before it: see
/// [`Timeline::horizon`].
pub const MAX_WAITING_CHANGES: usize = 10_000;

/// A message or a change, as an entry of a log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The id of the entry.
    pub id: MessageId,
    /// The sender; `None` for the backend itself.
    pub from: Option<&'a UserId>,
    /// The content.
    pub content: &'a Content,
    /// The channel whose log has the entry, if it is in one.
    pub channel: Option<&'a ChannelId>,
    /// The seq in that log, or in the inbox; `None` if it is in no log or its seq is unknown. Such
    /// a message is shown by the time in its id.
    pub seq: Option<u64>,
}

impl<'a> Entry<'a> {
    /// Creates an entry without a seq.
    pub fn new(id: MessageId, from: Option<&'a UserId>, content: &'a Content) -> Self {
        Self { id, from, content, channel: None, seq: None }
    }

    /// Sets the seq in the log of a channel, or in the inbox.
    #[must_use]
    pub fn at(self, channel: Option<&'a ChannelId>, seq: u64) -> Self {
        Self { channel, seq: Some(seq), ..self }
    }
}

/// The messages to be shown to one user.
///
/// A timeline keeps its entries until they are [forgotten](Timeline::forget_through): create one
/// for each conversation on the screen, or one for all. A user's deletions are in the inbox, also
/// those of messages in channels.
///
/// After a reset of a log because it was rolled back, create a new one: entries may have been
/// replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    owner: UserId,
    messages: BTreeMap<MessageId, ShownMessage>,
    /// Messages that have not arrived, but have changes.
    awaited: BTreeSet<MessageId>,
    /// For each message, the messages that quote it.
    quoting: BTreeMap<MessageId, BTreeSet<MessageId>>,
    /// The number of waiting changes.
    waiting: usize,
    most_waiting: usize,
    horizon: Option<MessageId>,
}

impl Timeline {
    /// Creates an empty timeline for this user.
    pub fn new(owner: UserId) -> Self {
        Self {
            owner,
            messages: BTreeMap::new(),
            awaited: BTreeSet::new(),
            quoting: BTreeMap::new(),
            waiting: 0,
            most_waiting: MAX_WAITING_CHANGES,
            horizon: None,
        }
    }

    /// Creates a timeline with another limit, for a list that only needs the newest changes.
    #[cfg(feature = "client")]
    pub(crate) fn with_limit(owner: UserId, most_waiting: usize) -> Self {
        Self { most_waiting, ..Self::new(owner) }
    }

    /// Returns the state of a message, whether it has arrived or not; `None` if nothing is known of
    /// it.
    #[cfg(any(feature = "backend", feature = "client"))]
    pub(crate) fn done_to(&self, id: MessageId) -> Option<&ShownMessage> {
        self.messages.get(&id)
    }

    /// Applies an entry. Returns the message that looks different now: a new one, or a changed one;
    /// `None` if none does. After a recall, messages that quote the message look different as well.
    pub fn apply<'a>(&mut self, entry: impl Into<Entry<'a>>) -> Option<MessageId> {
        let Entry { id, from, content, channel, seq } = entry.into();
        let Some(change) = content.as_change() else {
            let place = seq.map(|seq| (channel.cloned(), seq));
            return self.update(id, |message| {
                place.into_iter().for_each(|place| message.set_place(place));
                message.arrive(from, content)
            });
        };
        let (target, rank) = (change.message_id, ChangeRank { order: change.order, change: id });
        match &change.kind {
            ChangeKind::Recall => self.update(target, |message| message.recall(id, from)),
            ChangeKind::Edit(content) => self.update(target, |message| message.edit(rank, content)),
            ChangeKind::DeleteForMe if from.is_none_or(|from| *from == self.owner) => {
                self.update(target, ShownMessage::delete)
            }
            ChangeKind::Reaction { emoji, removed } => {
                self.update(target, |message| message.react(rank, from, emoji, *removed))
            }
            ChangeKind::Pin { removed } => self.update(target, |message| message.pin(rank, *removed)),
            // Another user's, or of a newer version.
            ChangeKind::DeleteForMe | ChangeKind::Unknown => None,
        }
    }

    /// Returns a message, if it has arrived.
    pub fn get(&self, id: MessageId) -> Option<&ShownMessage> {
        self.messages.get(&id).filter(|message| message.has_come())
    }

    /// Returns all messages that have arrived, including [deleted](ShownMessage::is_deleted) ones.
    ///
    /// Messages of one log are in its order. Several logs, and messages without a seq, are merged
    /// by the times in their ids.
    pub fn messages<'a>(&'a self) -> impl DoubleEndedIterator<Item = &'a ShownMessage> {
        let have_come = self.messages.values().filter(|message| message.has_come());
        let mut messages: Vec<&ShownMessage> = have_come.collect();
        messages.sort_by_key(|message| message.place());
        let mut highest: Option<(Option<&'a ChannelId>, MessageId)> = None;
        let shown_at = |message: &'a ShownMessage| {
            let Some((log, seq)) = message.place() else { return (message.id(), 0) };
            // A clock that is behind does not move a message before the one that it answers.
            let before = highest.filter(|(of, _)| *of == log.as_ref()).map(|(_, id)| id);
            let id = before.map_or(message.id(), |before| before.max(message.id()));
            highest = Some((log.as_ref(), id));
            (id, *seq)
        };
        let keys: Vec<(MessageId, u64)> = messages.iter().copied().map(shown_at).collect();
        let mut shown: Vec<_> = keys.into_iter().zip(messages).collect();
        shown.sort_by_key(|(key, _)| *key);
        shown.into_iter().map(|(_, message)| message)
    }

    /// Returns whether the other user of a conversation has read a message, if the last one that
    /// this user has read is [`peer_read`](crate::ConversationState::peer_read).
    pub fn is_read(&self, message: MessageId, peer_read: MessageId) -> bool {
        let place = |id: MessageId| self.messages.get(&id).and_then(ShownMessage::place);
        match (place(message), place(peer_read)) {
            (Some(message), Some(read)) if message.0 == read.0 => message.1 <= read.1,
            _ => message <= peer_read,
        }
    }

    /// Returns the number of changes that wait for their messages.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the id up to which messages are forgotten, and no longer accepted: their changes may
    /// be forgotten as well.
    pub fn horizon(&self) -> Option<MessageId> {
        self.horizon
    }

    /// Forgets messages up to this one, and their changes. To show them again, create a new
    /// timeline.
    pub fn forget_through(&mut self, last: MessageId) {
        self.horizon = self.horizon.max(Some(last));
        let Some(next) = last.as_u64().checked_add(1).and_then(MessageId::from_u64) else {
            self.messages.clear();
            self.awaited.clear();
            self.quoting.clear();
            self.waiting = 0;
            return;
        };
        let kept = self.messages.split_off(&next);
        let forgotten = std::mem::replace(&mut self.messages, kept);
        self.awaited = self.awaited.split_off(&next);
        self.quoting.retain(|_, quoting| {
            *quoting = quoting.split_off(&next);
            !quoting.is_empty()
        });
        self.waiting -= forgotten.values().map(ShownMessage::waiting).sum::<usize>();
    }

    /// Removes the excerpts of a recalled message from its quotes.
    fn hide_quotes(&mut self, of: MessageId) {
        for quoting in self.quoting.get(&of).into_iter().flatten() {
            if let Some(message) = self.messages.get_mut(quoting) {
                message.hide_quote(of);
            }
        }
    }

    fn update(&mut self, id: MessageId, change: impl FnOnce(&mut ShownMessage) -> bool) -> Option<MessageId> {
        if self.horizon.is_some_and(|horizon| id <= horizon) {
            return None;
        }
        let message = self.messages.entry(id).or_insert_with(|| ShownMessage::new(id));
        let before = message.waiting();
        let changed = change(message);
        let (after, has_come) = (message.waiting(), message.has_come());
        let (quotes, is_recalled) = (message.quotes(), message.recalled().is_some());
        self.waiting = self.waiting - before + after;
        if has_come {
            self.awaited.remove(&id);
        } else {
            self.awaited.insert(id);
        }
        if let Some(quoted) = quotes {
            self.quoting.entry(quoted).or_default().insert(id);
            let is_gone = self.messages.get(&quoted).is_some_and(|quoted| quoted.recalled().is_some());
            if is_gone && let Some(message) = self.messages.get_mut(&id) {
                message.hide_quote(quoted);
            }
        }
        if is_recalled && changed {
            self.hide_quotes(id);
        }
        while self.waiting > self.most_waiting
            && let Some(oldest) = self.awaited.first()
        {
            self.forget_through(*oldest);
        }
        (changed && has_come).then_some(id)
    }
}
