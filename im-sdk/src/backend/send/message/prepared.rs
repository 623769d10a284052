//! A validated message, and its encoding.

use std::{num::NonZeroU64, time::Duration};

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, fixed64},
    length_delimiter_len,
};

use super::{Durability, Message, Priority, To};
use crate::{
    backend::send::{validate as check, validate::InvalidContent},
    cluster::DedupKey,
    content,
    id::{ChannelId, InvalidId, MessageId, Terminal, UserId},
    proto::{frame, limits::MAX_CONTENT_BYTES, pb, pb::change::What},
};

impl Message {
    /// Validates and parses the message.
    pub(in crate::backend) fn prepare(self) -> Result<Prepared, InvalidMessage> {
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
        content.silent |= self.is_silent;
        forget_amended(&mut content);
        if content::is_empty(&content) {
            return Err(InvalidMessage::NoContent);
        }
        check_size(&content)?;
        check::check(&content)?;
        let durability = self.durability.unwrap_or_default();
        let from = self.from.transpose()?;
        let change = change(&mut content);
        if change.is_some() && durability == Durability::Transient {
            return Err(InvalidMessage::ChangeNeedsLog);
        }
        let is_for_me = change.as_ref().is_some_and(|change| is_for_me(change));
        if is_for_me && channel.is_some() {
            return Err(InvalidMessage::DeletionInChannel);
        }
        let (mut amends, mut deletes) = (None, None);
        let changes = change.as_ref().and_then(|change| MessageId::from_u64(change.message_id));
        if let Some(change) = change {
            let seq = std::mem::take(&mut change.seq);
            change.order = 0;
            amends = matches!(change.what, Some(What::Recall(_) | What::Edit(_))).then_some(seq);
            deletes = MessageId::from_u64(change.message_id).filter(|_| is_for_me);
            // The change comes from the backend itself, and belongs to the users' conversation all
            // the same.
            let is_between = from.is_none() && !is_for_me && users.len() == 2;
            change.between = users.iter().filter(|_| is_between).map(ToString::to_string).collect();
            // The order in which users are named does not matter.
            change.between.sort_unstable();
        }
        if !self.terminals.is_empty() && durability != Durability::Transient {
            return Err(InvalidMessage::TerminalsNeedTransient);
        }
        if !self.terminals.is_empty() && (channel.is_some() || everyone) {
            return Err(InvalidMessage::TerminalsNeedUsers);
        }
        if everyone && durability != Durability::Transient {
            return Err(InvalidMessage::BroadcastNeedsTransient);
        }
        let may_shed = durability == Durability::Transient && (channel.is_some() || everyone);
        if self.priority != Priority::DisconnectSlow && !may_shed {
            return Err(InvalidMessage::PriorityNeedsTransient);
        }
        if self.idempotency_key.as_ref().is_some_and(|key| !is_key(key)) {
            return Err(InvalidMessage::Key);
        }
        Ok(Prepared {
            users,
            channel,
            is_for_me: is_for_me && from.is_some(),
            from,
            is_system: self.is_system,
            amends,
            changes,
            deletes,
            content,
            origin: self.origin,
            terminals: self.terminals,
            durability,
            priority: self.priority,
            idempotency_key: self.idempotency_key,
            writer: None,
        })
    }
}

/// Checks the size of a content without the ids around it, so that a backend can send whatever a
/// device may publish.
pub(in crate::backend) fn check_size(content: &pb::Content) -> Result<(), InvalidMessage> {
    let bytes = content.encoded_len();
    let limit = MAX_CONTENT_BYTES;
    if bytes <= limit { Ok(()) } else { Err(InvalidMessage::TooLarge { bytes, limit }) }
}

/// The time for which an idempotency key is remembered.
pub(in crate::backend) const KEY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the beginning of the SHA-256 of a payload, which tells it from others.
pub(in crate::backend) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    let hash = context.finish();
    std::array::from_fn(|index| hash.as_ref()[index])
}

