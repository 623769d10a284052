//! The user's conversations: the list, marks and readers.

use std::sync::Arc;

use im_sdk::id::UserId;

use crate::{
    Client, ConversationChange, ConversationList, ConversationPage, InvalidContent, MarkError, Position,
    Readers, Recipient, RequestError,
};

#[uniffi::export]
impl Client {
    /// Lists the user's conversations from `skip` on: pinned ones first, then by their last messages. `limit` 0 leaves the number
    /// to the back end, which may always send fewer than requested.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations(&self, skip: u32, limit: u32) -> Result<ConversationPage, RequestError> {
        Ok(self.inner.conversations(skip, limit).await?.into())
    }

    /// Returns the readers of the message at a position of a channel: their number, and up to `limit` names.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn readers(&self, channel: String, seq: u64, limit: u32) -> Result<Readers, RequestError> {
        Ok(self.inner.readers(channel, seq, limit).await?.into())
    }

    /// Marks a conversation as read up to a position, which came with its last message. Returns at once;
    /// `ConversationsChanged` reports that the mark was set.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn mark_read(&self, conversation: Recipient, position: Position) -> Result<(), MarkError> {
        let invalid = || MarkError::InvalidId { reason: "the position names no log".to_owned() };
        let position = position.parse().ok_or_else(invalid)?;
        Ok(self.inner.mark_read(conversation.parse()?, &position).await?)
    }

    /// Pins, mutes, hides or deletes a conversation, or saves a draft. Returns at once, as `mark_read` does.
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

    /// Creates a list of the conversations of this client's user. Call this before events are taken.
    ///
    /// # Errors
    /// [`InvalidContent`]: the user id is not valid.
    pub fn conversation_list(&self, user: String) -> Result<Arc<ConversationList>, InvalidContent> {
        let list = Arc::new(ConversationList::new(UserId::parse(&user)?));
        self.lists.add(&list);
        Ok(list)
    }
}
