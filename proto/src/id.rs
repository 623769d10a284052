//! Ids. Each is parsed once, at the edge; afterwards, its type guarantees that it is valid.

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use crate::{limits, pb};

/// The text is no valid id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        // An invalid id can be anything, also megabytes of it.
        Self { kind, text: text.chars().take(80).collect(), rule }
    }
}

/// For functions that take an id or its text: an id is already valid.
impl From<Infallible> for InvalidId {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

macro_rules! text_id {
    ($(#[doc = $doc:literal])+ $name:ident, $kind:literal, $max:expr, $rule:literal, $forbidden:pat) => {
        $(#[doc = $doc])+
        ///
        /// Cloning is cheap: clones share the text.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// [`InvalidId`], which states the rule.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let fits = (1..=$max).contains(&text.len());
                let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, $forbidden);
                if fits && text.bytes().all(allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId::new($kind, text, $rule))
                }
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidId;
            fn try_from(text: &String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<&Self> for $name {
            type Error = InvalidId;
            fn try_from(id: &Self) -> Result<Self, InvalidId> {
                Ok(id.clone())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
    };
}

text_id! {
    /// A user: 1-64 bytes of printable ASCII without space, `{` and `}` (those would break Redis
    /// hash tags).
    UserId, "user id", limits::MAX_USER_ID_BYTES,
    "it takes 1-64 printable ASCII characters without space, '{' and '}'", b'{' | b'}'
}

text_id! {
    /// A channel, which is a group or a room: in the form of a [`UserId`].
    ChannelId, "channel id", limits::MAX_CHANNEL_ID_BYTES,
    "it takes 1-64 printable ASCII characters without space, '{' and '}'", b'{' | b'}'
}

impl ChannelId {
    /// Returns the channel that carries changes of a user's presence. Its name begins with a space,
    /// which no [parsed](ChannelId::parse) name does: no application and no device can name it.
    pub fn presence_of(user: &UserId) -> Self {
        Self(format!(" {user}").into())
    }

    /// Returns the user whose presence the channel carries; `None` for an ordinary channel.
    pub fn watched_user(&self) -> Option<UserId> {
        UserId::parse(self.0.strip_prefix(' ')?).ok()
    }

    /// Parses a name sent between backends and servers, which may be that of a [presence
    /// channel](Self::presence_of).
    ///
    /// # Errors
    /// [`InvalidId`].
    pub fn parse_internal(text: &str) -> Result<Self, InvalidId> {
        match text.strip_prefix(' ') {
            Some(user) => UserId::parse(user).map(|user| Self::presence_of(&user)),
            None => Self::parse(text),
        }
    }
}

text_id! {
    /// The name of a device, chosen by it: in the form of a [`UserId`], and without `/`, which
    /// joins it to its terminal in a route.
    DeviceId, "device id", limits::MAX_DEVICE_ID_BYTES,
    "it takes 1-64 printable ASCII characters without space, '{', '}' and '/'", b'{' | b'}' | b'/'
}

text_id! {
    /// One run of a server process: its name and a suffix that is new at every start, so that a
    /// stale route can never reach a later process. It is one token of a bus subject, so `.`, `*`
    /// and `>` are excluded, and so is `:`, which separates it from the connection in a stored
    /// route.
    ServerId, "server id", limits::MAX_SERVER_ID_BYTES,
    "it takes 1-64 printable ASCII characters without space and '{}.*>:/'",
    b'{' | b'}' | b'.' | b'*' | b'>' | b':' | b'/'
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Terminal {
    /// A browser.
    Web,
    /// An Android phone or tablet.
    Android,
    /// An iPhone or iPad.
    Ios,
    /// A program on a PC.
    Desktop,
    /// A mini program inside another application.
    MiniProgram,
    /// Any other device.
    Other,
}

impl Terminal {
    /// Every terminal.
    pub const ALL: [Self; 6] =
        [Self::Web, Self::Android, Self::Ios, Self::Desktop, Self::MiniProgram, Self::Other];

    /// Returns the name in routes and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Android => "android",
            Self::Ios => "ios",
            Self::Desktop => "desktop",
            Self::MiniProgram => "mini_program",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Terminal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Terminal {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "it is one of web, android, ios, desktop, mini_program, other";
        let found = Self::ALL.into_iter().find(|terminal| terminal.as_str() == text);
        found.ok_or_else(|| InvalidId::new("terminal", text, rule))
    }
}

impl From<Terminal> for pb::Terminal {
    fn from(terminal: Terminal) -> Self {
        match terminal {
            Terminal::Web => Self::Web,
            Terminal::Android => Self::Android,
            Terminal::Ios => Self::Ios,
            Terminal::Desktop => Self::Desktop,
            Terminal::MiniProgram => Self::MiniProgram,
            Terminal::Other => Self::Other,
        }
    }
}

impl From<pb::Terminal> for Terminal {
    /// A terminal that is unspecified, or unknown to this version, counts as `Other`.
    fn from(terminal: pb::Terminal) -> Self {
        match terminal {
            pb::Terminal::Web => Self::Web,
            pb::Terminal::Android => Self::Android,
            pb::Terminal::Ios => Self::Ios,
            pb::Terminal::Desktop => Self::Desktop,
            pb::Terminal::MiniProgram => Self::MiniProgram,
            pb::Terminal::Unspecified | pb::Terminal::Other => Self::Other,
        }
    }
}

/// A device of a user: its kind and its own name. Written `ios/4f1c`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// The kind of device.
    pub terminal: Terminal,
    /// The name of the device.
    pub id: DeviceId,
}

impl Device {
    /// Creates the identifier of a device.
    pub fn new(terminal: Terminal, id: DeviceId) -> Self {
        Self { terminal, id }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.terminal, self.id)
    }
}

impl FromStr for Device {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "it is a terminal, '/' and a device id";
        let (terminal, id) = text.split_once('/').ok_or_else(|| InvalidId::new("device", text, rule))?;
        Ok(Self { terminal: terminal.parse()?, id: id.parse()? })
    }
}

impl From<&Device> for pb::Device {
    fn from(device: &Device) -> Self {
        Self { terminal: pb::Terminal::from(device.terminal).into(), id: device.id.to_string() }
    }
}

impl TryFrom<pb::Device> for Device {
    type Error = InvalidId;
    fn try_from(device: pb::Device) -> Result<Self, InvalidId> {
        Ok(Self { terminal: device.terminal().into(), id: DeviceId::parse(&device.id)? })
    }
}

/// The number of a connection, unique within one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.0)
    }
}