fn is_key(key: &str) -> bool {
    (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Removes duplicates. Keeps the first of each, in order.
fn dedup(mut users: Vec<UserId>) -> Vec<UserId> {
    if users.len() < 2 {
        return users;
    }
    let mut seen = std::collections::HashSet::with_capacity(users.len());
    users.retain(|user| seen.insert(user.clone()));
    users
}

/// A message that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// A recipient or the sender has no valid id.
    #[error(transparent)]
    User(#[from] InvalidId),
    /// The channel has no valid id.
    #[error(transparent)]
    Channel(InvalidId),
    /// The message has no recipient.
    #[error("the message has no recipient")]
    NoRecipient,
    /// The content is [empty](crate::content::Content::is_empty).
    #[error("the message has no content")]
    NoContent,
    /// The encoded message is too large, usually its content: see [`MAX_CONTENT_BYTES`](crate::limits::MAX_CONTENT_BYTES).
    #[error(
        "the message takes {bytes} bytes, the limit is {limit}: send a reference instead of the thing itself"
    )]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A message for chosen terminals would leave holes in a log.
    #[error("a message for chosen terminals must be Durability::Transient")]
    TerminalsNeedTransient,
    /// A channel's servers do not look at each member.
    #[error("a message to a channel cannot be for chosen terminals")]
    TerminalsNeedUsers,
    /// There is no log for everybody.
    #[error("a broadcast must be Durability::Transient")]
    BroadcastNeedsTransient,
    /// A message that is logged, or sent to users, must not be left out for slow devices.
    #[error(
        "a priority other than DisconnectSlow is for Durability::Transient messages to a channel or to everybody"
    )]
    PriorityNeedsTransient,
    /// The idempotency key has the wrong form.
    #[error("an idempotency key takes 1 to 128 printable ASCII characters")]
    Key,
    /// The content is not valid.
    #[error(transparent)]
    Content(#[from] InvalidContent),
    /// A change of a message that is not logged would reach some devices and not others.
    #[error("a change of a message must be logged: Durability::Transient is not enough")]
    ChangeNeedsLog,
    /// A deletion is for one user, in that user's inbox, also for a message in a channel.
    #[error("a message is deleted for users, not for a channel: send the deletion to the user")]
    DeletionInChannel,
    /// The message was made for one target and given to another: [`Channel::send`](crate::backend::Channel::send),
    /// [`Room::send`](crate::backend::Room::send) or [`Im::broadcast`](crate::backend::Im::broadcast).
    #[error(
        "the message is for {named}, and was to be sent to {given}: make it with Message::new(), or send it with Im::send"
    )]
    OtherTarget {
        /// The target that the message was made for.
        named: String,
        /// The target that it was given to.
        given: String,
    },
}

impl InvalidMessage {
    /// Returns a stable name, such as `no_content`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::User(_) => "invalid_user",
            Self::Channel(_) => "invalid_channel",
            Self::NoRecipient => "no_recipient",
            Self::NoContent => "no_content",
            Self::TooLarge { .. } => "too_large",
            Self::TerminalsNeedTransient => "terminals_need_transient",
            Self::TerminalsNeedUsers => "terminals_need_users",
            Self::BroadcastNeedsTransient => "broadcast_needs_transient",
            Self::PriorityNeedsTransient => "priority_needs_transient",
            Self::Key => "invalid_key",
            Self::Content(_) => "invalid_content",
            Self::ChangeNeedsLog => "change_needs_log",
            Self::DeletionInChannel => "deletion_in_channel",
            Self::OtherTarget { .. } => "other_target",
        }
    }
}

fn change(content: &mut pb::Content) -> Option<&mut pb::Change> {
    match &mut content.body {
        Some(pb::content::Body::Change(change)) => Some(change),
        _ => None,
    }
}

/// Removes the marks of changes: a message that is passed on has not been changed itself.
fn forget_amended(content: &mut pb::Content) {
    content.amended = None;
    if let Some(change) = change(content)
        && let Some(What::Edit(content)) = &mut change.what
    {
        content.amended = None;
    }
}

fn is_for_me(change: &pb::Change) -> bool {
    matches!(change.what, Some(What::DeleteForMe(_)))
}

