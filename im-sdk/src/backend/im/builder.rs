//! The settings of a backend, and its start from them.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::sync::{Semaphore, watch};

use super::{Im, Inner};
use crate::{
    backend::{
        amend::Amender,
        channels::ChannelParts,
        conversations::Conversations,
        health::{HealthCheck, program_name},
        history::{
            HistoryReader,
            archiver::{Archiver, NoArchive},
            search::MessageSearch,
        },
        lookup::MessageLookup,
        message_store::MessageStore,
        presence::OnlineDevices,
        send::{
            MessageDefaults, MessageSender,
            acks::{AckTracker, AckWatch},
            broadcast::Broadcaster,
            dispatch::Dispatcher,
            message::Durability,
            message_ids::Ids,
            publisher::Publisher,
            server_directory::Directory,
        },
        service::{ServiceContext, ServiceParts, ServiceSettings, budget::UserBudgets, change::ChangePolicy},
        tasks::Tasks,
        upkeep::Upkeep,
    },
    cluster::{ArchiveConfig, BusError, Cluster, ClusterConfig, ConnectError, RoutesError},
    id::{InvalidId, UserId},
};

/// The complete settings.
#[derive(Clone, Debug)]
struct Config {
    send_timeout: Duration,
    directory_refresh: Duration,
    node_lease: Duration,
    handler_concurrency: usize,
    default_durability: Durability,
    message_store: Option<Arc<dyn MessageStore>>,
    changes: ChangePolicy,
    handler_timeout: Duration,
    user_budgets: UserBudgets,
    service_name: String,
    system_user: Option<UserId>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(5),
            directory_refresh: Duration::from_secs(1),
            node_lease: Duration::from_secs(30),
            handler_concurrency: 1024,
            default_durability: Durability::default(),
            message_store: None,
            changes: ChangePolicy::default(),
            handler_timeout: Duration::from_secs(10),
            user_budgets: UserBudgets::default(),
            service_name: program_name(),
            system_user: None,
        }
    }
}

/// The shortest interval of a task.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

