//! Received messages, and references to them.

use super::{LocalId, Position};
use crate::{
    Recipient, Transport,
    content::{Change, ChangeKind, Content, ForwardSource, ForwardedEntry, Quote},
    id::{ChannelId, MessageId, UserId},
};

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The id of the message.
    pub id: MessageId,
    /// The sender. `None` for the backend itself.
    pub from: Option<UserId>,
    /// The addressed user. `None` if it is this user as one of several, or as a member of `channel`.
    pub to: Option<UserId>,
    /// The channel that it was sent to.
    pub channel: Option<ChannelId>,
    /// The content.
    pub content: Content,
    /// The id of the [send](crate::client::SendHandle::local_id), if this device has sent the message, even before a restart. By
    /// it the application finds the message that it shows as pending. `None` if the message is from another device or the
    /// backend, or passed a server or backend of an earlier version.
    pub local_id: Option<LocalId>,
    /// The transport that the message came over.
    pub transport: Transport,
    /// The position in a log, to [acknowledge](crate::client::Client::ack). `None` if the message is in no log; a
    /// device that misses it does not get it later.
    pub position: Option<Position>,
}

impl<'a> From<&'a ReceivedMessage> for crate::timeline::Entry<'a> {
    fn from(message: &'a ReceivedMessage) -> Self {
        let entry = Self::new(message.id, message.from.as_ref(), &message.content);
        let channel = message.channel.as_ref();
        message.position.as_ref().map_or(entry, |position| entry.at(channel, position.seq))
    }
}

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
