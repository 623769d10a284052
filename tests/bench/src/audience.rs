//! The receivers of a message: one connection, or the members of a channel. Publisher, fleet and verification
//! share it.

/// The receivers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The connection that the stamp names.
    One,
    /// The members of the channel that the stamp names. Contains the number of channels; connections are assigned
    /// to them round-robin.
    Channels(u32),
}

impl Audience {
    /// Returns the number that the messages of a connection carry.
    pub(crate) fn of(self, index: u32) -> u32 {
        match self {
            Self::One => index,
            Self::Channels(channels) => index % channels.max(1),
        }
    }

    /// Returns the number of audiences.
    pub(crate) fn count(self, connections: u32) -> u32 {
        match self {
            Self::One => connections.max(1),
            Self::Channels(channels) => channels.max(1),
        }
    }

    /// Returns the maximum number of deliveries of one message.
    pub(crate) fn members(self, connections: u32) -> u64 {
        u64::from(connections).div_ceil(self.count(connections).into())
    }

    /// Returns the number of deliveries of `messages` messages that go to the audiences in turn.
    pub(crate) fn deliveries(self, connections: u32, messages: u64) -> u64 {
        let (count, connections) = (u64::from(self.count(connections)), u64::from(connections));
        let (rounds, rest) = (messages / count, messages % count);
        rounds * connections + rest * (connections / count) + rest.min(connections % count)
    }

    /// Returns the connections that are members of an audience.
    pub(crate) fn members_of(self, audience: u32, connections: u32) -> impl Iterator<Item = u32> {
        (audience..connections).step_by(self.count(connections) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_as_members_are_spread() {
        for audience in [Audience::One, Audience::Channels(1), Audience::Channels(3), Audience::Channels(7)] {
            let connections = 7;
            let mut expected = 0;
            for messages in 0..30_u64 {
                assert_eq!(audience.deliveries(connections, messages), expected, "{audience:?} {messages}");
                let to = (messages % u64::from(audience.count(connections))) as u32;
                let members: Vec<u32> = audience.members_of(to, connections).collect();
                assert!(members.iter().all(|member| audience.of(*member) == to));
                assert!(members.len() as u64 <= audience.members(connections));
                expected += members.len() as u64;
            }
        }
    }
}