/// The number of a process that issues message ids. It is leased, so that no two processes have the
/// same at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u16);

impl NodeId {
    /// The number of node numbers.
    pub const COUNT: u16 = 1 << NODE_BITS;

    /// Creates a node number; returns `None` from [`NodeId::COUNT`] on.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Returns the number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The id of a message: unique, roughly ordered by time, and readable (`imctl id`). Use `seq` for
/// order, never the id.
///
/// 63 bits, so that it is positive in every language's signed type: 41 of milliseconds since 2025,
/// 12 of node number, 10 of sequence within the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u64);

const NODE_BITS: u32 = 12;
const SEQUENCE_BITS: u32 = 10;
/// 2025-01-01T00:00:00Z in milliseconds since the Unix epoch. Lasts until 2094.
const EPOCH_MS: u64 = 1_735_689_600_000;
const MAX_TIME: u64 = (1 << 41) - 1;

impl MessageId {
    /// The number of ids that a node can issue in one millisecond.
    pub const PER_MS: u16 = 1 << SEQUENCE_BITS;

    /// Composes an id. Times outside 2025-2094 are moved to the nearest end.
    pub fn from_parts(unix_ms: u64, node: NodeId, sequence: u16) -> Self {
        // From 1 on: otherwise node 0 with a clock that was never set would issue 0, which is no
        // id.
        let time = unix_ms.saturating_sub(EPOCH_MS).clamp(1, MAX_TIME);
        let sequence = u64::from(sequence % Self::PER_MS);
        Self(time << (NODE_BITS + SEQUENCE_BITS) | u64::from(node.0) << SEQUENCE_BITS | sequence)
    }

