//! Changes of messages that were sent before.

use std::sync::Arc;

use crate::{
    ChangeKind, Client, Content, MessageRef, PublishError, Published, SendError, SendHandle, client::limited,
};

/// Each change is sent like a message. Once the back end has accepted it, it comes to all devices, including
/// this one.
#[uniffi::export]
impl Client {
    /// Changes a message: recalls it, edits it, deletes it for this user, reacts to it or pins it. With `within_ms` the client
    /// gives up after that time.
    ///
    /// # Errors
    /// [`SendError`], here and below: the change was not accepted, and will not be sent.
    #[uniffi::method(default(within_ms = None))]
    pub async fn change(
        &self,
        message: MessageRef,
        kind: ChangeKind,
        within_ms: Option<u64>,
    ) -> Result<Arc<SendHandle>, SendError> {
        let request = self.inner.change(&message.parse()?, kind.parse()?);
        Ok(SendHandle::new(limited(request, within_ms).await?))
    }

    /// Changes a message and waits until the back end has accepted the change, as `send_and_wait` does.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    #[uniffi::method(default(within_ms = None))]
    pub async fn change_and_wait(
        &self,
        message: MessageRef,
        kind: ChangeKind,
        within_ms: Option<u64>,
    ) -> Result<Published, PublishError> {
        let request = self.inner.change(&message.parse()?, kind.parse()?);
        Ok(limited(request, within_ms).outcome().await?.into())
    }

    /// Recalls the message: nobody can see its content any more.
    ///
    /// # Errors
    /// As `change`.
    pub async fn recall(&self, message: MessageRef) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Recall, None).await
    }

    /// Replaces the message's content.
    ///
    /// # Errors
    /// As `change`.
    pub async fn edit(&self, message: MessageRef, content: Content) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Edit { content: Box::new(content) }, None).await
    }

    /// Removes the message from all devices of this user. Others see it as before.
    ///
    /// # Errors
    /// As `change`.
    pub async fn delete_for_me(&self, message: MessageRef) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::DeleteForMe, None).await
    }

    /// Adds this user's reaction.
    ///
    /// # Errors
    /// As `change`.
    pub async fn react(&self, message: MessageRef, emoji: String) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Reaction { emoji, removed: false }, None).await
    }

    /// Removes this user's reaction.
    ///
    /// # Errors
    /// As `change`.
    pub async fn unreact(&self, message: MessageRef, emoji: String) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Reaction { emoji, removed: true }, None).await
    }

    /// Pins the message, for everybody in the conversation.
    ///
    /// # Errors
    /// As `change`.
    pub async fn pin(&self, message: MessageRef) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Pin { removed: false }, None).await
    }

    /// Unpins the message.
    ///
    /// # Errors
    /// As `change`.
    pub async fn unpin(&self, message: MessageRef) -> Result<Arc<SendHandle>, SendError> {
        self.change(message, ChangeKind::Pin { removed: true }, None).await
    }
}