/// A validated message.
#[derive(Debug)]
pub(in crate::backend) struct Prepared {
    /// Empty if there is a channel.
    pub(in crate::backend) users: Vec<UserId>,
    pub(in crate::backend) channel: Option<ChannelId>,
    pub(in crate::backend) from: Option<UserId>,
    /// The sender is the system user, whose inbox gets no copy.
    pub(in crate::backend) is_system: bool,
    /// The message is in the sender's inbox alone, and nobody else learns of it.
    pub(in crate::backend) is_for_me: bool,
    /// The seq in the first log of the message whose content this one removes or replaces; 0 means
    /// unknown.
    pub(in crate::backend) amends: Option<u64>,
    /// The message that its users delete for themselves.
    pub(in crate::backend) deletes: Option<MessageId>,
    /// The message that this one changes.
    pub(in crate::backend) changes: Option<MessageId>,
    content: pb::Content,
    /// See [`pb::Message::origin`]; 0 if there is none.
    pub(in crate::backend) origin: u64,
    terminals: Vec<Terminal>,
    pub(in crate::backend) durability: Durability,
    pub(in crate::backend) priority: Priority,
    pub(in crate::backend) idempotency_key: Option<String>,
    /// The user whose device published it; see [`NewEntry::writer`](crate::cluster::NewEntry::writer).
    pub(in crate::backend) writer: Option<UserId>,
}

impl Prepared {
    /// Returns the sender whose inbox gets a copy.
    pub(in crate::backend) fn owner(&self) -> Option<&UserId> {
        self.from.as_ref().filter(|_| !self.is_system)
    }

    /// Returns `true` if devices of this terminal get the message.
    pub(in crate::backend) fn wants(&self, terminal: Terminal) -> bool {
        self.terminals.is_empty() || self.terminals.contains(&terminal)
    }

    /// Returns the key that makes repetitions with the same idempotency key one effect.
    pub(in crate::backend) fn once(&self) -> Option<DedupKey> {
        let key = self.idempotency_key.as_ref()?;
        let sender = self.from.as_ref().map_or("", |sender| sender.as_str());
        let content = self.once_content();
        // The order of the users does not matter: a caller may take them from a set.
        let mut users: Vec<&str> = self.users.iter().map(UserId::as_str).collect();
        users.sort_unstable();
        let users = users.into_iter().flat_map(|user| [user.as_bytes(), b" "]);
        let digest = digest(users.chain([content.as_slice()]));
        Some(DedupKey::Key { key: format!("{sender} {key}"), ttl: KEY_TTL, digest })
    }

    /// Returns `true` if the message is in another log than the one that it changes: a deletion for
    /// oneself of a message in a channel.
    pub(in crate::backend) fn is_of_other_log(&self) -> bool {
        match &self.content.body {
            Some(pb::content::Body::Change(change)) => !change.channel.is_empty(),
            _ => false,
        }
    }

    /// Returns the content without the order of a change, which each attempt gets anew.
    fn once_content(&self) -> Vec<u8> {
        if self.changes.is_none() {
            return self.content.encode_to_vec();
        }
        let mut content = self.content.clone();
        change(&mut content).into_iter().for_each(|change| change.order = 0);
        content.encode_to_vec()
    }

    /// Sets the rank of a change among the changes of its message.
    pub(in crate::backend) fn set_order(&mut self, order: u64) {
        change(&mut self.content).into_iter().for_each(|change| change.order = order);
    }

    /// Encodes the message as it is logged and as devices get it, once for all of them.
    pub(in crate::backend) fn encode(&self, id: MessageId) -> Bytes {
        let from = self.from.as_ref().map_or("", |from| from.as_str());
        let to = match self.users.as_slice() {
            [one] => one.as_str(),
            _ => "",
        };
        // Written field by field, since a `pb::Message` would copy them.
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
        if self.origin != 0 {
            fixed64::encode(5, &self.origin, &mut encoded);
        }
        encoded.into()
    }
}

/// The most bytes of the id, and of the keys and lengths of the fields.
const FIELDS_BYTES: usize = 41;

/// Encodes the frame that pushes a message of an inbox.
pub(in crate::backend) fn push_frame(message: Bytes, seq: NonZeroU64) -> Bytes {
    raw_push(message, String::new(), seq.get())
}

/// Encodes the frame that pushes a message which is in no log.
pub(in crate::backend) fn transient_push_frame(message: Bytes) -> Bytes {
    raw_push(message, String::new(), 0)
}

/// Encodes the frame that pushes a message of a channel's log.
pub(in crate::backend) fn channel_push_frame(message: Bytes, channel: &ChannelId, seq: NonZeroU64) -> Bytes {
    raw_push(message, channel.to_string(), seq.get())
}

