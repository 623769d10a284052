//! What is sent: a message, put together step by step.

use crate::{
    Content,
    id::{InvalidId, MessageId, Terminal, UserId},
    proto::{frame, pb},
};

/// Whom a message is for. Made by [`user`] and [`users`].
#[derive(Clone, Debug)]
pub struct Target(Result<Vec<UserId>, InvalidId>);

/// One user.
///
/// An id that is not valid shows when the message is sent, as [`super::SendError::InvalidUser`].
pub fn user(id: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Target {
    Target(id.try_into().map(|id| vec![id]).map_err(Into::into))
}

/// Several users; who is named twice counts once.
pub fn users<I>(ids: impl IntoIterator<Item = I>) -> Target
where
    I: TryInto<UserId, Error: Into<InvalidId>>,
{
    Target(ids.into_iter().map(|id| id.try_into().map_err(Into::into)).collect())
}

/// A message to be sent by [`super::Im::send`].
///
/// ```
/// use im_sdk::{backend::{Message, user}, id::Terminal};
/// let message = Message::to(user("bob")).from("alice").text("hi").terminals([Terminal::Ios, Terminal::Android]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message {
    to: Target,
    from: Option<Result<UserId, InvalidId>>,
    content: Content,
    terminals: Vec<Terminal>,
}

impl Message {
    /// A message for somebody, without a sender and without content so far.
    pub fn to(target: Target) -> Self {
        Self { to: target, from: None, content: Content::Unknown, terminals: Vec::new() }
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

    /// Only devices of these terminals get it.
    pub fn terminals(mut self, terminals: impl IntoIterator<Item = Terminal>) -> Self {
        self.terminals = terminals.into_iter().collect();
        self
    }

    pub(super) fn has_sender(&self) -> bool {
        self.from.is_some()
    }

    /// Everything parsed, nothing left to go wrong.
    pub(super) fn prepare(self) -> Result<Prepared, InvalidMessage> {
        let mut users = self.to.0?;
        dedup(&mut users);
        if users.is_empty() {
            return Err(InvalidMessage::NoRecipient);
        }
        if self.content == Content::Unknown {
            return Err(InvalidMessage::NoContent);
        }
        Ok(Prepared { users, from: self.from.transpose()?, content: self.content, terminals: self.terminals })
    }
}

/// Keeps the first of each, in order.
fn dedup(users: &mut Vec<UserId>) {
    let mut seen = std::collections::HashSet::with_capacity(users.len());
    users.retain(|user| seen.insert(user.clone()));
}

#[derive(Debug, PartialEq)]
pub(super) enum InvalidMessage {
    User(InvalidId),
    NoRecipient,
    NoContent,
}

impl From<InvalidId> for InvalidMessage {
    fn from(error: InvalidId) -> Self {
        Self::User(error)
    }
}

/// A message that is known to be valid.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) users: Vec<UserId>,
    from: Option<UserId>,
    content: Content,
    terminals: Vec<Terminal>,
}

impl Prepared {
    /// Whether devices of this terminal get it.
    pub(super) fn wants(&self, terminal: Terminal) -> bool {
        self.terminals.is_empty() || self.terminals.contains(&terminal)
    }

    /// The frame that devices get, encoded once for all of them.
    pub(super) fn frame(self, id: MessageId) -> (Vec<UserId>, bytes::Bytes) {
        let text = |user: Option<&UserId>| user.map(ToString::to_string).unwrap_or_default();
        let to = match self.users.as_slice() {
            [one] => text(Some(one)),
            _ => String::new(),
        };
        let message = pb::Message {
            id: id.as_u64(),
            from: text(self.from.as_ref()),
            to,
            content: Some(self.content.into()),
        };
        let push = pb::Push { message: Some(message) };
        (self.users, frame::encode(pb::frame::Body::Push(push)))
    }
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
    }

    #[test]
    fn a_user_named_twice_counts_once() {
        let prepared = Message::to(users(["a", "b", "a"])).text("hi").prepare().unwrap();
        assert_eq!(prepared.users, ["a", "b"].map(|id| UserId::parse(id).unwrap()));
    }

    #[test]
    fn terminals_choose() {
        let all = Message::to(user("a")).text("hi").prepare().unwrap();
        assert!(all.wants(Terminal::Web));
        let some = Message::to(user("a")).text("hi").terminals([Terminal::Ios]).prepare().unwrap();
        assert!(some.wants(Terminal::Ios) && !some.wants(Terminal::Web));
    }
}
