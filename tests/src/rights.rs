//! The least rights of servers and back ends, in Redis and on NATS. README.md shows the same; `tests/tests/it/security/least_privilege.rs` compares.

/// Whose rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An `im-server`.
    Server,
    /// A back end.
    Backend,
}

/// What a server may do in Redis: the routes of users and channels and the servers' own leases, and nothing else. It can
/// read no log and change no membership.
pub const REDIS_SERVER: &str = "~im:{u:*}:routes ~im:{c:*}:servers ~im:{servers}:* resetchannels -@all +auth +hello \
    +ping +select +info +role +time +wait +eval +evalsha +hget +hgetall +hset +hdel +sadd +srem +smembers +zadd +zscore \
    +zrange +zrangebyscore +zrem +client|setname +client|tracking +client|caching +client|id";

/// What a back end may do in Redis: whatever it likes with the deployment's own keys, and nothing to the Redis itself.
pub const REDIS_BACKEND: &str = "~im:* resetchannels +@all -@admin -@dangerous +info +role";

/// What a server may hear on NATS. Where `server.incarnation` is set, its own subject alone.
pub const NATS_SERVER_SUBSCRIBE: &str = r#"["im.srv.*"]"#;

/// What a server may say on NATS.
pub const NATS_SERVER_PUBLISH: &str = r#"["im.up.*", "im.srv.*"]"#;

/// What a back end may hear on NATS.
pub const NATS_BACKEND_SUBSCRIBE: &str = r#"["im.>", "_INBOX.>"]"#;

/// What a back end may say on NATS. All but the first are for the archive.
pub const NATS_BACKEND_PUBLISH: &str = r#"["im.>", "$JS.API.>", "$JS.ACK.>"]"#;

impl Role {
    /// The user's name.
    pub fn user(self) -> &'static str {
        match self {
            Self::Server => "im-server",
            Self::Backend => "backend",
        }
    }

    /// The password of tests.
    pub fn password(self) -> &'static str {
        match self {
            Self::Server => "server-secret",
            Self::Backend => "backend-secret",
        }
    }

    /// Its rights in Redis.
    pub fn redis(self) -> &'static str {
        match self {
            Self::Server => REDIS_SERVER,
            Self::Backend => REDIS_BACKEND,
        }
    }

    /// An address with its name and password.
    pub(crate) fn at(self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}:{}@127.0.0.1:{port}", self.user(), self.password())
    }

    /// Arguments of `redis-server` that make the user.
    pub(crate) fn redis_arguments(self) -> Vec<String> {
        let user = format!("{} reset on >{} {}", self.user(), self.password(), self.redis());
        ["--user".to_owned()].into_iter().chain(user.split_whitespace().map(str::to_owned)).collect()
    }
}

/// A configuration of NATS with both users. Whoever names none may do everything, as tests do.
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
