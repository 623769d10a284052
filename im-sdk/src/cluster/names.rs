//! Redis keys and bus subjects. No other module builds any.
//!
//! Keys of one user share the hash tag `{u:<user>}` and those of one channel `{c:<channel>}`, so
//! that a script over them stays in one slot of a Redis Cluster. The servers' keys share
//! `{servers}`, the node numbers' `{nodes}`.

use std::{fmt, sync::Arc};

use crate::{
    cluster::log_id::LogId,
    id::{ChannelId, ServerId, UserId},
};

/// The default of [`ClusterConfig::prefix`](super::ClusterConfig::prefix).
pub(crate) const DEFAULT_PREFIX: &str = "im";

/// Builds a deployment's Redis keys and bus subjects. Opaque outside this crate; an implementer of
/// [`Bus`](super::Bus) keeps one to return from `names`.
#[derive(Clone, Debug)]
pub struct Names {
    /// The prefix that keeps deployments apart; see
    /// [`ClusterConfig::prefix`](super::ClusterConfig::prefix).
    prefix: Arc<str>,
}

impl Default for Names {
    /// Returns the names of a deployment with the default prefix.
    fn default() -> Self {
        Self { prefix: DEFAULT_PREFIX.into() }
    }
}

impl Names {
    /// Creates names with a prefix, or returns `None` if it would break a key or a subject.
    pub fn new(prefix: &str) -> Option<Self> {
        let fits = (1..=32).contains(&prefix.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (fits && prefix.bytes().all(allowed)).then(|| Self { prefix: prefix.into() })
    }

    /// Hash: device -> `<server>:<connection>`.
    pub fn routes(&self, user: &UserId) -> String {
        [&self.prefix, ":{u:", user.as_str(), "}:routes"].concat()
    }

    /// Parses the user from a key of [`Names::routes`].
    pub fn parse_routes(&self, key: &str) -> Option<UserId> {
        let user = key.strip_prefix(&*self.prefix)?.strip_prefix(":{u:")?.strip_suffix("}:routes")?;
        UserId::parse(user).ok()
    }

    /// Sorted set: the members of a channel, all with the score 0.
    pub fn members(&self, channel: &ChannelId) -> String {
        format!("{}:{{c:{channel}}}:members", self.prefix)
    }

    /// Set: the servers that hold connections of a channel's members.
    pub fn channel_servers(&self, channel: &ChannelId) -> String {
        format!("{}:{{c:{channel}}}:servers", self.prefix)
    }

    /// Set: the channels that a user is a member of.
    pub fn user_channels(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:channels", self.prefix)
    }

    /// Stream: the entries of a log under the ids `0-<seq>`, each with the message's id as `i` and
    /// its payload as `p`.
    pub fn log(&self, log: &LogId) -> String {
        match log {
            LogId::Inbox(user) => [&self.prefix, ":{u:", user.as_str(), "}:inbox"].concat(),
            LogId::Channel(channel) => [&self.prefix, ":{c:", channel.as_str(), "}:channel"].concat(),
        }
    }

    /// String: the record of an append that may be retried.
    pub fn log_record(&self, log: &LogId, record: &str) -> String {
        format!("{}:{record}", self.log(log))
    }

    /// Sorted set: `<seq> <message id> <payload>` of entries whose payload was replaced, by seq.
    pub fn replaced_entries(&self, log: &LogId) -> String {
        format!("{}:replaced", self.log(log))
    }

    /// Hash: the writers' shares of a log; see `redis/log/quota.rs`.
    pub fn log_writers(&self, log: &LogId) -> String {
        format!("{}:writers", self.log(log))
    }

    /// Sorted set: device and log, as `<terminal>/<device> <log>` -> the seq that the device has
    /// acknowledged.
    pub fn acks(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:acks", self.prefix)
    }

    /// Sorted set: device and log, as in [`Names::acks`] -> the time of the last acknowledgement,
    /// in milliseconds since the Unix epoch.
    pub fn ack_times(&self, user: &UserId) -> String {
        format!("{}:times", self.acks(user))
    }

    /// Hash: `u:<user>` or `c:<channel>` -> the user's state of this conversation; `version` -> the
    /// last version.
    pub fn conversations(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:conversations", self.prefix)
    }

    /// Sorted set: conversation -> its version.
    pub fn conversation_versions(&self, user: &UserId) -> String {
        format!("{}:versions", self.conversations(user))
    }

    /// Sorted set: user that the user has written to -> when that was last recorded, in
    /// milliseconds since the Unix epoch.
    pub fn contacts(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:contacts", self.prefix)
    }

    /// Sorted set: id of a message that the user has deleted for itself -> the time in it.
    pub fn deleted_messages(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:deleted", self.prefix)
    }

    /// Sorted set: user -> the seq up to which the user has read the channel.
    pub fn readers(&self, channel: &ChannelId) -> String {
        format!("{}:{{c:{channel}}}:readers", self.prefix)
    }

    /// Sorted set: terminal -> when one of the user's devices of that kind was last disconnected,
    /// in milliseconds since the Unix epoch.
    pub fn last_seen(&self, user: &UserId) -> String {
        format!("{}:{{u:{user}}}:seen", self.prefix)
    }

    /// Sorted set: server id -> the end of its lease, in milliseconds of Redis's clock.
    pub fn server_leases(&self) -> String {
        format!("{}:{{servers}}:leases", self.prefix)
    }

    /// Hash: server id -> encoded `ServerInfo`.
    pub fn server_infos(&self) -> String {
        format!("{}:{{servers}}:infos", self.prefix)
    }

    /// Sorted set: node number -> the end of its lease.
    pub fn node_leases(&self) -> String {
        format!("{}:{{nodes}}:leases", self.prefix)
    }

    /// Hash: node number -> the owner of the lease.
    pub fn node_owners(&self) -> String {
        format!("{}:{{nodes}}:owners", self.prefix)
    }

    /// Hash: node number -> the latest time that its holder may have used in an id.
    pub fn node_floors(&self) -> String {
        format!("{}:{{nodes}}:floors", self.prefix)
    }

    /// Messages to one server.
    pub fn server(&self, server: &ServerId) -> Subject {
        Subject::new(format!("{}.srv.{server}", self.prefix))
    }

    /// Publishes of devices, for the backends' queue group.
    pub fn upstream_publish(&self) -> Subject {
        Subject::new(format!("{}.up.publish", self.prefix))
    }

    /// Requests of devices for entries after their cursors, for the backends' queue group.
    pub fn upstream_sync(&self) -> Subject {
        Subject::new(format!("{}.up.sync", self.prefix))
    }

    /// Questions of servers that cannot reach the route store, whether others can, for the
    /// backends' queue group.
    pub fn upstream_store(&self) -> Subject {
        Subject::new(format!("{}.up.store", self.prefix))
    }

    /// Questions of servers in which channels connections may be, for the backends' queue group.
    pub fn upstream_membership(&self) -> Subject {
        Subject::new(format!("{}.up.membership", self.prefix))
    }

    /// Requests of devices, for the backends' queue group.
    pub fn upstream_request(&self) -> Subject {
        Subject::new(format!("{}.up.request", self.prefix))
    }

    /// Acknowledgements of devices, for the backends' queue group.
    pub fn upstream_ack(&self) -> Subject {
        Subject::new(format!("{}.up.ack", self.prefix))
    }

    /// Signals of devices, for the backends' queue group.
    pub fn upstream_signal(&self) -> Subject {
        Subject::new(format!("{}.up.signal", self.prefix))
    }

    /// Devices that have connected and disconnected, for the backends' queue group.
    pub fn upstream_presence(&self) -> Subject {
        Subject::new(format!("{}.up.presence", self.prefix))
    }

    /// Stored acknowledgements, for every backend that waits for some.
    pub fn acks_stored(&self) -> Subject {
        Subject::new(format!("{}.acks", self.prefix))
    }

    /// Heartbeats of backends that serve, for all backends.
    pub fn back_ends_alive(&self) -> Subject {
        Subject::new(format!("{}.backends", self.prefix))
    }

    /// Returns the JetStream stream of messages on their way into the archive.
    pub fn archive_stream(&self) -> String {
        format!("{}-archive", self.prefix)
    }

    /// Returns the subject that this stream stores. Not below `up` or `srv`: a server must not be able to
    /// write it.
    pub fn archive(&self) -> Subject {
        Subject::new(format!("{}.archive", self.prefix))
    }

    /// Returns the durable consumer that all archivers share.
    pub fn archivers(&self) -> String {
        format!("{}-archivers", self.prefix)
    }

    /// Answers of servers to one backend or server. Below `up` and of one token, so that a server
    /// needs no more rights than publishing to `<prefix>.up.*` and `<prefix>.srv.*`.
    pub fn answers(&self, publisher: &str) -> Subject {
        Subject::new(format!("{}.up.answers-{publisher}", self.prefix))
    }

    /// Reports of the bus that the envelope `number` for `server` had no subscriber.
    pub fn undelivered(&self, publisher: &str, server: &ServerId, number: u64) -> Subject {
        Subject::new(format!("{}.undelivered.{publisher}.{server}:{number}", self.prefix))
    }

    /// Parses the server and the number of an envelope from a subject of [`Names::undelivered`].
    pub fn parse_undelivered(&self, subject: &Subject) -> Option<(ServerId, u64)> {
        let (server, number) = subject.last_token().rsplit_once(':')?;
        Some((server.parse().ok()?, number.parse().ok()?))
    }

    /// All of one publisher's [`Names::undelivered`].
    pub fn all_undelivered(&self, publisher: &str) -> Subject {
        Subject::new(format!("{}.undelivered.{publisher}.*", self.prefix))
    }

    /// Returns the queue group of all backends.
    pub fn backends(&self) -> QueueGroup {
        QueueGroup(format!("{}-backends", self.prefix).into())
    }
}

/// A subject of the bus. Cloning is cheap. The last token of a subscription may be `*`, which
/// matches any one token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Wraps a subject reported by the bus.
    pub fn received(text: &str) -> Self {
        Self(text.into())
    }

