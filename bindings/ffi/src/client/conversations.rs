//! Conversations of the user: the list, marks and readers.

use std::sync::Arc;

use im_sdk::id::UserId;

use crate::{
    Client, ConversationChange, ConversationList, ConversationPage, InvalidContent, MarkError, Position,
    Readers, Recipient, RequestError,
};

#[uniffi::export]
impl Client {
    /// Returns the user's conversations from `skip` on: pinned ones first, then by their last messages. `limit` 0 is as many as the
    /// back end likes to send; it may always send fewer than asked for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations(&self, skip: u32, limit: u32) -> Result<ConversationPage, RequestError> {
        Ok(self.inner.conversations(skip, limit).await?.into())
    }

    /// Tells who has read a message of a channel, by its place: how many, and up to `limit` names.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn readers(&self, channel: String, seq: u64, limit: u32) -> Result<Readers, RequestError> {
        Ok(self.inner.readers(channel, seq, limit).await?.into())
    }

    /// Everything in a conversation up to a position, as it came with its last message, was read. Returns at once;
    /// `ConversationsChanged` tells when it stands.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn mark_read(&self, conversation: Recipient, position: Position) -> Result<(), MarkError> {
        let invalid = || MarkError::InvalidId { reason: "the position names no log".to_owned() };
        let position = position.parse().ok_or_else(invalid)?;
        Ok(self.inner.mark_read(conversation.parse()?, &position).await?)
    }

    /// Pins, mutes, hides or deletes a conversation, or keeps a draft. Returns at once, as `mark_read` does.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn set_conversation(
        &self,
        conversation: Recipient,
        change: ConversationChange,
    ) -> Result<(), MarkError> {
        Ok(self.inner.set_conversation(conversation.parse()?, change.parse()).await?)
    }

    /// A list of the conversations of this client's user. Ask for it before events are taken.
    ///
    /// # Errors
    /// [`InvalidContent`]: that is no user id.
    pub fn conversation_list(&self, user: String) -> Result<Arc<ConversationList>, InvalidContent> {
        let list = Arc::new(ConversationList::new(UserId::parse(&user)?));
        self.lists.add(&list);
        Ok(list)
    }
}
