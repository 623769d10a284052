//! Changing messages that were sent before.

use crate::{ChangeKind, Client, Content, MessageRef, PublishError, Published, SendError};

/// Each is sent like a message; once the back end has taken it, it comes to all devices, this one too.
#[uniffi::export]
impl Client {
    /// Changes a message: recalls it, edits it, deletes it for this user, reacts to it or pins it.
    ///
    /// # Errors
    /// [`SendError`]: it was not taken, and nothing will be sent. The same for those below.
    pub async fn change(&self, message: MessageRef, kind: ChangeKind) -> Result<u64, SendError> {
        Ok(self.inner.change(&message.parse()?, kind.parse()?).await?.as_u64())
    }

    /// The same, and waits until the back end has taken it.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    pub async fn publish_change(
        &self,
        message: MessageRef,
        kind: ChangeKind,
    ) -> Result<Published, PublishError> {
        let message = message.parse()?;
        let change = message.change(kind.parse()?);
        Ok(self.inner.publish(message.conversation, change).await?.into())
    }

    /// Nobody is to see the message any more.
    ///
    /// # Errors
    /// As `change`.
    pub async fn recall(&self, message: MessageRef) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Recall).await
    }

    /// The message says something else from now on.
    ///
    /// # Errors
    /// As `change`.
    pub async fn edit(&self, message: MessageRef, content: Content) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Edit { content: Box::new(content) }).await
    }

    /// This user does not want to see the message any more, on any device. Others see it as before.
    ///
    /// # Errors
    /// As `change`.
    pub async fn delete_for_me(&self, message: MessageRef) -> Result<u64, SendError> {
        self.change(message, ChangeKind::DeleteForMe).await
    }

    /// Adds this user's reaction.
    ///
    /// # Errors
    /// As `change`.
    pub async fn react(&self, message: MessageRef, emoji: String) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Reaction { emoji, removed: false }).await
    }

    /// Takes this user's reaction back.
    ///
    /// # Errors
    /// As `change`.
    pub async fn unreact(&self, message: MessageRef, emoji: String) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Reaction { emoji, removed: true }).await
    }

    /// Keeps the message in view, for everybody in the conversation.
    ///
    /// # Errors
    /// As `change`.
    pub async fn pin(&self, message: MessageRef) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Pin { removed: false }).await
    }

    /// Lets it go again.
    ///
    /// # Errors
    /// As `change`.
    pub async fn unpin(&self, message: MessageRef) -> Result<u64, SendError> {
        self.change(message, ChangeKind::Pin { removed: true }).await
    }
}
