//! Changes of messages that were sent before.

use super::{Client, SendRequest};
use crate::{
    client::MessageRef,
    content::{ChangeKind, Content},
};

/// Each change is [sent](Client::send) like a message: awaiting it returns a [`SendHandle`](crate::client::SendHandle), and
/// [`Event::PublishFailed`](crate::client::Event::PublishFailed) reports a change that the backend does not allow. An accepted
/// change comes to all devices, including this one, as a [`Body::Change`](crate::content::Body::Change), for a
/// [`Timeline`](crate::timeline::Timeline) to apply.
///
/// ```no_run
/// # use im_sdk::{client::{Client, ReceivedMessage}, id::UserId};
/// # async fn example(client: Client, received: ReceivedMessage) -> Result<(), Box<dyn std::error::Error>> {
/// let me = UserId::parse("alice")?;
/// let message = received.reference(&me).ok_or("the message is in no log")?;
/// client.react(&message, "🎉").await?;
/// client.edit(&message, "lunch at one?").await?;
/// client.recall(&message).outcome().await?; // waits until the backend has allowed it
/// # Ok(())
/// # }
/// ```
impl Client {
    /// Recalls the message: nobody can see its content any more.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.recall(&message).outcome().await?; // waits until the backend has allowed it
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Client::send`], for this and the methods below.
    pub fn recall(&self, message: &MessageRef) -> SendRequest {
        self.change(message, ChangeKind::Recall)
    }

    /// Replaces the message's content.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.edit(&message, "lunch at one?").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn edit(&self, message: &MessageRef, content: impl Into<Content>) -> SendRequest {
        self.change(message, ChangeKind::Edit(Box::new(content.into())))
    }

    /// Removes the message from all devices of this user. Others see it as before.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.delete_for_me(&message).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_for_me(&self, message: &MessageRef) -> SendRequest {
        self.change(message, ChangeKind::DeleteForMe)
    }

    /// Adds this user's reaction.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.react(&message, "🎉").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn react(&self, message: &MessageRef, emoji: &str) -> SendRequest {
        self.change(message, ChangeKind::Reaction { emoji: emoji.to_owned(), removed: false })
    }

    /// Removes this user's reaction.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.unreact(&message, "🎉").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unreact(&self, message: &MessageRef, emoji: &str) -> SendRequest {
        self.change(message, ChangeKind::Reaction { emoji: emoji.to_owned(), removed: true })
    }

    /// Pins the message, for everybody in the conversation.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.pin(&message).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pin(&self, message: &MessageRef) -> SendRequest {
        self.change(message, ChangeKind::Pin { removed: false })
    }

    /// Unpins the message.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.unpin(&message).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unpin(&self, message: &MessageRef) -> SendRequest {
        self.change(message, ChangeKind::Pin { removed: true })
    }

    /// Makes a change of any kind.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, MessageRef};
    /// use im_sdk::content::ChangeKind;
    ///
    /// # async fn example(client: Client, message: MessageRef) -> Result<(), Box<dyn std::error::Error>> {
    /// client.change(&message, ChangeKind::Pin { removed: false }).await?; // what `pin` does
    /// # Ok(())
    /// # }
    /// ```
    pub fn change(&self, message: &MessageRef, kind: ChangeKind) -> SendRequest {
        self.send(message.conversation.clone(), message.change(kind))
    }
}
