//! Whole deployments: embedded in this process, or on real Redis, NATS and `im-server` processes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use im_sdk::{
    backend::{Im, ImBuilder},
    client::{Client, ClientConfig, TokenProvider, Trust},
    cluster::{
        ArchiveConfig, Cluster, ClusterConfig, LogBounds, LoginPolicy, MemoryArchiveQueue, MemoryBus,
        MemoryLog, MemoryRoutes,
    },
    id::{Device, ServerId, UserId},
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey},
};
use im_server::{ServerConfig, TlsConfig};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;

use crate::{EmbeddedServer, ImServer, NatsServer, RedisServer, TestClient, permissions::Role, wait_until};

/// Issuer of the tokens of a [`Stack`].
pub const ISSUER: &str = "test-backend";
/// Audience of the tokens.
pub const AUDIENCE: &str = "im-test";
/// Id of the key that signs the tokens.
pub const KEY_ID: &str = "test";
/// Secret of the key that signs the tokens.
pub const SECRET: &str = "a secret for tests, as long as HS256 wants it";

/// Time limit for anything that must happen, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tolerance for promised times, on a busy machine.
pub const SLACK: Duration = Duration::from_secs(5);

/// Kind of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Everything in this process.
    Embedded,
    /// Redis, NATS and `im-server` processes.
    Clustered,
}

/// Transport of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// QUIC only.
    Quic,
    /// WebSocket only.
    WebSocket,
}

/// Settings of a server that tests change.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// See [`ServerConfig::login_policy`].
    pub login_policy: LoginPolicy,
    /// See [`ServerConfig::heartbeat`].
    pub heartbeat: Duration,
    /// See [`ServerConfig::hello_timeout`].
    pub hello_timeout: Duration,
    /// See [`ServerConfig::publish_timeout`].
    pub publish_timeout: Duration,
    /// See [`ServerConfig::lease`].
    pub lease: Duration,
    /// See [`ServerConfig::route_audit`].
    pub route_audit: Duration,
    /// See [`ServerConfig::drain_grace`].
    pub drain_grace: Duration,
    /// See [`ServerConfig::close_expired`].
    pub close_expired: bool,
    /// See [`ServerConfig::websocket_tls`].
    pub websocket_tls: bool,
    /// See [`im_server::Limits::max_connections`].
    pub max_connections: usize,
    /// See [`im_server::Limits::max_inflight_publishes`].
    pub max_inflight_publishes: u32,
    /// See [`im_server::Limits::max_handshakes`].
    pub max_handshakes: usize,
    /// See [`im_server::Limits::max_handshakes_per_address`].
    pub max_handshakes_per_address: usize,
    /// See [`im_server::Limits::max_connects_per_second_per_address`].
    pub max_connects_per_second_per_address: u32,
    /// See [`im_server::Limits::max_publishes_per_second`].
    pub max_publishes_per_second: u32,
    /// Set if servers and back ends use Redis and NATS with the least rights they need, and not with all rights.
    pub least_rights: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            login_policy: LoginPolicy::OnePerTerminal,
            heartbeat: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(3),
            route_audit: Duration::from_secs(300),
            drain_grace: Duration::from_secs(5),
            close_expired: true,
            websocket_tls: false,
            max_connections: 1_000_000,
            max_inflight_publishes: 64,
            max_handshakes: 65_536,
            max_handshakes_per_address: 0,
            max_connects_per_second_per_address: 0,
            max_publishes_per_second: 0,
            least_rights: true,
        }
    }
}

/// A self-signed certificate for localhost, in files and as the fingerprint that clients pin.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    pem: String,
    _directory: TempDir,
}

impl Certificate {
    /// Generates one.
    pub fn make() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names = ["localhost", "127.0.0.1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let pem = made.cert.pem();
        Self {
            certificate: write("certificate.pem", pem.clone()),
            key: write("key.pem", made.signing_key.serialize_pem()),
            pem,
            _directory: directory,
        }
    }

    /// Returns the certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("the certificate is valid")
    }

    /// Returns the SHA-256 fingerprint, as devices in other languages pin it.
    pub fn sha256_hex(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.der());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the trust setting of a client that accepts it.
    pub fn trust(&self) -> Trust {
        Trust::pem(self.pem.as_bytes()).expect("the certificate is valid")
    }
}