    /// Parses the subject on which a peer wants an answer. Returns `None` unless [`Names::answers`]
    /// makes it: a peer must not be able to make this process publish anywhere else.
    pub fn answer(names: &Names, text: &str) -> Option<Self> {
        let start = format!("{}.up.answers-", names.prefix);
        let publisher = text.strip_prefix(&start)?;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>');
        (!publisher.is_empty() && publisher.bytes().all(allowed)).then(|| Self::received(text))
    }

    /// Returns the text of the subject.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last token.
    pub fn last_token(&self) -> &str {
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
    /// Returns the name of the group.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerId {
        ServerId::parse("edge-1_7f3a").unwrap()
    }

    /// Returns the part of a key by which a Redis Cluster picks the slot: between the first `{` and
    /// the first `}` after it.
    fn hash_tag(key: &str) -> &str {
        key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).unwrap().0
    }

    #[test]
    fn keys_used_together_share_a_slot_and_no_two_users_share_a_key() {
        let names = Names::default();
        for user in ["bob", "a:b", "servers", "u:x", "nodes"] {
            let user = UserId::parse(user).unwrap();
            assert_eq!(hash_tag(&names.routes(&user)), format!("u:{user}"));
            assert_eq!(hash_tag(&names.ack_times(&user)), hash_tag(&names.acks(&user)));
            let conversations = hash_tag(&names.conversations(&user)).to_owned();
            assert_eq!(hash_tag(&names.conversation_versions(&user)), conversations);
            assert_eq!(conversations, hash_tag(&names.routes(&user)));
            assert_eq!(conversations, hash_tag(&names.contacts(&user)));
            assert_eq!(conversations, hash_tag(&names.deleted_messages(&user)));
            assert_eq!(hash_tag(&names.last_seen(&user)), hash_tag(&names.routes(&user)));
            assert_eq!(names.parse_routes(&names.routes(&user)), Some(user.clone()));
            assert_eq!(names.parse_routes(&names.acks(&user)), None);
            let channel: ChannelId = user.as_str().parse().unwrap();
            let log = LogId::Channel(channel.clone());
            let keys = [
                names.log(&log),
                names.log_writers(&log),
                names.members(&channel),
                names.channel_servers(&channel),
                names.readers(&channel),
            ];
            for key in keys {
                assert_eq!(hash_tag(&key), format!("c:{user}"), "{key}");
            }
            let inbox = LogId::Inbox(user.clone());
            let keys =
                [names.log(&inbox), names.log_record(&inbox, "producer:{x}"), names.user_channels(&user)];
            let keys = keys.into_iter().chain([names.log_writers(&inbox), names.acks(&user)]);
            for key in keys {
                assert_eq!(hash_tag(&key), hash_tag(&names.routes(&user)), "{key}");
            }
        }
        assert_eq!(hash_tag(&names.server_leases()), hash_tag(&names.server_infos()));
        let nodes = [names.node_leases(), names.node_owners(), names.node_floors()];
        assert!(nodes.iter().all(|key| hash_tag(key) == "nodes"));
    }

    #[test]
    fn every_name_carries_the_prefix() {
        let names = Names::new("other").unwrap();
        let subjects =
            [names.server(&server()), names.upstream_publish(), names.answers("b1"), names.archive()];
        assert!(subjects.iter().all(|subject| subject.as_str().starts_with("other.")));
        assert!(names.backends().as_str().starts_with("other-"));
        assert!(names.archive_stream().starts_with("other-") && names.archivers().starts_with("other-"));
        assert!(names.server_leases().starts_with("other:") && names.node_floors().starts_with("other:"));
    }

    #[test]
    fn prefixes_that_would_break_a_name_are_refused() {
        assert!(Names::new(&"x".repeat(32)).is_some() && Names::new("im-2_test").is_some());
        for wrong in ["", "a.b", "a*", "a b", "a{b", "a:b", "ä", &"x".repeat(33)] {
            assert!(Names::new(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_server_publishes_to_one_token_below_up_and_srv() {
        let names = Names::default();
        let upstream = [
            names.upstream_publish(),
            names.upstream_sync(),
            names.upstream_store(),
            names.upstream_request(),
            names.upstream_membership(),
            names.upstream_ack(),
            names.upstream_signal(),
            names.upstream_presence(),
        ];
        for subject in upstream.into_iter().chain([names.answers("b1"), names.server(&server())]) {
            let tokens: Vec<&str> = subject.as_str().split('.').collect();
            assert!(matches!(tokens[..], ["im", "up" | "srv", _]), "{subject}");
        }
        assert_eq!(names.archive().as_str(), "im.archive", "and nobody but a backend into the archive");
    }

    #[test]
    fn a_report_says_what_was_not_delivered() {
        let names = Names::default();
        let report = names.undelivered("b1", &server(), 42);
        assert_eq!(names.parse_undelivered(&report), Some((server(), 42)));
        let all = names.all_undelivered("b1");
        assert_eq!(report.as_str().strip_suffix(report.last_token()), all.as_str().strip_suffix('*'));
        assert_eq!(names.parse_undelivered(&names.upstream_publish()), None);
    }

    #[test]
    fn answers_are_asked_for_only_where_answers_go() {
        let names = Names::default();
        let answers = names.answers("b1");
        assert_eq!(Subject::answer(&names, answers.as_str()), Some(answers));
        for wrong in
            ["im.up.publish", "im.up.answers-", "im.up.answers-a.b", "im.up.answers-*", "x.up.answers-a"]
        {
            assert_eq!(Subject::answer(&names, wrong), None, "{wrong}");
        }
    }
}
