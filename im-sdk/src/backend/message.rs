//! What is sent: a message, put together step by step.

use std::time::Duration;

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, fixed64},
    length_delimiter_len,
};

use super::check::{self, InvalidContent};
use crate::{
    Content, Recipient,
    cluster::Once,
    id::{ChannelId, InvalidId, MessageId, Terminal, UserId},
    proto::{frame, pb},
};

/// How well a message is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Kept nowhere: for typing notices and signalling. Who is not connected does not get it.
    Live,
    /// In the inboxes of its recipients and its sender, or in the channel's log, before the send is Ok. Devices get it
    /// when they connect.
    #[default]
    Logged,
    /// The same, and in the archive before the send is Ok, from where an [archiver](super::Im::archiver) brings it to a
    /// database. Needs a cluster with an archive.
    Archived,
}

/// What becomes of a message to a room for a device that reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// It is queued for every device. One that has no room for it is disconnected.
    #[default]
    Must,
    /// It is left out for devices whose queue is more than half full.
    Normal,
    /// It is left out for devices whose queue is more than an eighth full: likes, and whatever else there is much of.
    Low,
}

impl From<Priority> for pb::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Must => Self::Must,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// Whom a message is for. Made by [`user`], [`users`] and [`channel`].
#[derive(Clone, Debug)]
pub struct Target(To);

#[derive(Clone, Debug)]
enum To {
    Users(Result<Vec<UserId>, InvalidId>),
    Channel(Result<ChannelId, InvalidId>),
    Everyone,
}

impl Target {
    pub(super) fn channel(id: Result<ChannelId, InvalidId>) -> Self {
        Self(To::Channel(id))
    }

    pub(super) fn everyone() -> Self {
        Self(To::Everyone)
    }
}

/// One user.
///
/// An id that is not valid shows when the message is sent, as [`super::SendError::InvalidUser`].
pub fn user(id: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Target {
    Target(To::Users(id.try_into().map(|id| vec![id]).map_err(Into::into)))
}

/// Several users; who is named twice counts once.
pub fn users<I>(ids: impl IntoIterator<Item = I>) -> Target
where
    I: TryInto<UserId, Error: Into<InvalidId>>,
{
    Target(To::Users(ids.into_iter().map(|id| id.try_into().map_err(Into::into)).collect()))
}

/// The members of a group or room.
///
/// An id that is not valid shows when the message is sent, as [`super::SendError::InvalidChannel`].
pub fn channel(id: impl TryInto<ChannelId, Error = impl Into<InvalidId>>) -> Target {
    Target::channel(id.try_into().map_err(Into::into))
}

impl From<Recipient> for Target {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self(To::Users(Ok(vec![user]))),
            Recipient::Channel(channel) => Self::channel(Ok(channel)),
        }
    }
}

impl From<&Recipient> for Target {
    fn from(recipient: &Recipient) -> Self {
        recipient.clone().into()
    }
}

/// A message to be sent by [`super::Im::send`].
///
/// ```
/// use im_sdk::backend::{Message, user};
/// let message = Message::to(user("bob")).from("alice").text("hi").idempotency_key("order-17-paid");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message {
    /// `None`: as the back end is set.
    durability: Option<Durability>,
    idempotency_key: Option<String>,
    to: Target,
    from: Option<Result<UserId, InvalidId>>,
    content: Content,
    terminals: Vec<Terminal>,
    priority: Priority,
}

impl Message {
    /// A message for nobody, to be sent by [`super::Channel::send`].
    pub fn new() -> Self {
        Self::to(Target(To::Users(Ok(Vec::new()))))
    }

    /// A message for somebody, without a sender and without content so far.
    pub fn to(target: impl Into<Target>) -> Self {
        Self {
            durability: None,
            idempotency_key: None,
            to: target.into(),
            from: None,
            content: Content::default(),
            terminals: Vec::new(),
            priority: Priority::Must,
        }
    }

    /// The user that it comes from. Without, it comes from the back end itself.
    pub fn from(mut self, user: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Self {
        self.from = Some(user.try_into().map_err(Into::into));
        self
    }

    /// Plain text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::text(text))
    }

