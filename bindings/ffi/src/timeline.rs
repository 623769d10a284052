//! Messages with their changes applied.

use std::sync::{Mutex, PoisonError};

use im_sdk::{
    id::{ChannelId, MessageId, UserId},
    timeline as sdk,
};

use crate::{Content, InvalidContent, ReceivedMessage};

/// Takes messages and changes in any order and any number of times, and returns the messages to show.
#[derive(Debug, uniffi::Object)]
pub struct Timeline {
    inner: Mutex<sdk::Timeline>,
}

#[uniffi::export]
impl Timeline {
    /// Creates an empty timeline for this user.
    ///
    /// # Errors
    /// [`InvalidContent`]: the user id is not valid.
    #[uniffi::constructor]
    pub fn new(user: String) -> Result<Self, InvalidContent> {
        Ok(Self { inner: Mutex::new(sdk::Timeline::new(UserId::parse(&user)?)) })
    }

    /// Takes a message from an event or from history. Returns the id of the message that looks different now.
    ///
    /// # Errors
    /// [`InvalidContent`]: an id or the content is not valid, unlike in a received message.
    pub fn apply(&self, message: ReceivedMessage) -> Result<Option<u64>, InvalidContent> {
        let from = message.from_user.map(|user| UserId::parse(&user)).transpose()?;
        let id = crate::content::message_id(message.id)?;
        let content = message.content.parse()?;
        let channel = message.channel.map(|channel| ChannelId::parse(&channel)).transpose()?;
        let entry = sdk::Entry::new(id, from.as_ref(), &content);
        let entry = match message.position {
            Some(position) => entry.at(channel.as_ref(), position.seq),
            None => entry,
        };
        let changed = self.lock().apply(entry);
        Ok(changed.map(MessageId::as_u64))
    }

    /// Returns a message, if it has arrived.
    pub fn get(&self, id: u64) -> Option<ShownMessage> {
        self.lock().get(MessageId::from_u64(id)?).map(ShownMessage::from)
    }

    /// Returns all messages that have arrived, in the order of their log.
    pub fn messages(&self) -> Vec<ShownMessage> {
        self.lock().messages().map(ShownMessage::from).collect()
    }

    /// Returns the number of changes that wait for messages that have not arrived.
    pub fn waiting(&self) -> u64 {
        self.lock().waiting() as u64
    }

    /// Returns the message up to which messages are forgotten and ignored. None: there is no such limit.
    pub fn horizon(&self) -> Option<u64> {
        self.lock().horizon().map(MessageId::as_u64)
    }

    /// Forgets messages up to this one, and their changes.
    pub fn forget_through(&self, id: u64) {
        if let Some(id) = MessageId::from_u64(id) {
            self.lock().forget_through(id);
        }
    }
}

impl Timeline {
    fn lock(&self) -> std::sync::MutexGuard<'_, sdk::Timeline> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message to show.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ShownMessage {
    /// Its id.
    pub id: u64,
    /// The sender. None: the back end itself.
    pub from_user: Option<String>,
    /// Its content, with its last edit applied. None: it was recalled or deleted.
    pub content: Option<Content>,
    /// Set if its content was edited.
    pub edited: bool,
    /// Set if it was recalled.
    pub recalled: bool,
    /// The user that recalled it. None: the back end itself.
    pub recalled_by: Option<String>,
    /// Set if the user has deleted it: do not show it.
    pub deleted: bool,
    /// Set if it is pinned.
    pub pinned: bool,
    /// The reactions to it.
    pub reactions: Vec<Reaction>,
}

/// The users who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The users, at least one. An empty name stands for the back end itself.
    pub users: Vec<String>,
}

impl From<&sdk::ShownMessage> for ShownMessage {
    fn from(message: &sdk::ShownMessage) -> Self {
        let recalled_by = message.recalled().and_then(|recalled| recalled.by.as_ref());
        Self {
            id: message.id().as_u64(),
            from_user: message.from().map(ToString::to_string),
            content: message.content().cloned().map(Content::from),
            edited: message.is_edited(),
            recalled: message.recalled().is_some(),
            recalled_by: recalled_by.map(ToString::to_string),
            deleted: message.is_deleted(),
            pinned: message.is_pinned(),
            reactions: message.reactions().into_iter().map(Reaction::from).collect(),
        }
    }
}

impl From<sdk::Reaction<'_>> for Reaction {
    fn from(reaction: sdk::Reaction<'_>) -> Self {
        let name = |user: Option<&UserId>| user.map(ToString::to_string).unwrap_or_default();
        Self { emoji: reaction.emoji.to_owned(), users: reaction.users.into_iter().map(name).collect() }
    }
}
