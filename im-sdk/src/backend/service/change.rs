//! Changes to messages: who may change what, and where a change goes.
//!
//! ```text
//!  device: change of message 7, at seq 40 of my log
//!     --> is it there, and is it that one?  --> does the handler, does the policy allow it?
//!     --> into the logs that the message went to; a deletion for oneself into the own inbox alone
//! ```

use std::time::Duration;

use crate::{
    Recipient,
    backend::{
        history::LoggedMessage,
        send::message::{Durability, Message, channel, user},
    },
    cluster::LogId,
    content::{Change, ChangeKind},
    id::{Device, MessageId, UserId},
};

/// The changes that devices may make to messages, unless the handler decides. The age of a message is taken
/// from its id.
///
/// ```
/// use std::time::Duration;
/// use im_sdk::backend::{ChangePolicy, Im};
/// let mut changes = ChangePolicy::default();
/// changes.recall = Some(Duration::from_secs(3600));
/// changes.pin = false;
/// let im = Im::builder().changes(changes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangePolicy {
    /// The age up to which its sender may recall a message. `None` forbids it. Default 2 min.
    pub recall: Option<Duration>,
    /// The age up to which its sender may edit a message. `None` forbids it. Default 24 h.
    pub edit: Option<Duration>,
    /// Users may delete a message for themselves. Default `true`.
    pub delete_for_me: bool,
    /// Users may react to a message. Default `true`.
    pub react: bool,
    /// Users may pin and unpin a message, for everybody. Default `true`.
    pub pin: bool,
    /// The durability of changes. `None`: that of
    /// [`ImBuilder::default_durability`](crate::backend::ImBuilder::default_durability), but at
    /// least logged. Default `None`. If a handler archives messages, archive changes as well:
    /// history from the message store does not show them otherwise.
    pub durability: Option<Durability>,
}

impl Default for ChangePolicy {
    fn default() -> Self {
        Self {
            recall: Some(Duration::from_secs(2 * 60)),
            edit: Some(Duration::from_secs(24 * 60 * 60)),
            delete_for_me: true,
            react: true,
            pin: true,
            durability: None,
        }
    }
}

impl ChangePolicy {
    /// Checks whether a user may make this change to a message of this age. Returns the reason of a
    /// refusal.
    fn check(&self, incoming: &IncomingChange, age: Duration) -> Result<(), String> {
        let by_sender = |within: Option<Duration>| {
            let Some(within) = within else { return Err("it is switched off".to_owned()) };
            if incoming.message.from.as_ref() != Some(&incoming.from) {
                return Err(format!("{} did not send it", incoming.from));
            }
            if age > within {
                return Err(format!("it is more than {} s old", within.as_secs()));
            }
            Ok(())
        };
        let by_all = |is_on: bool| if is_on { Ok(()) } else { Err("it is switched off".to_owned()) };
        match incoming.change.kind {
            ChangeKind::Recall => by_sender(self.recall),
            ChangeKind::Edit(_) => by_sender(self.edit),
            ChangeKind::DeleteForMe => by_all(self.delete_for_me),
            ChangeKind::Reaction { .. } => by_all(self.react),
            ChangeKind::Pin { .. } => by_all(self.pin),
            ChangeKind::Unknown => Err("this backend does not know that change".to_owned()),
        }
    }

    pub(in crate::backend) fn durability(&self, default: Durability) -> Durability {
        match self.durability.unwrap_or(default) {
            Durability::Transient => Durability::Logged,
            kept => kept,
        }
    }
}

/// A change that a device published, of a message that its user has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingChange {
    /// The requesting user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The conversation of the message. In a channel, `from` is a member, or the device is in the
    /// room.
    pub to: Recipient,
    /// The change. The content of an [edit](ChangeKind::Edit) is passed to
    /// [`Handler::publish`](crate::backend::Handler::publish) as well, unless [`ChangeRights`]
    /// decide otherwise.
    pub change: Change,
    /// The message as it is in the user's log: with earlier edits and recalls, and without other
    /// changes.
    pub message: LoggedMessage,
}