/// One server of a stack.
#[derive(Debug)]
pub enum StackServer {
    /// A server in this process.
    Embedded(EmbeddedServer),
    /// A server in a process of its own.
    Process(ImServer),
}

impl StackServer {
    /// Returns its endpoints: QUIC, then WebSocket.
    pub fn endpoints(&self) -> Vec<String> {
        match self {
            Self::Embedded(server) => server.endpoints(),
            Self::Process(server) => server.endpoints().to_vec(),
        }
    }

    /// Returns the endpoint of a transport.
    pub fn endpoint(&self, via: Via) -> String {
        let quic = |endpoint: &String| endpoint.starts_with("quic") == (via == Via::Quic);
        self.endpoints().into_iter().find(quic).expect("an endpoint for each transport")
    }

    /// Returns the process.
    ///
    /// # Panics
    /// Panics if the server is embedded.
    pub fn process(&self) -> &ImServer {
        match self {
            Self::Embedded(_) => panic!("the server is in this process"),
            Self::Process(server) => server,
        }
    }

    /// Drains it and shuts it down; a process must exit with 0.
    pub async fn shutdown(self) {
        match self {
            Self::Embedded(server) => server.shutdown().await,
            Self::Process(server) => server.terminate().await,
        }
    }

    /// Crashes it: nobody is notified, no route is released, and the lease expires.
    pub fn kill(self) {
        // Dropping either kind crashes it.
        drop(self);
    }
}

/// A deployment: a cluster and its servers.
#[derive(Debug)]
pub struct Stack {
    /// Its servers. Many tests remove one and shut it down or kill it.
    pub servers: Vec<StackServer>,
    /// The certificate of its servers.
    pub certificate: Certificate,
    cluster: Cluster,
    services: Option<Services>,
    logs: Option<LogSettings>,
}

/// Settings of logs and the archive.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Bounds of each log.
    pub log_bounds: LogBounds,
    /// Settings of the archive.
    pub archive: ArchiveConfig,
}

/// Redis and NATS of a clustered deployment.
#[derive(Debug)]
pub struct Services {
    /// Its Redis.
    pub redis: RedisServer,
    /// Its NATS.
    pub nats: NatsServer,
    least_rights: bool,
}

impl Stack {
    /// Starts a deployment with this many servers.
    pub async fn start(setup: Setup, servers: usize) -> Self {
        Self::start_with(setup, servers, ServerOptions::default()).await
    }

    /// Starts a deployment whose servers have these options.
    pub async fn start_with(setup: Setup, servers: usize, options: ServerOptions) -> Self {
        Self::start_all(setup, servers, options, None).await
    }

    /// Starts a deployment with these settings of logs and an archive.
    pub async fn start_with_logs(setup: Setup, servers: usize, logs: LogSettings) -> Self {
        Self::start_all(setup, servers, ServerOptions::default(), Some(logs)).await
    }

    /// Starts a deployment whose servers have these options, with these settings of logs and an archive if given.
    pub async fn start_all(
        setup: Setup,
        servers: usize,
        options: ServerOptions,
        logs: Option<LogSettings>,
    ) -> Self {
        let services = match setup {
            Setup::Embedded => None,
            Setup::Clustered => Some(Services {
                redis: RedisServer::start().await,
                nats: NatsServer::start().await,
                least_rights: options.least_rights,
            }),
        };
        let cluster = match &services {
            None => logs.map_or_else(Cluster::embedded, embedded),
            Some(services) => Cluster::connect(config(services, logs)).await.expect("Redis and NATS"),
        };
        let mut stack =
            Self { servers: Vec::new(), certificate: Certificate::make(), cluster, services, logs };
        for _ in 0..servers {
            stack.add_server(&options).await;
        }
        stack
    }

