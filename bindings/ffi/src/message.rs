//! Received and sent messages, and their positions.

use im_sdk::{
    Recipient, client as sdk,
    content::ForwardSource,
    id::{ChannelId, InvalidId, MessageId, UserId},
};

use crate::{Content, ForwardedEntry, InvalidContent, Quote};

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReceivedMessage {
    /// Its id: 63 bits, unique, roughly in order of time.
    pub id: u64,
    /// The sender. None: the back end itself.
    pub from_user: Option<String>,
    /// The user that it is addressed to. None: this user, as one of several or as a member of `channel`.
    pub to_user: Option<String>,
    /// The channel that it was sent to.
    pub channel: Option<String>,
    /// Its content.
    pub content: Content,
    /// The id of the send, if this device has sent the message, even before a restart.
    pub local_id: Option<u64>,
    /// The transport that it came over.
    pub transport: Transport,
    /// Its position in a log, to acknowledge. None: it is in no log.
    pub position: Option<Position>,
}

/// A reference to a message, by which it is changed: the user or the channel, as in a send, and its position in
/// the log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MessageRef {
    /// The other user of the conversation, or the own user if there is no other. None: the message is in a
    /// channel.
    pub to_user: Option<String>,
    /// The channel. None: the message is between users.
    pub to_channel: Option<String>,
    /// The message.
    pub id: u64,
    /// Its position in this user's log of the conversation.
    pub seq: u64,
}

/// Returns the reference of a received message, or none if it is in no log and cannot be changed. `me` is the user of this
/// device.
#[uniffi::export]
pub fn message_ref(message: ReceivedMessage, me: String) -> Option<MessageRef> {
    let seq = message.position?.seq;
    let other = if message.from_user.as_ref() == Some(&me) { message.to_user } else { message.from_user };
    let to_user = message.channel.is_none().then(|| other.unwrap_or(me));
    Some(MessageRef { to_user, to_channel: message.channel, id: message.id, seq })
}

/// Returns a quote of a received message for a message into the same conversation. The back end can verify it, unless the message
/// is in no log.
///
/// # Errors
/// [`InvalidContent`]: an id or the content is not valid, unlike in a received message.
#[uniffi::export]
pub fn quote_message(message: ReceivedMessage) -> Result<Quote, InvalidContent> {
    let from = message.from_user.map(|user| UserId::parse(&user)).transpose()?;
    let (id, content) = (crate::content::message_id(message.id)?, message.content.parse()?);
    let mut quote = im_sdk::content::Quote::new(id, from, &content);
    quote.seq = message.position.map_or(0, |position| position.seq);
    Ok(quote.into())
}

/// Returns a received message as an entry of a bundle of forwarded messages. The back end can verify it, unless the message is in
/// no log.
///
/// # Errors
/// [`InvalidContent`]: an id or the content is not valid, unlike in a received message.
#[uniffi::export]
pub fn forward_message(message: ReceivedMessage) -> Result<ForwardedEntry, InvalidContent> {
    let from = message.from_user.map(|user| UserId::parse(&user)).transpose()?;
    let (id, content) = (crate::content::message_id(message.id)?, message.content.parse()?);
    let mut entry = im_sdk::content::ForwardedEntry::new(id, from, content);
    let channel = message.channel.map(|channel| ChannelId::parse(&channel)).transpose()?;
    let source = |position: Position| ForwardSource { message_id: id, seq: position.seq, channel };
    entry.source = message.position.map(source);
    Ok(entry.into())
}

/// Returns the time at which a message was sent, from its id, in milliseconds since the Unix epoch. None: the
/// id is not valid.
#[uniffi::export]
pub fn message_unix_ms(id: u64) -> Option<u64> {
    Some(MessageId::from_u64(id)?.unix_ms())
}

impl MessageRef {
    pub(crate) fn parse(self) -> Result<sdk::MessageRef, InvalidId> {
        let conversation = match (self.to_channel, self.to_user) {
            (Some(channel), _) => Recipient::Channel(ChannelId::parse(&channel)?),
            (None, user) => Recipient::User(UserId::parse(&user.unwrap_or_default())?),
        };
        Ok(sdk::MessageRef::new(conversation, crate::content::message_id(self.id)?, self.seq))
    }
}

/// A position in a log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Position {
    /// The channel; empty for the user's inbox.
    pub channel: String,
    /// The number of the entry, from 1 without gaps. 0: before the first entry.
    pub seq: u64,
    /// The message at this position, if known.
    pub id: Option<u64>,
}

/// The reason why a log continues at another position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ResetReason {
    /// The device did not follow the log before.
    New,
    /// The log no longer contains the entries after the device's position.
    Trimmed,
    /// The log was rolled back.
    Forked,
    /// The user is not a member of the channel any more. The device has stopped following the log.
    Left,
}

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Transport {
    /// QUIC.
    Quic,
    /// WebSocket.
    WebSocket,
}

impl Position {
    pub(crate) fn parse(self) -> Option<sdk::Position> {
        let log = sdk::Log::parse(&self.channel).ok()?;
        Some(sdk::Position { log, seq: self.seq, id: self.id.and_then(MessageId::from_u64) })
    }
}

impl From<sdk::Position> for Position {
    fn from(position: sdk::Position) -> Self {
        Self {
            channel: position.log.as_str().to_owned(),
            seq: position.seq,
            id: position.id.map(|id| id.as_u64()),
        }
    }
}

impl From<sdk::ResetReason> for ResetReason {
    fn from(reason: sdk::ResetReason) -> Self {
        match reason {
            sdk::ResetReason::New => Self::New,
            sdk::ResetReason::Forked => Self::Forked,
            sdk::ResetReason::Left => Self::Left,
            _ => Self::Trimmed,
        }
    }
}

impl From<sdk::ReceivedMessage> for ReceivedMessage {
    fn from(message: sdk::ReceivedMessage) -> Self {
        Self {
            id: message.id.as_u64(),
            from_user: message.from.map(|user| user.to_string()),
            to_user: message.to.map(|user| user.to_string()),
            channel: message.channel.map(|channel| channel.to_string()),
            content: message.content.into(),
            local_id: message.local_id.map(|id| id.as_u64()),
            transport: message.transport.into(),
            position: message.position.map(Position::from),
        }
    }
}

impl From<im_sdk::Transport> for Transport {
    fn from(transport: im_sdk::Transport) -> Self {
        match transport {
            im_sdk::Transport::Quic => Self::Quic,
            im_sdk::Transport::WebSocket => Self::WebSocket,
        }
    }
}