impl Config {
    /// Puts the parts of a backend together, and starts its tasks.
    async fn start(
        self,
        cluster: Cluster,
        archive_to: Option<Arc<dyn MessageStore>>,
    ) -> Result<Im, StartError> {
        let name = format!("be-{:016x}", rand::rng().random::<u64>());
        let ids = Ids::lease(&cluster, &name, self.node_lease).await?.ok_or(StartError::NoNode)?;
        let (ids, tasks) = (Arc::new(ids), Arc::new(Tasks::new()));
        let archiver = match archive_to {
            Some(store) => Some(Archiver::start(&cluster, store, tasks.tracker(), tasks.stop())?),
            None => None,
        };
        let directory = Arc::new(Directory::new(cluster.clone()));
        let publisher = Publisher::new(cluster.clone(), name, self.send_timeout, tasks.tracker().clone());
        let publisher = Arc::new(publisher);
        let stores = watch::Sender::new(true);
        directory.refresh().await?;
        let upkeep = Upkeep {
            cluster: cluster.clone(),
            publisher: Arc::clone(&publisher),
            ids: Arc::clone(&ids),
            directory: Arc::clone(&directory),
            stores: stores.clone(),
            directory_refresh: self.directory_refresh,
        };
        upkeep.start(&tasks).await?;
        let inner = self.assemble(cluster, directory, publisher, ids, stores, archiver, tasks);
        Ok(Im { inner: Arc::new(inner) })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts that tasks keep up to date")]
    fn assemble(
        self,
        cluster: Cluster,
        directory: Arc<Directory>,
        publisher: Arc<Publisher>,
        ids: Arc<Ids>,
        stores: watch::Sender<bool>,
        archiver: Option<Archiver>,
        tasks: Arc<Tasks>,
    ) -> Inner {
        let store = self.message_store.clone();
        let lookup = Arc::new(MessageLookup::new(Arc::clone(cluster.log()), store.clone()));
        let amender = Arc::new(Amender::new(Arc::clone(&lookup), Arc::clone(&tasks)));
        let dispatcher = Arc::new(Dispatcher::new(
            cluster.clone(),
            Arc::clone(&directory),
            Arc::clone(&publisher),
            Arc::clone(&tasks),
        ));
        let sender = Arc::new(MessageSender::new(
            cluster.clone(),
            self.message_defaults(),
            Arc::clone(&ids),
            Arc::clone(&lookup),
            Arc::clone(&amender),
            Arc::clone(&dispatcher),
        ));
        let history = HistoryReader::new(lookup, Arc::clone(cluster.conversations()), Arc::clone(&amender));
        let history = Arc::new(history);
        let search = MessageSearch::new(cluster.clone(), store.clone(), Arc::clone(&history));
        let search = Arc::new(search);
        let conversations = Arc::new(Conversations::new(
            cluster.clone(),
            store.clone(),
            Arc::clone(&history),
            Arc::clone(&dispatcher),
        ));
        let channels = Arc::new(ChannelParts::new(
            cluster.clone(),
            Arc::clone(&sender),
            Arc::clone(&dispatcher),
            Arc::clone(&history),
            Arc::clone(&conversations),
            Arc::clone(&tasks),
        ));
        let health = HealthCheck::new(
            cluster.clone(),
            directory,
            publisher,
            self.service_name.clone(),
            self.send_timeout,
        );
        let devices = Arc::new(OnlineDevices::new(cluster.clone(), Arc::clone(&dispatcher)));
        let parts = ServiceParts {
            dispatcher: Arc::clone(&dispatcher),
            sender: Arc::clone(&sender),
            history: Arc::clone(&history),
            search: Arc::clone(&search),
            amender,
            conversations: Arc::clone(&conversations),
            devices: Arc::clone(&devices),
            health: Arc::new(health),
            stores,
            tasks: Arc::clone(&tasks),
        };
        let acks = AckWatch::new(cluster.clone(), tasks.tracker().clone(), tasks.stop().clone());
        Inner {
            broadcaster: Broadcaster::new(ids, Arc::clone(&dispatcher)),
            acks: AckTracker::new(acks, Arc::clone(&dispatcher)),
            health: Arc::clone(&parts.health),
            send_timeout: self.send_timeout,
            service: Arc::new(ServiceContext::new(cluster.clone(), parts, self.service_settings())),
            message_store: store,
            cluster,
            dispatcher,
            sender,
            devices,
            history,
            search,
            conversations,
            channels,
            archiver,
            tasks,
        }
    }

    fn message_defaults(&self) -> MessageDefaults {
        MessageDefaults {
            durability: self.default_durability,
            change_durability: self.changes.durability(self.default_durability),
            system_user: self.system_user.clone(),
        }
    }

    fn service_settings(self) -> ServiceSettings {
        ServiceSettings {
            handler_concurrency: self.handler_concurrency,
            handler_timeout: self.handler_timeout,
            send_timeout: self.send_timeout,
            changes: self.changes,
            default_durability: self.default_durability,
            user_budgets: self.user_budgets,
        }
    }

    fn check(&self, cluster: &Cluster) -> Result<(), StartError> {
        if self.directory_refresh < MIN_INTERVAL {
            return Err(StartError::Config("directory_refresh must be at least 10 ms"));
        }
        if self.node_lease < MIN_INTERVAL * 3 {
            return Err(StartError::Config("node_lease must be at least 30 ms"));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.handler_concurrency) {
            return Err(StartError::Config("handler_concurrency must be at least 1"));
        }
        if self.handler_timeout < MIN_INTERVAL {
            return Err(StartError::Config("handler_timeout must be at least 10 ms"));
        }
        if self.default_durability == Durability::Archived && cluster.archive().is_none() {
            return Err(StartError::Config("default_durability is Archived, but the cluster has no archive"));
        }
        Ok(())
    }
}

/// Builds an [`Im`]. Created by [`Im::builder`]; each setting has a default.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use im_sdk::{backend::{Im, message_store::MemoryMessageStore}, cluster::Cluster};
///
/// let im = Im::builder()
///     .send_timeout(Duration::from_secs(2))
///     .system_user("shop")
///     .archive_to(Arc::new(MemoryMessageStore::new()))
///     .start(Cluster::embedded())
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct ImBuilder {
    config: Config,
    default_durability: Option<Durability>,
    archive_to: Option<Arc<dyn MessageStore>>,
    system_user: Option<Result<UserId, InvalidId>>,
}

impl ImBuilder {
    /// Connects to Redis and NATS, and starts. With [`ImBuilder::archive_to`], an unset [`ClusterConfig::archive`] gets its
    /// default settings.
    ///
    /// ```no_run
    /// use im_sdk::{backend::Im, cluster::ClusterConfig};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ClusterConfig::new(["redis://redis:6379"], ["nats://nats:4222"]);
    /// let im = Im::builder().connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn connect(self, mut config: ClusterConfig) -> Result<Im, StartError> {
        if self.archive_to.is_some() {
            config.archive.get_or_insert_with(ArchiveConfig::default);
        }
        self.start(Cluster::connect(config).await?).await
    }