    /// Adds a server.
    pub async fn add_server(&mut self, options: &ServerOptions) {
        let name = format!("s{}", self.servers.len() + 1);
        let server = match &self.services {
            None => {
                let config = server_config(&name, options, &self.certificate);
                StackServer::Embedded(EmbeddedServer::start(config, self.cluster.clone()).await)
            }
            Some(services) => {
                let variables = variables(options, &self.certificate);
                let (redis, nats) = services.addresses(Role::Server);
                StackServer::Process(ImServer::start(&name, &redis, &nats, &variables).await)
            }
        };
        self.servers.push(server);
    }

    /// Returns Redis and NATS of a clustered deployment.
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }

    /// Returns the connection of this process to the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Starts a back end, in a clustered deployment with connections of its own.
    pub async fn backend(&self) -> Im {
        self.backend_with(Im::builder()).await
    }

    /// Starts a back end with these settings.
    pub async fn backend_with(&self, settings: ImBuilder) -> Im {
        let cluster = match &self.services {
            None => self.cluster.clone(),
            Some(services) => Cluster::connect(config(services, self.logs)).await.expect("Redis and NATS"),
        };
        settings.start(cluster).await.expect("the back end starts")
    }

    /// Waits until a server has registered itself, and returns its id.
    pub async fn server_id(&self, server: &StackServer) -> ServerId {
        let endpoints = server.endpoints();
        let mut id = None;
        wait_until("the server is registered", PATIENCE, async || {
            let live = self.cluster.routes().live_servers().await.expect("the route store");
            let found = live.into_iter().find(|candidate| candidate.info.endpoints == endpoints);
            id = found.map(|server| server.id);
            id.is_some()
        })
        .await;
        id.expect("it was found")
    }

    /// Opens a device and waits until it is connected to a server.
    pub async fn connect(&self, user: &str, device: &str, server: usize, via: Via) -> TestClient {
        let mut client = self.open(user, device, &[self.servers[server].endpoint(via)]);
        client.connected().await;
        client
    }

    /// Opens a device that connects to one of these endpoints.
    pub fn open(&self, user: &str, device: &str, endpoints: &[String]) -> TestClient {
        let config = self.client_config(device, endpoints, Arc::new(token(user)));
        let client = Client::open(config).expect("the client opens");
        client.connect();
        TestClient::new(client)
    }

    /// Returns the configuration of a device that trusts the servers.
    pub fn client_config(
        &self,
        device: &str,
        endpoints: &[String],
        tokens: Arc<dyn TokenProvider>,
    ) -> ClientConfig {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().expect("an endpoint")).collect();
        let device: Device = device.parse().expect("a device");
        let mut config = ClientConfig::new(endpoints, device, tokens);
        config.trust = self.certificate.trust();
        config
    }

    /// Waits until a user has this number of devices online.
    pub async fn wait_online(&self, im: &Im, user: &str, devices: usize) {
        let user = UserId::parse(user).expect("a user");
        let what = format!("{user} has {devices} devices online");
        wait_until(&what, PATIENCE, async || {
            let online = im.online(std::slice::from_ref(&user)).await.expect("the route store");
            online.get(&user).map_or(0, Vec::len) == devices
        })
        .await;
    }
}

impl Services {
    /// Returns the configuration of back ends.
    pub fn config(&self) -> ClusterConfig {
        let (redis, nats) = self.addresses(Role::Backend);
        ClusterConfig::new([redis], [nats])
    }

    /// Returns the addresses of Redis and NATS for servers or back ends, with the users that
    /// [`ServerOptions::least_rights`] selects.
    pub fn addresses(&self, role: Role) -> (String, String) {
        if !self.least_rights {
            return (self.redis.address(), self.nats.address());
        }
        (self.redis.address_as(role), self.nats.address_as(role))
    }
}

fn config(services: &Services, logs: Option<LogSettings>) -> ClusterConfig {
    let mut config = services.config();
    if let Some(logs) = logs {
        config.log_bounds = logs.log_bounds;
        config.archive = Some(logs.archive);
    }
    config
}

fn embedded(logs: LogSettings) -> Cluster {
    let log = Arc::new(MemoryLog::new(logs.log_bounds));
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log);
    cluster.with_archive(Arc::new(MemoryArchiveQueue::new(logs.archive)))
}

