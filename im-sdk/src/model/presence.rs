//! Presence of users.

use std::time::{Duration, SystemTime};

use crate::{
    id::{InvalidId, Terminal, UserId},
    proto::pb,
};

/// The presence of a user: the kinds of connected devices, and when others were last connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserPresence {
    /// The user.
    pub user: UserId,
    /// The kinds of devices that are connected, or were within the last 90 days, in order.
    pub terminals: Vec<TerminalPresence>,
}

/// The presence of one kind of device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TerminalPresence {
    /// The kind of device.
    pub terminal: Terminal,
    /// Whether at least one device of this kind is connected.
    pub online: bool,
    /// When the last one was disconnected, if that is known.
    pub last_seen: Option<SystemTime>,
}

impl UserPresence {
    /// Returns whether any device is connected.
    pub fn is_online(&self) -> bool {
        self.terminals.iter().any(|terminal| terminal.online)
    }

    /// Returns when the last device was disconnected; `None` if that is unknown, or if a device is
    /// connected.
    pub fn last_seen(&self) -> Option<SystemTime> {
        if self.is_online() { None } else { self.terminals.iter().filter_map(|of| of.last_seen).max() }
    }

    #[cfg(feature = "backend")]
    pub(crate) fn new(user: UserId, online: &[Terminal], last_seen: &[(Terminal, u64)]) -> Self {
        let terminals = Terminal::ALL.into_iter().filter_map(|terminal| {
            let online = online.contains(&terminal);
            let seen = last_seen.iter().find(|(of, _)| *of == terminal);
            let last_seen =
                seen.and_then(|(_, ms)| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(*ms)));
            (online || last_seen.is_some()).then_some(TerminalPresence { terminal, online, last_seen })
        });
        Self { user, terminals: terminals.collect() }
    }
}

impl From<UserPresence> for pb::Presence {
    fn from(presence: UserPresence) -> Self {
        let terminal = |of: TerminalPresence| {
            let seen = of.last_seen.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            let last_seen_ms = i64::try_from(seen.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
            pb::TerminalPresence {
                terminal: pb::Terminal::from(of.terminal).into(),
                online: of.online,
                last_seen_ms,
            }
        };
        Self {
            user: presence.user.to_string(),
            terminals: presence.terminals.into_iter().map(terminal).collect(),
        }
    }
}

impl TryFrom<pb::Presence> for UserPresence {
    type Error = InvalidId;
    fn try_from(presence: pb::Presence) -> Result<Self, InvalidId> {
        let terminal = |of: pb::TerminalPresence| {
            let seen = u64::try_from(of.last_seen_ms).ok().filter(|ms| *ms > 0);
            // A time beyond this machine's range counts as unknown.
            let last_seen = seen.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
            TerminalPresence { terminal: of.terminal().into(), online: of.online, last_seen }
        };
        Ok(Self {
            user: UserId::parse(&presence.user)?,
            terminals: presence.terminals.into_iter().map(terminal).collect(),
        })
    }
}
