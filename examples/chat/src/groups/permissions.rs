//! Who may do what in a group.

use std::collections::BTreeMap;

use crate::refusal::{Refusal, Result};

/// The role of a member, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Member,
    Admin,
    Owner,
}

/// Something that not every member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Rename,
    Announce,
    Invite,
    Kick,
    Mute,
    MuteAll,
    SetRole,
    Transfer,
    Dissolve,
    RecallAny,
    Pin,
    Link,
    MentionAll,
}

use Role::{Admin, Member, Owner};

/// Each action, its name, and the lowest role that may do it.
const MATRIX: [(Action, &str, Role); 13] = [
    (Action::Rename, "rename", Admin),
    (Action::Announce, "announce", Admin),
    (Action::Invite, "invite", Member),
    (Action::Kick, "kick", Admin),
    (Action::Mute, "mute", Admin),
    (Action::MuteAll, "mute_all", Admin),
    (Action::SetRole, "set_role", Owner),
    (Action::Transfer, "transfer", Owner),
    (Action::Dissolve, "dissolve", Owner),
    (Action::RecallAny, "recall_any", Admin),
    (Action::Pin, "pin", Admin),
    (Action::Link, "link", Admin),
    (Action::MentionAll, "mention_all", Admin),
];

impl Role {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Member, Admin, Owner].into_iter().find(|role| role.as_str() == text)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Member => "member",
            Admin => "admin",
            Owner => "owner",
        }
    }

    pub(crate) fn may(self, action: Action) -> bool {
        MATRIX.iter().any(|(other, _, lowest)| *other == action && self >= *lowest)
    }

    pub(crate) fn check(self, action: Action) -> Result<()> {
        if self.may(action) { Ok(()) } else { Err(Refusal::GroupRole.into()) }
    }

    /// Refuses to touch somebody of the same rank or a higher one.
    pub(crate) fn check_outranks(self, other: Self) -> Result<()> {
        if self > other { Ok(()) } else { Err(Refusal::GroupRole.into()) }
    }
}

/// Returns the roles that may do each action, for pages.
pub(crate) fn matrix() -> BTreeMap<&'static str, Vec<&'static str>> {
    let roles = |lowest: Role| {
        [Owner, Admin, Member].into_iter().filter(|role| *role >= lowest).map(Role::as_str).collect()
    };
    MATRIX.iter().map(|(_, name, lowest)| (*name, roles(*lowest))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_may_do_all_that_a_lower_one_may() {
        for (action, name, _) in MATRIX {
            assert!(!Member.may(action) || Admin.may(action), "{name}");
            assert!(!Admin.may(action) || Owner.may(action), "{name}");
            assert!(Owner.may(action), "{name}");
        }
        assert_eq!(matrix()["kick"], ["owner", "admin"]);
        assert_eq!(matrix()["dissolve"], ["owner"]);
    }

    #[test]
    fn nobody_touches_their_equals() {
        assert!(Admin.check_outranks(Admin).is_err());
        assert!(Admin.check_outranks(Owner).is_err());
        assert!(Owner.check_outranks(Admin).is_ok());
    }
}
