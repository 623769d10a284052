//! Rules for which messages a list of conversations counts and shows: the same in backends and on
//! devices.

use crate::{
    content::{Body, Change, ChangeKind, Content},
    id::UserId,
    proto::pb,
    timeline::Recalled,
};

/// Returns whether a message can be the last one of a conversation. A change to another message
/// cannot.
pub(crate) fn stands_alone(content: &Content) -> bool {
    content.as_change().is_none()
}

/// Returns whether a message counts as unread until the user has read it: one of another sender
/// that stands alone, is no notice and is not silent. `from` is empty for the backend.
pub(crate) fn counts(from: &str, content: &Content, user: &UserId) -> bool {
    let is_quiet = content.silent || matches!(content.body, Body::Notice(_));
    from != user.as_str() && stands_alone(content) && !is_quiet
}

/// Returns whether a message mentions a user.
pub(crate) fn mentions(content: &Content, user: &UserId) -> bool {
    content.mentions.call(user)
}

/// Returns whether a change affects a list: it excludes a message from counts, or changes its text.
pub(crate) fn alters(change: &Change) -> bool {
    matches!(change.kind, ChangeKind::Recall | ChangeKind::Edit(_) | ChangeKind::DeleteForMe)
}

/// Encodes the recall of a last message.
#[cfg(feature = "backend")]
pub(crate) fn last_recall(recalled: Recalled) -> pb::LastRecall {
    let by = recalled.by.map(|user| user.to_string()).unwrap_or_default();
    pb::LastRecall { change: recalled.change.as_u64(), by }
}

/// Decodes the recall of a last message, or returns `None` if it names no change.
#[cfg(feature = "client")]
pub(crate) fn recalled(wire: &pb::LastRecall) -> Option<Recalled> {
    Some(Recalled { change: crate::id::MessageId::from_u64(wire.change)?, by: UserId::parse(&wire.by).ok() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;

    #[test]
    fn what_others_say_counts_and_what_they_change_does_not() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let (hi, id) = (Content::text("hi"), MessageId::from_u64(7).unwrap());
        assert!(counts("alice", &hi, &bob) && counts("", &hi, &bob) && !counts("bob", &hi, &bob));
        let notice = Content::from(crate::content::Notice::new("member.joined", "carol joined"));
        assert!(!counts("alice", &hi.clone().silent(), &bob) && !counts("", &notice, &bob));
        assert!(stands_alone(&notice));
        let recalled = Content::from(Change::recall(id));
        assert!(!counts("alice", &recalled, &bob) && !stands_alone(&recalled));
        assert!(!mentions(&hi, &bob) && mentions(&hi.clone().mention(bob.clone()), &bob));
        assert!(alters(&Change::recall(id)) && alters(&Change::edit(id, "ho")) && !alters(&Change::pin(id)));
        assert!(mentions(&hi.clone().mention_everybody(), &bob) && !mentions(&hi.mention(alice), &bob));
    }
}