/// The answer of a [handler](crate::backend::Handler::change) that does not refuse a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeRights {
    /// The change is allowed if [`ChangePolicy`] allows it. An edit, a reaction or a pin is also
    /// passed to [`Handler::publish`](crate::backend::Handler::publish), which has to accept it
    /// like a message.
    #[default]
    ByPolicy,
    /// The change is allowed if [`ChangePolicy`] allows it. The handler has checked the content,
    /// and `publish` is not called.
    Checked,
    /// The change is allowed regardless of the policy and `publish`: for moderators.
    Granted,
}

impl IncomingChange {
    /// Returns the log of the requesting user that has the message.
    pub(in crate::backend) fn log(from: &UserId, to: &Recipient) -> LogId {
        match to {
            Recipient::User(_) => LogId::Inbox(from.clone()),
            Recipient::Channel(channel) => LogId::Channel(channel.clone()),
        }
    }

    /// Checks whether the change is possible, whoever requests it.
    pub(in crate::backend) fn check(&self) -> Result<(), String> {
        let id = self.message.message_id;
        if self.message.content.as_change().is_some() {
            return Err(format!("message {id} is a change itself"));
        }
        match &self.to {
            Recipient::User(user) if *user != self.other() => {
                Err(format!("message {id} is not of the conversation with {user}"))
            }
            Recipient::User(_) if self.is_of_several() && self.change.kind != ChangeKind::DeleteForMe => {
                Err(format!("message {id} went to several users at once: only the backend can change it"))
            }
            _ => Ok(()),
        }
    }

    /// Checks the policy at this time, which is of the cluster's clock as that in message ids is.
    pub(in crate::backend) fn permit(&self, policy: &ChangePolicy, now_ms: u64) -> Result<(), String> {
        let kind = self.change.kind.as_str();
        policy.check(self, age(self.message.message_id, now_ms)).map_err(|reason| {
            format!("message {} cannot be changed ({kind}): {reason}", self.message.message_id)
        })
    }

    /// Builds the message that is logged.
    pub(in crate::backend) fn into_message(self) -> Message {
        let other = self.other();
        let is_for_me = self.change.kind == ChangeKind::DeleteForMe;
        // Only the change itself is passed on.
        let mut change = Change::new(self.message.message_id, self.change.kind);
        change.seq = self.message.seq;
        let target = match self.to {
            Recipient::Channel(of) if is_for_me => {
                change.channel = Some(of);
                user(&self.from)
            }
            Recipient::Channel(of) => channel(&of),
            Recipient::User(_) => user(&other),
        };
        Message::to(target).from(&self.from).content(change)
    }

    /// Returns the other user of the conversation, or the user if there is none.
    fn other(&self) -> UserId {
        let message = &self.message;
        let other = if message.from.as_ref() == Some(&self.from) { &message.to } else { &message.from };
        other.clone().unwrap_or_else(|| self.from.clone())
    }

    /// Returns `true` if the change shows something new to others, so that the rules for messages
    /// apply.
    pub(in crate::backend) fn says_something(&self) -> bool {
        match &self.change.kind {
            ChangeKind::Edit(_) | ChangeKind::Pin { .. } => true,
            ChangeKind::Reaction { removed, .. } => !removed,
            ChangeKind::Recall | ChangeKind::DeleteForMe | ChangeKind::Unknown => false,
        }
    }

    fn is_of_several(&self) -> bool {
        self.message.to.is_none()
    }
}