    /// Returns the lowest id of a time: every id below it is older.
    pub fn first_at(unix_ms: u64) -> Self {
        Self::from_parts(unix_ms, NodeId(0), 0)
    }

    /// Creates an id from its number on the wire; returns `None` for 0 and for numbers with the top
    /// bit set, which are no ids.
    pub fn from_u64(number: u64) -> Option<Self> {
        (number != 0 && number >> 63 == 0).then_some(Self(number))
    }

    /// Returns the number on the wire.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the time at which the id was issued, in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS
    }

    /// Returns the node that issued the id.
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> SEQUENCE_BITS) as u16 & (NodeId::COUNT - 1))
    }

    /// Returns the sequence number within the millisecond.
    pub fn sequence(self) -> u16 {
        self.0 as u16 & (Self::PER_MS - 1)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for MessageId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "it is a whole number from 1 to 9223372036854775807";
        let id = text.parse().ok().and_then(Self::from_u64);
        id.ok_or_else(|| InvalidId::new("message id", text, rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_printable_ascii_without_braces() {
        assert_eq!(UserId::parse("bob").unwrap().as_str(), "bob");
        assert!(UserId::parse(&"x".repeat(64)).is_ok());
        for wrong in ["", "a b", "a{b", "a}b", "é", "a\n", &"x".repeat(65)] {
            assert!(UserId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn channel_ids_follow_the_rules_of_user_ids() {
        assert_eq!(ChannelId::parse("room:1").unwrap().as_str(), "room:1");
        for wrong in ["", "a b", "a{b", "a}b", &"x".repeat(65)] {
            assert!(ChannelId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_stays_short() {
        let error = UserId::parse(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(error.contains("user id") && error.contains("1-64"), "{error}");
        assert!(error.len() < 300);
    }

    #[test]
    fn server_ids_are_single_subject_tokens() {
        assert!(ServerId::parse("edge-1_7f3a").is_ok());
        for wrong in ["a.b", "a*", ">", "a:b"] {
            assert!(ServerId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn devices_read_back_what_they_write() {
        for terminal in Terminal::ALL {
            let device = Device::new(terminal, DeviceId::parse("d-1").unwrap());
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
            assert_eq!(Device::try_from(pb::Device::from(&device)).unwrap(), device);
        }
        assert!("ios".parse::<Device>().is_err());
        assert!("toaster/1".parse::<Device>().is_err());
    }

    #[test]
    fn message_ids_are_positive_ordered_and_readable() {
        let node = NodeId::new(4095).unwrap();
        let id = MessageId::from_parts(EPOCH_MS + 123_456, node, 1023);
        assert_eq!((id.unix_ms(), id.node(), id.sequence()), (EPOCH_MS + 123_456, node, 1023));
        assert!(id < MessageId::from_parts(EPOCH_MS + 123_457, NodeId::new(0).unwrap(), 0));
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert!(MessageId::from_parts(u64::MAX, node, 1023).as_u64() <= i64::MAX as u64);
        let first = MessageId::first_at(EPOCH_MS + 123_456);
        assert!(first <= id && MessageId::from_parts(EPOCH_MS + 123_455, node, 1023) < first);
        assert_eq!(NodeId::new(4096), None);
        assert_eq!(MessageId::from_u64(0), None);
    }

    #[test]
    fn a_presence_has_a_name_that_no_channel_has() {
        let user = UserId::parse("bob").unwrap();
        let presence = ChannelId::presence_of(&user);
        assert!(ChannelId::parse(presence.as_str()).is_err());
        assert_eq!(ChannelId::parse_internal(presence.as_str()), Ok(presence));
        assert_eq!(ChannelId::parse_internal("bob"), ChannelId::parse("bob"));
        for wrong in ["", " ", "  bob", " {", "a b"] {
            assert!(ChannelId::parse_internal(wrong).is_err(), "{wrong:?}");
        }
    }
}
