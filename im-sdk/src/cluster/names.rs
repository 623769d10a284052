//! The only place that builds a Redis key or a bus subject.
//!
//! Keys of one user share the hash tag `{u:<user>}`, so a script over them stays in one slot of a Redis Cluster; the
//! servers' keys share `{servers}`, the node numbers' `{nodes}`.

use std::{fmt, sync::Arc};

use crate::id::{ServerId, UserId};

/// The prefix that keeps deployments apart; see [`super::ClusterConfig::prefix`].
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: Arc<str>,
}

impl Names {
    /// `None` when the prefix would break a key or a subject.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let fits = (1..=32).contains(&prefix.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (fits && prefix.bytes().all(allowed)).then(|| Self { prefix: prefix.into() })
    }

    /// Hash: device -> `<server>:<connection>`.
    pub(crate) fn routes(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:routes", self.prefix)
    }

    /// Sorted set: server id -> when its lease ends, in milliseconds of Redis's clock.
    pub(crate) fn server_leases(&self) -> String {
        format!("{}:{{servers}}:leases", self.prefix)
    }

    /// Hash: server id -> encoded `ServerInfo`.
    pub(crate) fn server_infos(&self) -> String {
        format!("{}:{{servers}}:infos", self.prefix)
    }

    /// Sorted set: node number -> when its lease ends.
    pub(crate) fn node_leases(&self) -> String {
        format!("{}:{{nodes}}:leases", self.prefix)
    }

    /// Hash: node number -> who holds the lease.
    pub(crate) fn node_owners(&self) -> String {
        format!("{}:{{nodes}}:owners", self.prefix)
    }

    /// Hash: node number -> the latest time that its holder may have used in an id.
    pub(crate) fn node_floors(&self) -> String {
        format!("{}:{{nodes}}:floors", self.prefix)
    }

    /// What is meant for one server.
    pub(crate) fn server(&self, server: &ServerId) -> Subject {
        Subject::new(format!("{}.srv.{server}", self.prefix))
    }

    /// Devices' publishes, for the back ends' queue group.
    pub(crate) fn upstream_publish(&self) -> Subject {
        Subject::new(format!("{}.up.publish", self.prefix))
    }

    /// Servers' answers to one back end or server. Below `up` and of one token, so that a server needs no more rights
    /// than publishing to `<prefix>.up.*` and `<prefix>.srv.*`.
    pub(crate) fn answers(&self, publisher: &str) -> Subject {
        Subject::new(format!("{}.up.answers-{publisher}", self.prefix))
    }

    /// Where the bus reports that nobody took envelope `number` for `server`.
    pub(crate) fn undelivered(&self, publisher: &str, ticket: u64) -> Subject {
        Subject::new(format!("{}.undelivered.{publisher}.{ticket}", self.prefix))
    }

    /// All of one publisher's [`Names::undelivered`].
    pub(crate) fn all_undelivered(&self, publisher: &str) -> Subject {
        Subject::new(format!("{}.undelivered.{publisher}.*", self.prefix))
    }

    /// The queue group of all back ends.
    pub(crate) fn backends(&self) -> QueueGroup {
        QueueGroup(format!("{}-backends", self.prefix).into())
    }
}

/// A subject of the bus. Cloning is cheap. A subscription's last token may be `*`: it takes any one token there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    fn new(text: String) -> Self {
        Self(text.into())
    }

    /// A subject as the bus reports it.
    pub(crate) fn received(text: &str) -> Self {
        Self(text.into())
    }

    /// A subject that a peer asks for an answer on. `None` unless it is one that [`Names::answers`] makes: a peer must
    /// not be able to make this process publish anywhere else.
    pub(crate) fn answer(names: &Names, text: &str) -> Option<Self> {
        let start = format!("{}.up.answers-", names.prefix);
        let publisher = text.strip_prefix(&start)?;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>');
        (!publisher.is_empty() && publisher.bytes().all(allowed)).then(|| Self::received(text))
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last token.
    pub(crate) fn last_token(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A group of subscribers of which one gets each message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueGroup(Arc<str>);

impl QueueGroup {
    /// The group's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