fn age(id: MessageId, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(id.unix_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    fn name(user: &str) -> UserId {
        UserId::parse(user).unwrap()
    }

    fn incoming(by: &str, from: Option<&str>, to: Option<&str>, kind: ChangeKind) -> IncomingChange {
        let id = MessageId::from_u64(7).unwrap();
        let message = LoggedMessage {
            channel: None,
            seq: 1,
            message_id: id,
            from: from.map(name),
            to: to.map(name),
            content: Content::text("hi"),
        };
        let mut incoming = IncomingChange {
            from: name(by),
            device: "web/tab".parse().unwrap(),
            to: name("x").into(),
            change: Change::new(id, kind),
            message,
        };
        incoming.to = incoming.other().into();
        incoming
    }

    fn edit() -> ChangeKind {
        ChangeKind::Edit(Box::new(Content::text("ho")))
    }

    #[test]
    fn the_policy_is_as_told() {
        let policy = ChangePolicy::default();
        let check = |by, kind, age: u64| {
            policy.check(&incoming(by, Some("alice"), Some("bob"), kind), Duration::from_secs(age))
        };
        assert_eq!(check("alice", ChangeKind::Recall, 120), Ok(()));
        assert_eq!(check("alice", ChangeKind::Recall, 121).unwrap_err(), "it is more than 120 s old");
        assert_eq!(check("bob", ChangeKind::Recall, 1).unwrap_err(), "bob did not send it");
        assert_eq!(check("alice", edit(), 24 * 3600), Ok(()));
        assert!(check("alice", edit(), 24 * 3600 + 1).is_err() && check("bob", edit(), 1).is_err());
        let all = [
            ChangeKind::DeleteForMe,
            ChangeKind::Pin { removed: true },
            ChangeKind::Reaction { emoji: "x".into(), removed: false },
        ];
        assert!(all.into_iter().all(|kind| check("bob", kind, 1 << 40).is_ok()));
        assert!(check("alice", ChangeKind::Unknown, 0).is_err());
    }

    #[test]
    fn age_is_by_the_clusters_clock() {
        const NOW: u64 = 1_800_000_000_000;
        let policy = ChangePolicy::default();
        let mut recall = incoming("alice", Some("alice"), Some("bob"), ChangeKind::Recall);
        recall.message.message_id = MessageId::first_at(NOW);
        assert_eq!(recall.permit(&policy, NOW + 120_000), Ok(()));
        assert!(recall.permit(&policy, NOW + 121_000).is_err());
        assert_eq!(recall.permit(&policy, 0), Ok(()), "a clock that was set back");
    }

    #[test]
    fn each_can_be_switched_off() {
        let off = ChangePolicy {
            recall: None,
            edit: None,
            delete_for_me: false,
            react: false,
            pin: false,
            durability: None,
        };
        let kinds = [
            ChangeKind::Recall,
            edit(),
            ChangeKind::DeleteForMe,
            ChangeKind::Pin { removed: false },
            ChangeKind::Reaction { emoji: "x".into(), removed: false },
        ];
        for kind in kinds {
            let refused = off.check(&incoming("alice", Some("alice"), Some("bob"), kind), Duration::ZERO);
            assert_eq!(refused.unwrap_err(), "it is switched off");
        }
    }

    #[test]
    fn a_change_must_be_of_the_conversation_that_it_names() {
        assert_eq!(incoming("bob", Some("alice"), Some("bob"), edit()).check(), Ok(()));
        let elsewhere =
            IncomingChange { to: name("carol").into(), ..incoming("bob", Some("alice"), None, edit()) };
        assert!(elsewhere.check().unwrap_err().contains("conversation with carol"));
        let several = incoming("bob", Some("alice"), None, ChangeKind::Recall).check();
        assert!(several.unwrap_err().contains("several users"));
        assert_eq!(incoming("bob", Some("alice"), None, ChangeKind::DeleteForMe).check(), Ok(()));
        // From the backend, to bob alone.
        let own = incoming("bob", None, Some("bob"), ChangeKind::Pin { removed: false });
        assert_eq!((own.check(), own.other()), (Ok(()), name("bob")));
        let mut of_a_change = incoming("bob", Some("alice"), Some("bob"), edit());
        of_a_change.message.content = Change::recall(MessageId::from_u64(3).unwrap()).into();
        assert!(of_a_change.check().unwrap_err().contains("change itself"));
    }
}
