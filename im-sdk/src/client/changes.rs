//! Changing messages that were sent before.

use super::{Client, ReceivedMessage, SendRequest};
use crate::{
    Recipient,
    content::{Change, ChangeKind, Content, ForwardSource, ForwardedEntry, Quote},
    id::{MessageId, UserId},
};

/// The position of a message, by which the backend finds it. [`ReceivedMessage::reference`] makes it, also for entries of
/// history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MessageRef {
    /// The conversation: a channel, or the other user. The user itself if there is no other.
    pub conversation: Recipient,
    /// The message.
    pub id: MessageId,
    /// Its seq in this user's log of the conversation.
    pub seq: u64,
}

impl MessageRef {
    /// Makes a reference from its parts, for an application that has stored them.
    pub fn new(conversation: impl Into<Recipient>, id: MessageId, seq: u64) -> Self {
        Self { conversation: conversation.into(), id, seq }
    }
}

impl ReceivedMessage {
    /// Returns the reference by which to change the message. `me` is the user of this device, as
    /// [`Event::Connected`](crate::client::Event::Connected) names it. `None` if the message is in no log and
    /// cannot be changed.
    pub fn reference(&self, me: &UserId) -> Option<MessageRef> {
        let seq = self.position.as_ref()?.seq;
        let other = if self.from.as_ref() == Some(me) { &self.to } else { &self.from };
        let conversation = match &self.channel {
            Some(channel) => Recipient::Channel(channel.clone()),
            None => Recipient::User(other.as_ref().unwrap_or(me).clone()),
        };
        Some(MessageRef { conversation, id: self.id, seq })
    }
}

impl ReceivedMessage {
    /// Quotes the message, for a message to the same conversation. The backend can verify the quote unless the message is in no
    /// log.
    pub fn quote(&self) -> Quote {
        let seq = self.position.as_ref().map_or(0, |position| position.seq);
        Quote { seq, ..Quote::new(self.id, self.from.clone(), &self.content) }
    }

    /// Makes an entry of a [`Forwarded`](crate::content::Forwarded). The backend can verify it unless the message is in no log.
    pub fn forward(&self) -> ForwardedEntry {
        let source = self.position.as_ref().map(|position| {
            let (seq, channel) = (position.seq, self.channel.clone());
            ForwardSource { message_id: self.id, seq, channel }
        });
        ForwardedEntry { source, ..ForwardedEntry::new(self.id, self.from.clone(), self.content.clone()) }
    }
}

impl MessageRef {
    /// Quotes the message, as [`ReceivedMessage::quote`] does.
    pub fn quote(&self, from: Option<UserId>, content: &Content) -> Quote {
        Quote { seq: self.seq, ..Quote::new(self.id, from, content) }
    }
}

/// Each change is [sent](Client::send) like a message: awaiting it returns a [`SendHandle`](super::SendHandle), and
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

impl MessageRef {
    /// Returns the content of a change, as the backend expects it.
    pub fn change(&self, kind: ChangeKind) -> Content {
        Change { seq: self.seq, ..Change::new(self.id, kind) }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Transport,
        client::{Log, Position},
        id::ChannelId,
    };

    fn received(from: Option<&str>, to: Option<&str>, channel: Option<&str>, seq: u64) -> ReceivedMessage {
        let user = |name: &str| UserId::parse(name).unwrap();
        let id = MessageId::from_u64(7).unwrap();
        ReceivedMessage {
            id,
            from: from.map(user),
            to: to.map(user),
            channel: channel.map(|name| ChannelId::parse(name).unwrap()),
            content: Content::text("hi"),
            local_id: None,
            transport: Transport::Quic,
            position: (seq > 0).then_some(Position { log: Log::Inbox, seq, id: Some(id) }),
        }
    }

    #[test]
    fn a_reference_names_the_conversation() {
        let me = UserId::parse("me").unwrap();
        let conversation = |from, to, channel| {
            received(from, to, channel, 3).reference(&me).unwrap().conversation.to_string()
        };
        assert_eq!(conversation(Some("bob"), Some("me"), None), "bob");
        assert_eq!(conversation(Some("me"), Some("bob"), None), "bob");
        assert_eq!(conversation(Some("me"), Some("me"), None), "me");
        assert_eq!(conversation(Some("bob"), None, None), "bob", "one of several");
        assert_eq!(conversation(Some("me"), None, None), "me", "to several");
        assert_eq!(conversation(None, Some("me"), None), "me", "from the back end");
        assert_eq!(conversation(Some("bob"), None, Some("team")), "channel team");
        assert_eq!(received(Some("bob"), Some("me"), None, 0).reference(&me), None);
    }
}