    /// Any content.
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// How well it is kept; [`super::ImConfig::default_durability`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Makes a repetition of this send return the first one's result, for 24 hours: two sends with one key have one
    /// effect. The same key with another message is [`super::SendError::Conflict`].
    ///
    /// The key is 1 to 128 printable ASCII characters; keys of different senders are different keys.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Only devices of these terminals get it. It must be [`Durability::Live`] then: a log has no holes.
    pub fn terminals(mut self, terminals: impl IntoIterator<Item = Terminal>) -> Self {
        self.terminals = terminals.into_iter().collect();
        self
    }

    /// What becomes of it for devices that read too slowly; [`Priority::Must`] unless set. Another one is for
    /// [`Durability::Live`] messages to a channel or to everybody alone: what is in a log must not be left out.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same with a durability if it has none.
    pub(super) fn or_durability(mut self, default: Durability) -> Self {
        self.durability.get_or_insert(default);
        self
    }

    /// The same for somebody else.
    pub(super) fn retarget(self, to: Target) -> Self {
        Self { to, ..self }
    }

    pub(super) fn has_sender(&self) -> bool {
        self.from.is_some()
    }

    /// Everything parsed, nothing left to go wrong.
    pub(super) fn prepare(self) -> Result<Prepared, InvalidMessage> {
        let everyone = matches!(self.to.0, To::Everyone);
        let (users, channel) = match self.to.0 {
            To::Users(users) => (dedup(users?), None),
            To::Channel(channel) => (Vec::new(), Some(channel.map_err(InvalidMessage::Channel)?)),
            To::Everyone => (Vec::new(), None),
        };
        if users.is_empty() && channel.is_none() && !everyone {
            return Err(InvalidMessage::NoRecipient);
        }
        let mut content = pb::Content::from(self.content);
        if check::is_empty(&content) {
            return Err(InvalidMessage::NoContent);
        }
        check::check(&content)?;
        let durability = self.durability.unwrap_or_default();
        let from = self.from.transpose()?;
        let change = change(&mut content);
        if change.is_some() && durability == Durability::Live {
            return Err(InvalidMessage::ChangeNeedsLog);
        }
        let is_for_me = change.as_ref().is_some_and(|change| is_for_me(change));
        if is_for_me && channel.is_some() {
            return Err(InvalidMessage::DeletionInChannel);
        }
        if let Some(change) = change {
            change.seq = 0;
            // From the back end itself, so that it belongs to their conversation all the same.
            let is_between = from.is_none() && !is_for_me && users.len() == 2;
            change.between = users.iter().filter(|_| is_between).map(ToString::to_string).collect();
        }
        if !self.terminals.is_empty() && durability != Durability::Live {
            return Err(InvalidMessage::TerminalsNeedLive);
        }
        if !self.terminals.is_empty() && (channel.is_some() || everyone) {
            return Err(InvalidMessage::TerminalsNeedUsers);
        }
        if everyone && durability != Durability::Live {
            return Err(InvalidMessage::EveryoneNeedsLive);
        }
        let may_shed = durability == Durability::Live && (channel.is_some() || everyone);
        if self.priority != Priority::Must && !may_shed {
            return Err(InvalidMessage::PriorityNeedsLive);
        }
        if self.idempotency_key.as_ref().is_some_and(|key| !is_key(key)) {
            return Err(InvalidMessage::Key);
        }
        Ok(Prepared {
            users,
            channel,
            is_for_me: is_for_me && from.is_some(),
            from,
            content,
            terminals: self.terminals,
            durability,
            priority: self.priority,
            idempotency_key: self.idempotency_key,
        })
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

/// How long an idempotency key is remembered.
const KEY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells one payload from another: the beginning of a SHA-256.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    let hash = context.finish();
    std::array::from_fn(|index| hash.as_ref()[index])
}

fn is_key(key: &str) -> bool {
    (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Keeps the first of each, in order.
fn dedup(mut users: Vec<UserId>) -> Vec<UserId> {
    if users.len() < 2 {
        return users;
    }
    let mut seen = std::collections::HashSet::with_capacity(users.len());
    users.retain(|user| seen.insert(user.clone()));
    users
}

#[derive(Debug, PartialEq)]
pub(super) enum InvalidMessage {
    User(InvalidId),
    Channel(InvalidId),
    NoRecipient,
    NoContent,
    TerminalsNeedLive,
    TerminalsNeedUsers,
    EveryoneNeedsLive,
    PriorityNeedsLive,
    Key,
    Content(InvalidContent),
    ChangeNeedsLog,
    DeletionInChannel,
}

impl From<InvalidContent> for InvalidMessage {
    fn from(error: InvalidContent) -> Self {
        Self::Content(error)
    }
}

fn change(content: &mut pb::Content) -> Option<&mut pb::Change> {
    match &mut content.body {
        Some(pb::content::Body::Change(change)) => Some(change),
        _ => None,
    }
}

fn is_for_me(change: &pb::Change) -> bool {
    matches!(change.what, Some(pb::change::What::DeleteForMe(_)))
}

impl From<InvalidId> for InvalidMessage {
    fn from(error: InvalidId) -> Self {
        Self::User(error)
    }
}

/// A message that is known to be valid.
#[derive(Debug)]
pub(super) struct Prepared {
    /// None where a channel is.
    pub(super) users: Vec<UserId>,
    pub(super) channel: Option<ChannelId>,
    pub(super) from: Option<UserId>,
    /// Nobody else learns of it: it is in the sender's inbox alone.
    pub(super) is_for_me: bool,
    content: pb::Content,
    terminals: Vec<Terminal>,
    pub(super) durability: Durability,
    pub(super) priority: Priority,
    pub(super) idempotency_key: Option<String>,
}

impl Prepared {
    /// Whether devices of this terminal get it.
    pub(super) fn wants(&self, terminal: Terminal) -> bool {
        self.terminals.is_empty() || self.terminals.contains(&terminal)
    }

    /// What makes a repetition with the same key one effect.
    pub(super) fn once(&self) -> Option<Once> {
        let key = self.idempotency_key.as_ref()?;
        let sender = self.from.as_ref().map_or("", |sender| sender.as_str());
        let content = self.content.encode_to_vec();
        let users = self.users.iter().flat_map(|user| [user.as_str().as_bytes(), b" "]);
        let digest = digest(users.chain([content.as_slice()]));
        Some(Once::Key { key: format!("{sender} {key}"), ttl: KEY_TTL, digest })
    }

    /// The message as it is logged and as devices get it, encoded once for all of them.
    pub(super) fn encode(&self, id: MessageId) -> Bytes {
        let from = self.from.as_ref().map_or("", |from| from.as_str());
        let to = match self.users.as_slice() {
            [one] => one.as_str(),
            _ => "",
        };
        // The fields of `pb::Message`, from where they are.
        let content = self.content.encoded_len();
        let mut encoded = Vec::with_capacity(content + from.len() + to.len() + FIELDS_BYTES);
        fixed64::encode(1, &id.as_u64(), &mut encoded);
        for (number, text) in [(2, from), (3, to)] {
            if !text.is_empty() {
                encode_key(number, WireType::LengthDelimited, &mut encoded);
                encode_varint(text.len() as u64, &mut encoded);
                encoded.extend_from_slice(text.as_bytes());
            }
        }
        encode_key(4, WireType::LengthDelimited, &mut encoded);
        encode_varint(content as u64, &mut encoded);
        self.content.encode_raw(&mut encoded);
        encoded.into()
    }
}

/// What the id, the keys and the lengths of a message's fields take at most.
const FIELDS_BYTES: usize = 32;

/// The frame that pushes an encoded message. `seq` is its place in the user's inbox; 0: it is in no log.
pub(super) fn push_frame(message: Bytes, seq: u64) -> Bytes {
    raw_push(message, String::new(), seq)
}

/// How long that will be.
pub(super) fn push_frame_len(message: &Bytes, seq: u64) -> usize {
    let push = pb::RawPush { message: message.clone(), channel: String::new(), seq };
    let frame = pb::RawFrame { push: Some(push), response: None }.encoded_len();
    frame + length_delimiter_len(frame)
}

/// The same for the members of a channel.
pub(super) fn channel_push_frame(message: Bytes, channel: &ChannelId, seq: u64) -> Bytes {
    raw_push(message, channel.to_string(), seq)
}

/// The frame that tells a device that its user is no member of a channel.
pub(super) fn left_frame(channel: &str) -> Bytes {
    let cursor = pb::Cursor { channel: channel.to_owned(), seq: 0, id: 0 };
    let reset = pb::Reset { cursor: Some(cursor), reason: pb::ResetReason::Left.into() };
    frame::encode(pb::frame::Body::Reset(reset))
}

fn raw_push(message: Bytes, channel: String, seq: u64) -> Bytes {
    let push = pb::RawPush { message, channel, seq };
    pb::RawFrame { push: Some(push), response: None }.encode_length_delimited_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_shows_when_it_is_prepared() {
        let wrong_user = Message::to(user("not a user")).text("hi").prepare();
        assert!(matches!(wrong_user, Err(InvalidMessage::User(_))));
        let wrong_sender = Message::to(user("bob")).from("{").text("hi").prepare();
        assert!(matches!(wrong_sender, Err(InvalidMessage::User(_))));
        let nobody = Message::to(users::<&str>([])).text("hi").prepare();
        assert_eq!(nobody.err(), Some(InvalidMessage::NoRecipient));
        let nothing = Message::to(user("bob")).prepare();
        assert_eq!(nothing.err(), Some(InvalidMessage::NoContent));
        let wrong_channel = Message::to(channel("no channel")).text("hi").prepare();
        assert!(matches!(wrong_channel, Err(InvalidMessage::Channel(_))));
        let some_of_a_channel =
            Message::to(channel("g")).text("hi").durability(Durability::Live).terminals([Terminal::Ios]);
        assert_eq!(some_of_a_channel.prepare().err(), Some(InvalidMessage::TerminalsNeedUsers));
        let logged = Message::to(channel("g")).text("hi").priority(Priority::Low);
        assert_eq!(logged.clone().prepare().err(), Some(InvalidMessage::PriorityNeedsLive));
        assert!(logged.clone().durability(Durability::Live).prepare().is_ok());
        let to_bob = logged.durability(Durability::Live).retarget(user("bob"));
        assert_eq!(to_bob.prepare().err(), Some(InvalidMessage::PriorityNeedsLive));
        let everyone = Message::new().text("hi").retarget(Target::everyone());
        assert_eq!(everyone.clone().prepare().err(), Some(InvalidMessage::EveryoneNeedsLive));
        assert!(everyone.durability(Durability::Live).prepare().is_ok());
    }

    #[test]
    fn a_user_named_twice_counts_once() {
        let prepared = Message::to(users(["a", "b", "a"])).text("hi").prepare().unwrap();
        assert_eq!(prepared.users, ["a", "b"].map(|id| UserId::parse(id).unwrap()));
    }

    #[test]
    fn a_message_is_encoded_as_its_type_says() {
        let id = MessageId::from_u64(u64::MAX / 3).unwrap();
        for (from, users) in [("", vec!["bob"]), ("alice", vec!["bob"]), ("alice", vec!["bob", "carol"])] {
            let mut message = Message::to(super::users(users.clone())).text("x".repeat(300));
            if !from.is_empty() {
                message = message.from(from);
            }
            let prepared = message.prepare().unwrap();
            let to = if users.len() == 1 { users[0].to_owned() } else { String::new() };
            let content = Some(prepared.content.clone());
            let expected = pb::Message { id: id.as_u64(), from: from.to_owned(), to, content };
            let encoded = prepared.encode(id);
            assert_eq!(encoded, expected.encode_to_vec());
            assert_eq!(push_frame_len(&encoded, 7), push_frame(encoded.clone(), 7).len());
        }
    }

    #[test]
    fn terminals_choose() {
        let all = Message::to(user("a")).text("hi").prepare().unwrap();
        assert!(all.wants(Terminal::Web));
        let some = Message::to(user("a"))
            .text("hi")
            .durability(Durability::Live)
            .terminals([Terminal::Ios])
            .prepare()
            .unwrap();
        assert!(some.wants(Terminal::Ios) && !some.wants(Terminal::Web));
    }
}
