//! Messages with their changes applied.

use std::sync::{Mutex, PoisonError};

use im_sdk::{
    id::{ChannelId, MessageId, UserId},
    timeline as sdk,
};

use crate::{Content, InvalidContent, ReceivedMessage};

/// Takes messages and changes as they come, in any order and any number of times, and says what is to be shown.
#[derive(Debug, uniffi::Object)]
pub struct Timeline {
    inner: Mutex<sdk::Timeline>,
}

#[uniffi::export]
impl Timeline {
    /// Nothing to show to this user so far.
    ///
    /// # Errors
    /// [`InvalidContent`]: that is no user id.
    #[uniffi::constructor]
    pub fn new(user: String) -> Result<Self, InvalidContent> {
        Ok(Self { inner: Mutex::new(sdk::Timeline::new(UserId::parse(&user)?)) })
    }

    /// Takes a message, of an event or of history. Returns the id of the one that looks different now.
    ///
    /// # Errors
    /// [`InvalidContent`]: it was not received like this.
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

    /// A message, if it has come.
    pub fn get(&self, id: u64) -> Option<ShownMessage> {
        self.lock().get(MessageId::from_u64(id)?).map(ShownMessage::from)
    }

    /// All messages that have come, in the order of their log.
    pub fn messages(&self) -> Vec<ShownMessage> {
        self.lock().messages().map(ShownMessage::from).collect()
    }

    /// Returns how many changes wait for messages that have not come.
    pub fn waiting(&self) -> u64 {
        self.lock().waiting() as u64
    }

    /// Messages up to this one are forgotten, and are not taken any more. None: none are.
    pub fn horizon(&self) -> Option<u64> {
        self.lock().horizon().map(MessageId::as_u64)
    }

    /// Forgets messages up to this one, and what was done to them.
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

/// A message as it is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ShownMessage {
    /// Its id.
    pub id: u64,
    /// The sender. None: the back end itself.
    pub from_user: Option<String>,
    /// Its content, after its last edit. None: it was recalled or deleted.
    pub content: Option<Content>,
    /// It says something else than at first.
    pub edited: bool,
    /// It was recalled: nobody is to see what it said.
    pub recalled: bool,
    /// The user that recalled it. None: the back end itself.
    pub recalled_by: Option<String>,
    /// The user does not want to see it: leave it out.
    pub deleted: bool,
    /// It is to be kept in view.
    pub pinned: bool,
    /// The reactions to it.
    pub reactions: Vec<Reaction>,
}

/// All who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The users, at least one; empty stands for the back end itself.
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
