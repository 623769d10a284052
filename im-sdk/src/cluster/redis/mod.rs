//! Routes, logs, members, conversations and last-seen times in Redis: a single server or a Redis Cluster.

mod connection;
mod conversations;
mod discovery;
mod error_context;
mod eviction;
mod last_seen;
mod log;
mod members;
mod no_retry;
mod pipeline;
mod resp;
mod routes;
mod watermark;

pub(super) use self::{
    connection::{Redis, Script, ScriptForm, is_of_unknown_script},
    error_context::RequestError,
    no_retry::{NoRetryConnection, SendError},
    pipeline::{InvalidationListener, PipelinedConnection},
    resp::{Commands, Decimal, Replies, Reply},
    watermark::Watermark,
};
pub use self::{
    conversations::RedisConversations, last_seen::RedisLastSeen, log::RedisLog, members::RedisMembers,
    routes::RedisRoutes,
};
