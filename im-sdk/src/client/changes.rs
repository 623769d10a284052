//! Changing messages that were sent before.

use super::{Client, LocalId, ReceivedMessage, SendError};
use crate::{
    Content, Recipient,
    content::{Change, ChangeKind, ForwardSource, ForwardedEntry, Quote},
    id::{MessageId, UserId},
};

/// Where a message is, so that the back end finds it: made by [`ReceivedMessage::reference`], also of entries of history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MessageRef {
    /// The conversation: a channel, or the other user. Oneself, where there is no other.
    pub conversation: Recipient,
    /// The message.
    pub id: MessageId,
    /// Its place in this user's log of the conversation.
    pub seq: u64,
}

impl MessageRef {
    /// A message that the application has stored the parts of.
    pub fn new(conversation: impl Into<Recipient>, id: MessageId, seq: u64) -> Self {
        Self { conversation: conversation.into(), id, seq }
    }
}

impl ReceivedMessage {
    /// What to name the message by, to change it. `me` is the user whose device this is, as
    /// [`Event::Connected`](crate::client::Event::Connected) tells. `None`: it is in no log and cannot be changed.
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
    /// A quote of it, for a message into the same conversation, that the back end can verify. Of a message that is in no log it
    /// cannot.
    pub fn quote(&self) -> Quote {
        let seq = self.position.as_ref().map_or(0, |position| position.seq);
        Quote { seq, ..Quote::new(self.id, self.from.clone(), &self.content) }
    }

    /// The message as an entry of a [`Forwarded`](crate::content::Forwarded), that the back end can verify. Of a message that is
    /// in no log it cannot.
    pub fn forward(&self) -> ForwardedEntry {
        let source = self.position.as_ref().map(|position| {
            let (seq, channel) = (position.seq, self.channel.clone());
            ForwardSource { message_id: self.id, seq, channel }
        });
        ForwardedEntry { source, ..ForwardedEntry::new(self.id, self.from.clone(), self.content.clone()) }
    }
}

impl MessageRef {
    /// A quote of the message, as [`ReceivedMessage::quote`] makes it.
    pub fn quote(&self, from: Option<UserId>, content: &Content) -> Quote {
        Quote { seq: self.seq, ..Quote::new(self.id, from, content) }
    }
}

/// Each is [sent](Client::send) like a message: it is saved, sent until it is answered, and
/// [`Event::PublishFailed`](crate::client::Event::PublishFailed) tells when the back end does not allow it. Once it is taken it
/// comes to all devices, this one too, as a [`Body::Change`](crate::content::Body::Change), for a
/// [`Timeline`](crate::timeline::Timeline) to apply.
impl Client {
    /// Nobody is to see the message any more.
    ///
    /// # Errors
    /// [`SendError`]: it was not taken, and nothing will be sent. The same for those below.
    pub async fn recall(&self, message: &MessageRef) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Recall).await
    }

    /// The message says something else from now on.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn edit(
        &self,
        message: &MessageRef,
        content: impl Into<Content>,
    ) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Edit(Box::new(content.into()))).await
    }

    /// This user does not want to see the message any more, on any device. Others see it as before.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn delete_for_me(&self, message: &MessageRef) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::DeleteForMe).await
    }

    /// Adds this user's reaction.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn react(&self, message: &MessageRef, emoji: &str) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Reaction { emoji: emoji.to_owned(), removed: false }).await
    }

    /// Takes this user's reaction back.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn unreact(&self, message: &MessageRef, emoji: &str) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Reaction { emoji: emoji.to_owned(), removed: true }).await
    }

    /// Keeps the message in view, for everybody in the conversation.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn pin(&self, message: &MessageRef) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Pin { removed: false }).await
    }

    /// Lets it go again.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn unpin(&self, message: &MessageRef) -> Result<LocalId, SendError> {
        self.change(message, ChangeKind::Pin { removed: true }).await
    }

    /// Any change.
    ///
    /// # Errors
    /// As [`Client::recall`].
    pub async fn change(&self, message: &MessageRef, kind: ChangeKind) -> Result<LocalId, SendError> {
        self.send(message.conversation.clone(), message.change(kind)).await
    }
}

impl MessageRef {
    /// A change as the back end wants it, for those who [publish](Client::publish) it and wait.
    pub fn change(&self, kind: ChangeKind) -> Content {
        Change { seq: self.seq, ..Change::new(self.id, kind) }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Log, Position, Transport},
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
