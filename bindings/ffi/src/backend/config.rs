//! Configuration of a back end.

use std::{sync::Arc, time::Duration};

use im_sdk::{
    backend::{self as sdk, Im, ImBuilder, message_store::SqlMessageStore},
    cluster::{Cluster, ClusterConfig},
};

use super::{BackendError, Durability};

/// Configuration of a back end.
#[derive(Clone, Debug, uniffi::Record)]
pub struct BackendConfig {
    /// URLs of Redis. Not needed with an embedded server.
    #[uniffi(default = [])]
    pub redis: Vec<String>,
    /// URLs of NATS. Not needed with an embedded server.
    #[uniffi(default = [])]
    pub nats: Vec<String>,
    /// URLs of a separate Redis for routes. Defaults to the Redis for everything else.
    #[uniffi(default = [])]
    pub routes_redis: Vec<String>,
    /// The prefix of all keys and subjects. It must be the same at the servers.
    #[uniffi(default = None)]
    pub prefix: Option<String>,
    /// The number of Redis replicas that must have a message before it counts as logged.
    #[uniffi(default = None)]
    pub min_replicas: Option<u32>,
    /// The database that archives messages: `postgres://..` or `sqlite://..`. Without one, history ends where the logs do.
    #[uniffi(default = None)]
    pub message_store: Option<String>,
    /// The default durability of messages. `Archived` with a message store, else `Logged`, unless set.
    #[uniffi(default = None)]
    pub default_durability: Option<Durability>,
    /// The sender of messages to users that the back end sends without naming one.
    #[uniffi(default = None)]
    pub system_user: Option<String>,
    /// The name of the service, shown to operators. The program's name unless set.
    #[uniffi(default = None)]
    pub service_name: Option<String>,
    /// The time limit for the answer to a call of the service. Default 10 s.
    #[uniffi(default = None)]
    pub handler_timeout_ms: Option<u64>,
    /// The maximum number of concurrent calls. Default 1024.
    #[uniffi(default = None)]
    pub handler_concurrency: Option<u32>,
    /// The time that a send waits for the servers' answers. Default 5 s.
    #[uniffi(default = None)]
    pub send_timeout_ms: Option<u64>,
    /// The time within which the sender may recall a message. Default 2 min; 0 forbids it.
    #[uniffi(default = None)]
    pub recall_within_ms: Option<u64>,
    /// The time within which the sender may edit a message. Default 24 h; 0 forbids it.
    #[uniffi(default = None)]
    pub edit_within_ms: Option<u64>,
    /// Limits the work that one user may cause. Turn it off for load tests.
    #[uniffi(default = true)]
    pub user_budgets: bool,
}

impl BackendConfig {
    /// Connects to Redis and NATS, and starts the back end.
    pub(super) async fn connect(self) -> Result<Im, BackendError> {
        let mut cluster = ClusterConfig::new(&self.redis, &self.nats);
        cluster.routes_redis.clone_from(&self.routes_redis);
        if let Some(prefix) = &self.prefix {
            cluster.prefix.clone_from(prefix);
        }
        if let Some(replicas) = self.min_replicas {
            cluster.min_replicas = replicas as usize;
        }
        Ok(self.builder().await?.connect(cluster).await?)
    }

    /// Starts the back end on an existing cluster.
    pub(super) async fn start(self, cluster: Cluster) -> Result<Im, BackendError> {
        Ok(self.builder().await?.start(cluster).await?)
    }

    async fn builder(self) -> Result<ImBuilder, BackendError> {
        let mut builder = Im::builder().changes(self.changes());
        if let Some(url) = &self.message_store {
            let store = SqlMessageStore::connect(url).await.map_err(BackendError::unavailable)?;
            builder = builder.archive_to(Arc::new(store));
        }
        if let Some(durability) = self.default_durability {
            builder = builder.default_durability(durability.into());
        }
        if let Some(user) = self.system_user {
            builder = builder.system_user(user);
        }
        if let Some(name) = self.service_name {
            builder = builder.service_name(name);
        }
        if let Some(ms) = self.handler_timeout_ms {
            builder = builder.handler_timeout(Duration::from_millis(ms));
        }
        if let Some(calls) = self.handler_concurrency {
            builder = builder.handler_concurrency(calls as usize);
        }
        if let Some(ms) = self.send_timeout_ms {
            builder = builder.send_timeout(Duration::from_millis(ms));
        }
        if !self.user_budgets {
            builder = builder.user_budgets(sdk::UserBudgets::unlimited());
        }
        Ok(builder)
    }

    fn changes(&self) -> sdk::ChangePolicy {
        let mut changes = sdk::ChangePolicy::default();
        let within = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        if let Some(ms) = self.recall_within_ms {
            changes.recall = within(ms);
        }
        if let Some(ms) = self.edit_within_ms {
            changes.edit = within(ms);
        }
        changes
    }
}
