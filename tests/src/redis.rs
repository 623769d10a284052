//! Redis servers and Redis Clusters.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, aio::MultiplexedConnection};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    permissions::Role,
    process::{Process, on_free_ports},
    programs::redis_server,
    stack::PATIENCE,
    wait_until,
};

/// Options of a Redis server.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Syncs every write to disk before it is answered, so that a killed server restarts with all of them.
    pub append_only: bool,
    /// Further `redis-server` arguments, such as `["--maxmemory", "1mb"]`.
    pub arguments: Vec<String>,
}

/// A single Redis server. It starts empty and writes no snapshots.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    ports: Ports,
    options: RedisOptions,
    directory: TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    clients: u16,
    /// Port of the cluster bus, if it is a node of a cluster.
    cluster: Option<u16>,
}

impl RedisServer {
    /// Starts one with default options.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts one with options.
    pub async fn start_with(options: RedisOptions) -> Self {
        on_free_ports(async |[clients]| {
            Self::try_start(Ports { clients, cluster: None }, options.clone()).await
        })
        .await
    }

    async fn start_node() -> Self {
        on_free_ports(async |[clients, cluster]| {
            Self::try_start(Ports { clients, cluster: Some(cluster) }, RedisOptions::default()).await
        })
        .await
    }

    async fn try_start(ports: Ports, options: RedisOptions) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = start(ports, &options, &directory);
        let id = process.id();
        if process.is_ready(async || answers(ports, id).await).await {
            Ok(Self { process, ports, options, directory })
        } else {
            Err(process.output())
        }
    }

    /// Starts a replica and waits until it is in sync.
    pub async fn start_replica(&self) -> Self {
        let arguments = ["--replicaof", "127.0.0.1", &self.ports.clients.to_string()].map(String::from);
        let replica =
            Self::start_with(RedisOptions { arguments: arguments.into(), ..self.options.clone() }).await;
        self.wait_until_replicated_to(&replica).await;
        replica
    }

    /// Waits until a replica acknowledges writes of this master.
    async fn wait_until_replicated_to(&self, replica: &Self) {
        let mut connection = self.connection().await;
        let line = format!("port={},state=online", replica.ports.clients);
        wait_until("the replica acknowledges writes", AGREE_TIMEOUT, async || {
            let mut asking = redis::pipe();
            asking.cmd("INFO").arg("replication");
            // A write without a key, and the number of replicas that have it.
            asking.cmd("FUNCTION").arg("FLUSH").cmd("WAIT").arg(1).arg(100);
            let answers: RedisResult<(String, (), u32)> = asking.query_async(&mut connection).await;
            answers.is_ok_and(|(info, (), acknowledged)| info.contains(&line) && acknowledged > 0)
        })
        .await;
    }

    /// Returns its address with the user of servers or back ends.
    pub fn address_as(&self, role: Role) -> String {
        role.at("redis", self.ports.clients)
    }

    /// Returns its address, without a user: such connections may do everything.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.ports.clients)
    }

    /// Returns its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Opens a connection, to inspect what is stored.
    ///
    /// # Panics
    /// Panics if it cannot be reached.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(self.ports).await.expect("a connection to Redis")
    }

    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it (`SIGSTOP`): its connections stay open and nothing answers.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Ends [`RedisServer::stop`] (`SIGCONT`).
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Turns a replica into a master of its own, with what it has received until now.
    ///
    /// # Panics
    /// Panics if it stays a replica.
    pub async fn detach(&self) {
        let mut connection = self.connection().await;
        let detached = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut connection).await;
        detached.expect("the replica becomes a server by itself");
    }

    /// Fails over to a replica without losing a write: the replica becomes the master, and this server its replica.
    ///
    /// # Panics
    /// Panics if the failover does not complete.
    pub async fn hand_over_to(&self, replica: &Self) {
        let mut connection = self.connection().await;
        let mut order = redis::cmd("FAILOVER");
        order.arg("TO").arg("127.0.0.1").arg(replica.ports.clients);
        order.query_async::<()>(&mut connection).await.expect("the master hands over");
        let is_master = async |server: &Self, is_master: bool| {
            let mut connection = server.connection().await;
            let info: RedisResult<String> =
                redis::cmd("INFO").arg("replication").query_async(&mut connection).await;
            info.is_ok_and(|info| info.contains("role:master") == is_master)
        };
        wait_until("the two have changed places", AGREE_TIMEOUT, async || {
            is_master(replica, true).await && is_master(self, false).await
        })
        .await;
    }

    /// Makes it refuse writes for lack of memory (`maxmemory`, `noeviction`), or accept
    /// them again with `false`.
    ///
    /// # Panics
    /// Panics if Redis does not answer.
    pub async fn fill(&self, full: bool) {
        let mut connection = self.connection().await;
        let mut set = redis::pipe();
        set.cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("noeviction");
        set.cmd("CONFIG").arg("SET").arg("maxmemory").arg(if full { "1mb" } else { "0" });
        set.query_async::<()>(&mut connection).await.expect("Redis takes the setting");
    }

    /// Kills another server and takes over its address.
    ///
    /// # Panics
    /// Panics if the address stays in use.
    pub async fn take_over(&mut self, mut other: Self) {
        other.kill();
        let mut connection = self.connection().await;
        let port = other.ports.clients;
        wait_until("the port is free", AGREE_TIMEOUT, async || {
            let mut order = redis::cmd("CONFIG");
            order.arg("SET").arg("port").arg(port);
            order.query_async::<()>(&mut connection).await.is_ok()
        })
        .await;
        self.ports = other.ports;
    }

    /// Starts it again on the same port, after killing it if it still runs. Without
    /// [`RedisOptions::append_only`] it comes back empty.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = start(self.ports, &self.options, &self.directory);
        let id = self.process.id();
        let is_ready = self.process.is_ready(async || answers(self.ports, id).await).await;
        assert!(is_ready, "Redis does not come back:\n{}", self.process.output());
    }
}