/// Mints a valid token.
pub fn token(user: &str) -> String {
    let key = SigningKey::hs256(KEY_ID, SECRET.as_bytes()).expect("the secret is long enough");
    let user = UserId::parse(user).expect("a user");
    TokenMinter::new(key, ISSUER, AUDIENCE).mint(&user, Duration::from_secs(3600)).expect("a token")
}

fn server_config(name: &str, options: &ServerOptions, certificate: &Certificate) -> ServerConfig {
    let key = VerificationKey::hs256(KEY_ID, SECRET.as_bytes()).expect("the secret is long enough");
    let mut config = ServerConfig::new(name, TokenVerifier::new(ISSUER, AUDIENCE, [key]));
    config.websocket = Some(([127, 0, 0, 1], 0).into());
    config.quic = Some(([127, 0, 0, 1], 0).into());
    config.tls =
        TlsConfig::Files { certificate: certificate.certificate.clone(), key: certificate.key.clone() };
    config.close_expired = options.close_expired;
    config.websocket_tls = options.websocket_tls;
    config.login_policy = options.login_policy;
    config.heartbeat = options.heartbeat;
    config.hello_timeout = options.hello_timeout;
    config.publish_timeout = options.publish_timeout;
    config.lease = options.lease;
    config.route_audit = options.route_audit;
    config.drain_grace = options.drain_grace;
    config.limits.max_connections = options.max_connections;
    config.limits.max_inflight_publishes = options.max_inflight_publishes;
    config.limits.max_handshakes = options.max_handshakes;
    config.limits.max_handshakes_per_address = options.max_handshakes_per_address;
    config.limits.max_connects_per_second_per_address = options.max_connects_per_second_per_address;
    config.limits.max_publishes_per_second = options.max_publishes_per_second;
    config
}

/// Returns the environment of an `im-server` process with the settings of a [`Stack`].
pub fn variables(options: &ServerOptions, certificate: &Certificate) -> Vec<(String, String)> {
    let policy = match options.login_policy {
        LoginPolicy::Single => "single",
        LoginPolicy::Unlimited => "unlimited",
        _ => "one_per_terminal",
    };
    let ms = |duration: Duration| duration.as_millis().to_string();
    let path = |path: &PathBuf| path.display().to_string();
    let pairs = [
        ("IM_AUTH_ISSUER", ISSUER.to_owned()),
        ("IM_AUTH_AUDIENCE", AUDIENCE.to_owned()),
        ("IM_AUTH_HS256_KEY_ID", KEY_ID.to_owned()),
        ("IM_AUTH_HS256_SECRET", SECRET.to_owned()),
        ("IM_TLS_CERTIFICATE", path(&certificate.certificate)),
        ("IM_TLS_KEY", path(&certificate.key)),
        ("IM_AUTH_CLOSE_EXPIRED", options.close_expired.to_string()),
        ("IM_WEBSOCKET_TLS", options.websocket_tls.to_string()),
        ("IM_SERVER_LOGIN_POLICY", policy.to_owned()),
        ("IM_SERVER_HEARTBEAT_MS", ms(options.heartbeat)),
        ("IM_SERVER_HELLO_TIMEOUT_MS", ms(options.hello_timeout)),
        ("IM_SERVER_PUBLISH_TIMEOUT_MS", ms(options.publish_timeout)),
        ("IM_SERVER_LEASE_MS", ms(options.lease)),
        ("IM_SERVER_ROUTE_AUDIT_MS", ms(options.route_audit)),
        ("IM_SERVER_DRAIN_GRACE_MS", ms(options.drain_grace)),
        ("IM_LIMITS_MAX_CONNECTIONS", options.max_connections.to_string()),
        ("IM_LIMITS_MAX_INFLIGHT_PUBLISHES", options.max_inflight_publishes.to_string()),
        ("IM_LIMITS_MAX_HANDSHAKES", options.max_handshakes.to_string()),
        ("IM_LIMITS_MAX_HANDSHAKES_PER_ADDRESS", options.max_handshakes_per_address.to_string()),
        (
            "IM_LIMITS_MAX_CONNECTS_PER_SECOND_PER_ADDRESS",
            options.max_connects_per_second_per_address.to_string(),
        ),
        ("IM_LIMITS_MAX_PUBLISHES_PER_SECOND", options.max_publishes_per_second.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
