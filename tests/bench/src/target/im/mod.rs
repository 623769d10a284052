//! im-server processes, with their own Redis and NATS or with a cluster inside the server.

mod embedded;
mod login;
mod publish;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use im_proto::pb;
use im_sdk::{
    backend::Im,
    cluster::{LoginPolicy, Subject},
};
use im_tests::{
    Setup, Stack, Via,
    stack::{ServerOptions, StackServer, token},
};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Runtime;

use self::{
    embedded::EmbeddedServer,
    login::{FrameLogin, ImLogin},
    publish::{EdgePublisher, SendPublisher},
};
pub(crate) use self::{embedded::serve as serve_embedded, publish::message as logged_message};
use super::{Path, Publisher, Registration, Target, TargetOptions, Transport};
use crate::login::{Login, WebSocketLogin};

/// The im-server target.
pub(crate) struct ImTarget {
    runtime: Arc<Runtime>,
    servers: Servers,
    addresses: Vec<SocketAddr>,
    options: TargetOptions,
}

enum Servers {
    /// Contains the subjects of the servers.
    Clustered(Box<Stack>, Vec<Subject>),
    Embedded(Vec<EmbeddedServer>),
}

impl ImTarget {
    /// Starts everything.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn start(options: &TargetOptions) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
        let (servers, addresses) = match options.registration {
            Registration::Redis => clustered(&runtime, options)?,
            Registration::None => {
                let start = |_| EmbeddedServer::start(options.transport);
                let servers = (0..options.servers).map(start).collect::<Result<Vec<_>, _>>()?;
                let addresses = servers.iter().map(|server| server.address).collect();
                (Servers::Embedded(servers), addresses)
            }
        };
        Ok(Self { runtime: Arc::new(runtime), servers, addresses, options: options.clone() })
    }

    /// Returns the runtime of the back end's tasks.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Starts a back end.
    ///
    /// # Errors
    /// Fails if the cluster is inside the servers.
    pub(crate) fn backend(&self) -> Result<Im, String> {
        match &self.servers {
            Servers::Clustered(stack, _) => Ok(self.runtime.block_on(stack.backend())),
            Servers::Embedded(_) => Err(NO_WAY_IN.to_owned()),
        }
    }

    /// Returns the server of the connection with an index, and its login with cursors.
    pub(crate) fn resuming(&self, index: u32, cursors: Vec<pb::Cursor>) -> (SocketAddr, Box<dyn Login>) {
        let hello = pb::Hello {
            min_version: 1,
            max_version: 1,
            token: token(&user_name(index)),
            device: Some(pb::Device { terminal: pb::Terminal::Other.into(), id: "bench".to_owned() }),
            client: "im-bench".to_owned(),
            cursors,
            resumes: false,
        };
        let login: Box<dyn Login> = match self.options.transport {
            Transport::Quic => Box::new(FrameLogin::new(hello)),
            Transport::Ws | Transport::Wss => {
                let protocol = Some(im_proto::WEBSOCKET_PROTOCOL);
                Box::new(WebSocketLogin::new("/", protocol, ImLogin::new(hello)))
            }
        };
        (self.addresses[index as usize % self.addresses.len()], login)
    }
}

fn clustered(runtime: &Runtime, options: &TargetOptions) -> Result<(Servers, Vec<SocketAddr>), String> {
    let settings = server_options(options.transport);
    let (stack, subjects) = runtime.block_on(async {
        let stack = Stack::start_with(Setup::Clustered, options.servers, settings).await;
        let mut subjects = Vec::new();
        for server in &stack.servers {
            let id = stack.server_id(server).await;
            subjects.push(stack.cluster().names().server(&id));
        }
        (stack, subjects)
    });
    let addresses = stack.servers.iter().map(|server| address(server, options.transport));
    let addresses = addresses.collect::<Result<_, _>>()?;
    Ok((Servers::Clustered(Box::new(stack), subjects), addresses))
}

fn server_options(transport: Transport) -> ServerOptions {
    ServerOptions {
        login_policy: LoginPolicy::OnePerTerminal,
        // The fleet sends nothing after its login.
        heartbeat: Duration::from_secs(3600),
        hello_timeout: Duration::from_secs(60),
        lease: Duration::from_secs(30),
        websocket_tls: transport == Transport::Wss,
        // With least rights, Redis and NATS check every command. Peers run without such checks too.
        least_rights: false,
        ..ServerOptions::default()
    }
}

fn address(server: &StackServer, transport: Transport) -> Result<SocketAddr, String> {
    let endpoint = server.endpoint(if transport == Transport::Quic { Via::Quic } else { Via::WebSocket });
    let address = endpoint.split("://").nth(1).and_then(|address| address.parse().ok());
    address.ok_or_else(|| format!("{endpoint} is no address"))
}

impl Target for ImTarget {
    fn version(&self) -> String {
        format!("im-server {}", env!("CARGO_PKG_VERSION"))
    }

    fn processes(&self) -> Vec<u32> {
        let process = |server: &StackServer| match server {
            StackServer::Process(server) => Some(server.process_id()),
            StackServer::Embedded(_) => None,
        };
        match &self.servers {
            Servers::Clustered(stack, _) => stack.servers.iter().filter_map(process).collect(),
            Servers::Embedded(servers) => servers.iter().map(EmbeddedServer::process_id).collect(),
        }
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        match &self.servers {
            Servers::Clustered(stack, _) => vec![stack.certificate.der()],
            Servers::Embedded(servers) => servers.iter().map(|server| server.certificate.clone()).collect(),
        }
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        self.resuming(index, Vec::new())
    }

    fn publisher(&self, names: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let Servers::Clustered(stack, subjects) = &self.servers else { return Err(NO_WAY_IN.to_owned()) };
        match self.options.path {
            Path::Edge => {
                let (runtime, cluster) = (Arc::clone(&self.runtime), stack.cluster().clone());
                Ok(Box::new(EdgePublisher::start(runtime, cluster, subjects, names, &self.options)?))
            }
            Path::Live | Path::Logged => {
                Ok(Box::new(SendPublisher::start(&self.runtime, self.backend()?, &self.options)?))
            }
        }
    }
}

/// Returns the user of a connection.
fn user_name(index: u32) -> String {
    format!("u{index}")
}

const NO_WAY_IN: &str = "a server with its cluster inside (--registration none) has no way in for messages";