    /// Starts on an existing cluster, such as [`Cluster::embedded`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self, cluster: Cluster) -> Result<Im, StartError> {
        let Self { mut config, default_durability, archive_to, system_user } = self;
        config.system_user = system_user.transpose().map_err(StartError::SystemUser)?;
        if let Some(store) = &archive_to {
            config.message_store.get_or_insert_with(|| Arc::clone(store));
        }
        let archived = archive_to.is_some().then_some(Durability::Archived);
        config.default_durability = default_durability.or(archived).unwrap_or_default();
        config.check(&cluster)?;
        config.start(cluster, archive_to).await
    }

    /// Stores messages for good. Messages without a durability of their own are
    /// [`Durability::Archived`], an archiver of this process writes them to the store, and history
    /// and search read it. [`Im::archiver`] reports the progress.
    ///
    /// This is one call for [`ImBuilder::default_durability`], [`ImBuilder::message_store`] and
    /// [`Im::start_archiver`]. If one of the first two is set as well, that setting wins.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    /// use im_sdk::{backend::{Im, Message, message_store::MemoryMessageStore, user}, cluster::Cluster};
    ///
    /// let store = Arc::new(MemoryMessageStore::new());
    /// let im = Im::builder().archive_to(store).start(Cluster::embedded()).await?;
    /// im.send(Message::to(user("bob")).from("alice").text("for good")).await?;
    /// let lag = im.archiver().ok_or("an archiver")?.lag().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn archive_to(self, store: Arc<dyn MessageStore>) -> Self {
        Self { archive_to: Some(store), ..self }
    }

    /// Sets how long a send waits for the servers' answers. Default 5 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.config.send_timeout = timeout;
        self
    }

    /// Sets the interval in which the list of live servers is read. Default 1 s.
    pub fn directory_refresh(mut self, every: Duration) -> Self {
        self.config.directory_refresh = every;
        self
    }

    /// Sets the lease of this process's node number, which is renewed after a third of it. Default
    /// 30 s.
    pub fn node_lease(mut self, lease: Duration) -> Self {
        self.config.node_lease = lease;
        self
    }

    /// Sets the number of publishes that are handled at once; further ones wait on the bus. Default
    /// 1024.
    pub fn handler_concurrency(mut self, calls: usize) -> Self {
        self.config.handler_concurrency = calls;
        self
    }

    /// Sets the time limit of the methods of the [`Handler`](crate::backend::Handler). A call that
    /// exceeds it is dropped, a device that waits for the answer is told to retry, and the log
    /// names the method and the user. Without a limit, a handler that waits forever, for example
    /// for a database, would take up one call of [`ImBuilder::handler_concurrency`] after the
    /// other. Default 10 s, which is also how long servers wait for the outcome of a publish
    /// (`server.publish_timeout_ms`): a later answer reaches nobody.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.config.handler_timeout = timeout;
        self
    }

    /// Sets the durability of messages that do not state it, including those of devices. Default
    /// [`Durability::Logged`], or [`Durability::Archived`] with [`ImBuilder::archive_to`].
    pub fn default_durability(mut self, durability: Durability) -> Self {
        self.default_durability = Some(durability);
        self
    }

    /// Sets the store in which history continues beyond the logs, and which is searched. Default:
    /// that of [`ImBuilder::archive_to`]. Without a store, history ends with the logs, and there is
    /// no search.
    pub fn message_store(mut self, store: Arc<dyn MessageStore>) -> Self {
        self.config.message_store = Some(store);
        self
    }

    /// Sets what devices may do to sent messages.
    pub fn changes(mut self, policy: ChangePolicy) -> Self {
        self.config.changes = policy;
        self
    }

    /// Sets how much work the devices of one user may cause. Budgets are on by default.
    pub fn user_budgets(mut self, budgets: UserBudgets) -> Self {
        self.config.user_budgets = budgets;
        self
    }

    /// Sets the name of the service that the handler implements. Backends that serve under one
    /// prefix share the devices' publishes, so they should implement one service: the log warns if
    /// another name serves, and [`Im::health`] lists the names. Default: the program's name.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.config.service_name = name.into();
        self
    }

    /// Sets the sender of messages to users without a sender, so that a welcome belongs to a
    /// conversation, is listed and counts as unread. It is an ordinary user id that nobody has to
    /// log in with. Its inbox gets no copies of these messages, and answers of users are published
    /// to it. Default: none, and such a message belongs to no conversation.
    pub fn system_user(mut self, user: impl TryInto<UserId, Error = impl Into<InvalidId>>) -> Self {
        self.system_user = Some(user.try_into().map_err(Into::into));
        self
    }
}

/// A backend did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is not valid.
    #[error("the backend's configuration is not valid: {0}")]
    Config(&'static str),
    /// The system user has no valid id.
    #[error("ImBuilder::system_user has no valid id: {0}")]
    SystemUser(InvalidId),
    /// Archiving was requested, but the cluster has no archive.
    #[error(transparent)]
    NoArchive(#[from] NoArchive),
    /// Redis or NATS could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The route store did not answer.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The bus did not accept the subscriptions.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// All node numbers are taken by processes that issue message ids.
    #[error(
        "all {} node numbers are taken: stop a backend, or wait until the lease of one that died runs out",
        crate::id::NodeId::COUNT
    )]
    NoNode,
}