/// A Redis Cluster of three masters without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

/// Number of slots of a Redis Cluster.
const SLOTS: usize = 16_384;

/// Number of masters of a [`RedisCluster`].
const MASTERS: usize = 3;

/// Time limit for nodes to agree.
const AGREE_TIMEOUT: Duration = Duration::from_secs(30);

impl RedisCluster {
    /// Starts one and waits until all nodes report that it works.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..MASTERS {
            nodes.push(RedisServer::start_node().await);
        }
        let cluster = Self { nodes };
        cluster.join().await;
        cluster.wait_until_ok().await;
        cluster
    }

    /// Returns the addresses of its nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::address).collect()
    }

    /// Returns its nodes, to disturb them.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Waits until every node reports that the cluster works.
    ///
    /// # Panics
    /// Panics if that takes too long.
    pub async fn wait_until_ok(&self) {
        for node in &self.nodes {
            wait_until("the cluster's nodes agree", AGREE_TIMEOUT, async || node.is_in_cluster().await).await;
        }
    }

    /// Starts a replica of one of its masters and waits until it is in sync.
    ///
    /// # Panics
    /// Panics if it does not become a replica.
    pub async fn start_replica(&self, master: usize) -> RedisServer {
        let (master, replica) = (&self.nodes[master], RedisServer::start_node().await);
        let bus = master.ports.cluster.expect("a node of a cluster").to_string();
        let meet = ["MEET", "127.0.0.1", &master.ports.clients.to_string(), &bus];
        replica.cluster::<()>(&meet).await.expect("to meet the master");
        let id: String = master.cluster(&["MYID"]).await.expect("the master's id");
        wait_until("the replica knows its master", AGREE_TIMEOUT, async || {
            replica.cluster::<()>(&["REPLICATE", &id]).await.is_ok()
        })
        .await;
        master.wait_until_replicated_to(&replica).await;
        replica
    }

    async fn join(&self) {
        let first = self.nodes[0].ports;
        let bus = first.cluster.expect("a node of a cluster");
        for (index, node) in self.nodes.iter().enumerate() {
            let (start, end) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS - 1);
            let order = async |arguments: &[&str]| {
                let done: RedisResult<()> = node.cluster(arguments).await;
                done.unwrap_or_else(|error| panic!("CLUSTER {arguments:?}: {error}"));
            };
            order(&["ADDSLOTSRANGE", &start.to_string(), &end.to_string()]).await;
            // Distinct epochs, so that the nodes need not resolve collisions.
            order(&["SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
            if index > 0 {
                order(&["MEET", "127.0.0.1", &first.clients.to_string(), &bus.to_string()]).await;
            }
        }
    }
}

impl RedisServer {
    async fn cluster<T: FromRedisValue>(&self, arguments: &[&str]) -> RedisResult<T> {
        let mut connection = connect(self.ports).await?;
        redis::cmd("CLUSTER").arg(arguments).query_async(&mut connection).await
    }

    async fn is_in_cluster(&self) -> bool {
        let info: RedisResult<String> = self.cluster(&["INFO"]).await;
        info.is_ok_and(|info| {
            let has = |line: &str| info.lines().any(|other| other == line);
            has("cluster_state:ok") && has("cluster_known_nodes:3") && has("cluster_size:3")
        })
    }
}

fn start(ports: Ports, options: &RedisOptions, directory: &TempDir) -> Process {
    let mut arguments = vec!["--bind".into(), "127.0.0.1".into(), "--port".into(), ports.clients.to_string()];
    let mut set = |texts: &[&str]| arguments.extend(texts.iter().copied().map(String::from));
    // Replicas are synchronised at once, without a delay to collect more of them.
    set(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    if options.append_only {
        set(&["--appendonly", "yes", "--appendfsync", "always"]);
    }
    if let Some(port) = ports.cluster {
        set(&["--cluster-enabled", "yes", "--cluster-port", &port.to_string()]);
        set(&["--cluster-node-timeout", "2000"]);
    }
    arguments.extend([Role::Server, Role::Backend].into_iter().flat_map(Role::redis_arguments));
    arguments.extend(options.arguments.iter().cloned());
    Process::start(&redis_server(), &arguments, directory.path())
}

/// Returns whether this process answers on the port, rather than one of another test that took the port first.
async fn answers(ports: Ports, process: u32) -> bool {
    let info = async {
        let mut connection = connect(ports).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
    };
    let info = timeout(ANSWER_TIMEOUT, info).await;
    info.is_ok_and(|info| {
        info.is_ok_and(|info| info.lines().any(|line| line == format!("process_id:{process}")))
    })
}

/// Time limit of one check whether it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

async fn connect(ports: Ports) -> RedisResult<MultiplexedConnection> {
    let client = Client::open(("127.0.0.1", ports.clients))?;
    // The default of half a second is too short for a busy machine.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}