/// Encodes the frame that pushes a message to a channel which is in no log.
pub(in crate::backend) fn transient_channel_push_frame(message: Bytes, channel: &ChannelId) -> Bytes {
    raw_push(message, channel.to_string(), 0)
}

/// Returns the length of a [`push_frame`].
pub(in crate::backend) fn push_frame_len(message: &Bytes, seq: NonZeroU64) -> usize {
    frame_len(message, String::new(), seq)
}

/// Returns the length of a [`channel_push_frame`].
pub(in crate::backend) fn channel_push_frame_len(
    message: &Bytes,
    channel: &ChannelId,
    seq: NonZeroU64,
) -> usize {
    frame_len(message, channel.to_string(), seq)
}

fn frame_len(message: &Bytes, channel: String, seq: NonZeroU64) -> usize {
    let push = pb::RawPush { message: message.clone(), channel, seq: seq.get() };
    let frame = pb::RawFrame { push: Some(push), response: None }.encoded_len();
    frame + length_delimiter_len(frame)
}

/// Encodes the frame that tells a device that its user is no member of a channel.
pub(in crate::backend) fn left_frame(channel: &str) -> Bytes {
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
    use crate::{
        backend::send::message::{Target, channel, user, users},
        content::{Change, Content},
        proto::limits::{MAX_FRAME_BYTES, MAX_TEXT_BYTES},
    };

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
        let empty = || Message::to(user("bob")).text("");
        assert_eq!(empty().prepare().err(), Some(InvalidMessage::NoContent));
        assert!(empty().content(Content::text("").mention_everybody()).prepare().is_ok());
        let wrong_channel = Message::to(channel("no channel")).text("hi").prepare();
        assert!(matches!(wrong_channel, Err(InvalidMessage::Channel(_))));
        let some_of_a_channel =
            Message::to(channel("g")).text("hi").durability(Durability::Transient).terminals([Terminal::Ios]);
        assert_eq!(some_of_a_channel.prepare().err(), Some(InvalidMessage::TerminalsNeedUsers));
        let logged = Message::to(channel("g")).text("hi").priority(Priority::Low);
        assert_eq!(logged.clone().prepare().err(), Some(InvalidMessage::PriorityNeedsTransient));
        assert!(logged.clone().durability(Durability::Transient).prepare().is_ok());
        let to_bob = Message { to: user("bob"), ..logged.durability(Durability::Transient) };
        assert_eq!(to_bob.prepare().err(), Some(InvalidMessage::PriorityNeedsTransient));
        let everyone = Message::new().text("hi").retarget(Target::everyone()).unwrap();
        assert_eq!(everyone.clone().prepare().err(), Some(InvalidMessage::BroadcastNeedsTransient));
        assert!(everyone.durability(Durability::Transient).prepare().is_ok());
    }

    #[test]
    fn a_message_for_one_target_does_not_go_to_another() {
        let to_team = || Target::channel(ChannelId::parse("team"));
        assert!(Message::new().retarget(to_team()).is_ok());
        assert!(Message::to(channel("team")).retarget(to_team()).is_ok());
        for message in
            [Message::to(user("bob")), Message::to(channel("crew")), Message::to(users(["a", "b"]))]
        {
            for other in [to_team(), Target::everyone()] {
                let error = message.clone().retarget(other).unwrap_err();
                assert!(matches!(error, InvalidMessage::OtherTarget { .. }), "{error:?}");
            }
        }
        let error = Message::to(user("bob")).retarget(to_team()).unwrap_err();
        let expected = InvalidMessage::OtherTarget { named: "user bob".into(), given: "channel team".into() };
        assert_eq!(error, expected);
        let wrong = Message::to(user("bob")).retarget(Target::channel(ChannelId::parse("no channel")));
        assert!(matches!(wrong.unwrap().text("hi").prepare(), Err(InvalidMessage::Channel(_))));
    }

    #[test]
    fn what_is_as_large_as_may_be_fits_into_every_frame() {
        let name = "n".repeat(64);
        let name = name.as_str();
        let users = ["a", "b"].map(|letter| letter.repeat(64));
        let text = |bytes: usize| Content::text("x".repeat(bytes));
        assert!(Message::to(user(name)).content(text(MAX_TEXT_BYTES)).prepare().is_ok());
        let beside = pb::Content::from(text(MAX_TEXT_BYTES)).encoded_len() - MAX_TEXT_BYTES;
        let largest = MAX_CONTENT_BYTES - beside;
        let (id, channel) = (MessageId::from_u64(u64::MAX / 3).unwrap(), ChannelId::parse(name).unwrap());
        let messages = [
            Message::to(user(name)).content(text(largest)),
            Message::to(crate::backend::channel(name)).content(text(largest)),
            // The change carries the names of its users as well.
            Message::to(crate::backend::users(users)).content(Change::edit(id, text(largest - 21))),
        ];
        for (index, message) in messages.into_iter().enumerate() {
            let from = if index < 2 { message.from(name) } else { message };
            let message = from.prepare().unwrap().encode(id);
            let frame = channel_push_frame_len(&message, &channel, NonZeroU64::MAX);
            assert_eq!(frame, channel_push_frame(message, &channel, NonZeroU64::MAX).len());
            assert!(frame + crate::backend::send::HISTORY_OVERHEAD <= MAX_FRAME_BYTES, "{index}: {frame}");
        }
        let larger = Message::to(user("bob")).content(text(largest + 1)).prepare().err();
        assert_eq!(
            larger,
            Some(InvalidMessage::TooLarge { bytes: MAX_CONTENT_BYTES + 1, limit: MAX_CONTENT_BYTES })
        );
    }

    #[test]
    fn a_user_named_twice_counts_once() {
        let prepared = Message::to(users(["a", "b", "a"])).text("hi").prepare().unwrap();
        assert_eq!(prepared.users, ["a", "b"].map(|id| UserId::parse(id).unwrap()));
    }

    #[test]
    fn a_key_does_not_care_in_which_order_users_are_named() {
        let once = |ids: [&str; 2], text: &str| {
            Message::to(users(ids)).text(text).idempotency_key("k").prepare().unwrap().once()
        };
        assert_eq!(once(["a", "b"], "hi"), once(["b", "a"], "hi"));
        assert_ne!(once(["a", "b"], "hi"), once(["a", "c"], "hi"));
        assert_ne!(once(["a", "b"], "hi"), once(["a", "b"], "ho"));
    }

    #[test]
    fn ids_are_taken_as_text_and_as_ids() {
        let (bob, carl) = ("bob".parse::<UserId>().unwrap(), "carl".to_owned());
        for target in [user(bob.clone()), user(&bob), user(&carl), users(vec![bob.clone()]), users([&carl])] {
            assert!(Message::to(target).from(bob.clone()).text("hi").prepare().is_ok());
        }
    }

    #[test]
    fn a_message_is_encoded_as_its_type_says() {
        let id = MessageId::from_u64(u64::MAX / 3).unwrap();
        for (from, users) in [("", vec!["bob"]), ("alice", vec!["bob"]), ("alice", vec!["bob", "carol"])] {
            let mut message = Message::to(crate::backend::users(users.clone())).text("x".repeat(300));
            if !from.is_empty() {
                message = message.from(from);
            }
            message.origin = 7 * u64::from(users.len() > 1);
            let (origin, prepared) = (message.origin, message.prepare().unwrap());
            let to = if users.len() == 1 { users[0].to_owned() } else { String::new() };
            let content = Some(prepared.content.clone());
            let expected = pb::Message { id: id.as_u64(), from: from.to_owned(), to, content, origin };
            let encoded = prepared.encode(id);
            assert_eq!(encoded, expected.encode_to_vec());
            let seq = NonZeroU64::new(7).unwrap();
            assert_eq!(push_frame_len(&encoded, seq), push_frame(encoded.clone(), seq).len());
        }
    }

    #[test]
    fn terminals_choose() {
        let all = Message::to(user("a")).text("hi").prepare().unwrap();
        assert!(all.wants(Terminal::Web));
        let some = Message::to(user("a"))
            .text("hi")
            .durability(Durability::Transient)
            .terminals([Terminal::Ios])
            .prepare()
            .unwrap();
        assert!(some.wants(Terminal::Ios) && !some.wants(Terminal::Web));
    }
}
