//! Least permissions of servers and back ends in Redis and NATS.
//!
//! The guide (`operating.md`) lists the same permissions; `tests/tests/it/security/least_privilege.rs`
//! compares them.

/// Owner of a set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An `im-server`.
    Server,
    /// A back end.
    Backend,
}

/// Redis permissions of a server: the routes of users and channels and the servers' leases, and nothing else. A server
/// can neither read a log nor change a membership.
pub const REDIS_SERVER: &str = "~im:{u:*}:routes ~im:{c:*}:servers ~im:{servers}:* resetchannels -@all +auth +hello \
    +ping +select +info +role +time +wait +eval +evalsha +hget +hgetall +hset +hdel +sadd +srem +smembers +zadd +zscore \
    +zrange +zrangebyscore +zrem +client|setname +client|tracking +client|caching +client|id";

/// Redis permissions of a back end: everything with the deployment's keys, no administration of Redis itself.
pub const REDIS_BACKEND: &str = "~im:* resetchannels +@all -@admin -@dangerous +info +role";

/// NATS subjects that a server may subscribe to. With `server.incarnation` set, its own subject suffices.
pub const NATS_SERVER_SUBSCRIBE: &str = r#"["im.srv.*"]"#;

/// NATS subjects that a server may publish to.
pub const NATS_SERVER_PUBLISH: &str = r#"["im.up.*", "im.srv.*"]"#;

/// NATS subjects that a back end may subscribe to.
pub const NATS_BACKEND_SUBSCRIBE: &str = r#"["im.>", "_INBOX.>"]"#;

/// NATS subjects that a back end may publish to. All but the first are for the archive.
pub const NATS_BACKEND_PUBLISH: &str = r#"["im.>", "$JS.API.>", "$JS.ACK.>"]"#;

impl Role {
    /// Returns the name of the Redis and NATS user.
    pub fn user(self) -> &'static str {
        match self {
            Self::Server => "im-server",
            Self::Backend => "backend",
        }
    }

    /// Returns the password of the Redis and NATS user.
    pub fn password(self) -> &'static str {
        match self {
            Self::Server => "server-secret",
            Self::Backend => "backend-secret",
        }
    }

    /// Returns the Redis permissions.
    pub fn redis(self) -> &'static str {
        match self {
            Self::Server => REDIS_SERVER,
            Self::Backend => REDIS_BACKEND,
        }
    }

    /// Returns an address with the user's name and password.
    pub(crate) fn at(self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}:{}@127.0.0.1:{port}", self.user(), self.password())
    }

    /// Returns the arguments of `redis-server` that create the user.
    pub(crate) fn redis_arguments(self) -> Vec<String> {
        let user = format!("{} reset on >{} {}", self.user(), self.password(), self.redis());
        ["--user".to_owned()].into_iter().chain(user.split_whitespace().map(str::to_owned)).collect()
    }
}

/// Returns a NATS configuration with both users. Connections without a user, as tests open them, may do everything.
pub(crate) fn nats_config() -> String {
    let user = |role: Role, subscribe: &str, publish: &str| {
        format!(
            "{{ user: {}, password: {}, permissions: {{ subscribe: {{ allow: {subscribe} }}, publish: {{ allow: {publish} }} }} }}",
            role.user(),
            role.password(),
        )
    };
    format!(
        "no_auth_user: test\nauthorization {{ users = [\n  {{ user: test, password: test }}\n  {}\n  {}\n] }}\n",
        user(Role::Server, NATS_SERVER_SUBSCRIBE, NATS_SERVER_PUBLISH),
        user(Role::Backend, NATS_BACKEND_SUBSCRIBE, NATS_BACKEND_PUBLISH),
    )
}
