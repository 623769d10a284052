//! im-server processes with a Redis and a NATS of their own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use im_proto::{frame, pb};
use im_sdk::{
    backend::{Durability, Im, Message, user},
    cluster::{LoginPolicy, Publication, Subject},
    id::UserId,
};
use im_tests::{
    Setup, Stack, Via,
    stack::{ServerOptions, StackServer, token},
};
use prost::Message as _;
use tokio::{runtime::Runtime, sync::mpsc};

use super::{Audience, Path, Publisher, Target, TargetOptions, Transport};
use crate::{
    login::{Login, Messages, Progress, WebSocketLogin},
    stamp::Stamp,
};

/// See the module's description.
pub(crate) struct ImTarget {
    runtime: Arc<Runtime>,
    stack: Stack,
    addresses: Vec<SocketAddr>,
    subjects: Vec<Subject>,
    options: TargetOptions,
}

impl ImTarget {
    /// Starts all of it.
    ///
    /// # Errors
    /// What does not work.
    pub(crate) fn start(options: &TargetOptions) -> Result<Self, String> {
        if options.transport != Transport::Ws {
            return Err("only --transport ws is there yet".to_owned());
        }
        let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
        let server = ServerOptions {
            login_policy: LoginPolicy::OnePerTerminal,
            // The fleet says nothing after its login.
            heartbeat: Duration::from_secs(3600),
            hello_timeout: Duration::from_secs(60),
            lease: Duration::from_secs(30),
            ..ServerOptions::default()
        };
        let (stack, subjects) = runtime.block_on(async {
            let stack = Stack::start_with(Setup::Clustered, options.servers, server).await;
            let mut subjects = Vec::new();
            for server in &stack.servers {
                let id = stack.server_id(server).await;
                subjects.push(stack.cluster().names().server(&id));
            }
            (stack, subjects)
        });
        let address = |server: &StackServer| {
            let endpoint = server.endpoint(Via::WebSocket);
            let address = endpoint.split("://").nth(1).and_then(|address| address.parse().ok());
            address.ok_or_else(|| format!("{endpoint} is no address"))
        };
        let addresses = stack.servers.iter().map(address).collect::<Result<_, String>>()?;
        Ok(Self { runtime: Arc::new(runtime), stack, addresses, subjects, options: options.clone() })
    }
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
        self.stack.servers.iter().filter_map(process).collect()
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        let hello = pb::frame::Body::Hello(pb::Hello {
            min_version: 1,
            max_version: 1,
            token: token(&user_name(index)),
            device: Some(pb::Device { terminal: pb::Terminal::Other.into(), id: "bench".to_owned() }),
            client: "im-bench".to_owned(),
            cursors: Vec::new(),
        });
        let login = ImLogin { hello: frame::encode(hello).to_vec() };
        let address = self.addresses[index as usize % self.addresses.len()];
        let protocol = Some(im_proto::WEBSOCKET_PROTOCOL);
        (address, Box::new(WebSocketLogin::new("/", protocol, login)))
    }

    fn publisher(&self, names: &[u64]) -> Result<Box<dyn Publisher>, String> {
        match self.options.path {
            Path::Edge => Ok(Box::new(EdgePublisher {
                runtime: Arc::clone(&self.runtime),
                cluster: self.stack.cluster().clone(),
                subjects: self.subjects.clone(),
                names: names.to_vec(),
                payload: self.options.payload,
                audience: self.options.audience,
                records: vec![Vec::new(); self.subjects.len()],
            })),
            Path::Live | Path::Logged => {
                let im = self.runtime.block_on(self.stack.backend());
                Ok(Box::new(SendPublisher::start(&self.runtime, im, &self.options)))
            }
        }
    }
}

/// The user of a connection.
fn user_name(index: u32) -> String {
    format!("u{index}")
}

struct ImLogin {
    hello: Vec<u8>,
}

impl Messages for ImLogin {
    fn first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.hello)
    }

    fn received(&mut self, message: &[u8]) -> Result<Progress, String> {
        let mut frames = message;
        let read = pb::Frame::decode_length_delimited(&mut frames);
        match read.map_err(|error| format!("not a frame: {error}"))?.body {
            Some(pb::frame::Body::Welcome(welcome)) => Ok(Progress::Ready(welcome.connection)),
            _ => Ok(Progress::Wait),
        }
    }
}

/// Envelopes straight onto the servers' subjects.
struct EdgePublisher {
    runtime: Arc<Runtime>,
    cluster: im_sdk::cluster::Cluster,
    subjects: Vec<Subject>,
    names: Vec<u64>,
    payload: usize,
    audience: Audience,
    records: Vec<Vec<pb::Record>>,
}

impl Publisher for EdgePublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        let servers = self.subjects.len();
        for stamp in batch {
            let frames = Some(pb::record::Effect::Frames(push(*stamp, self.payload)));
            match self.audience {
                Audience::One => {
                    let connections = vec![self.names[stamp.audience as usize]];
                    let record = pb::Record { connections, channel: String::new(), effect: frames };
                    self.records[stamp.audience as usize % servers].push(record);
                }
                Audience::All => {
                    for (server, records) in self.records.iter_mut().enumerate() {
                        let connections = self.names.iter().skip(server).step_by(servers).copied().collect();
                        let effect = frames.clone();
                        records.push(pb::Record { connections, channel: String::new(), effect });
                    }
                }
            }
        }
        for (subject, records) in self.subjects.iter().zip(&mut self.records) {
            if records.is_empty() {
                continue;
            }
            let envelope = pb::Envelope {
                publisher: "im-bench".to_owned(),
                records: std::mem::take(records),
                ..pb::Envelope::default()
            };
            let payload = envelope.encode_to_vec().into();
            let publication = Publication { subject: subject.clone(), return_to: None, payload };
            let published = self.runtime.block_on(self.cluster.bus().publish(publication));
            published.map_err(|error| format!("cannot publish: {error}"))?;
        }
        Ok(())
    }
}

fn push(stamp: Stamp, payload: usize) -> bytes::Bytes {
    let text = pb::content::Body::Text(pb::Text { text: text(stamp, payload) });
    let message = pb::Message {
        id: stamp.time,
        from: "bench".to_owned(),
        to: String::new(),
        content: Some(text.into()),
    };
    frame::encode(pb::frame::Body::Push(pb::Push { message: Some(message), channel: String::new(), seq: 0 }))
}

fn text(stamp: Stamp, payload: usize) -> String {
    let mut bytes = Vec::with_capacity(payload);
    stamp.write(payload, &mut bytes);
    // A stamp is ASCII.
    String::from_utf8(bytes).unwrap_or_default()
}

/// `im.send`. Each lane sends one message after another, so that a recipient's stay in order.
struct SendPublisher {
    lanes: Vec<mpsc::Sender<Stamp>>,
    failed: Arc<std::sync::atomic::AtomicU64>,
}

/// How many messages are sent at once.
const LANES: usize = 512;

impl SendPublisher {
    fn start(runtime: &Runtime, im: Im, options: &TargetOptions) -> Self {
        let failed = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let durability = if options.path == Path::Live { Durability::Live } else { Durability::Logged };
        let payload = options.payload;
        let lane = |number: usize| {
            let (lane, mut stamps) = mpsc::channel::<Stamp>(8);
            let (im, failed) = (im.clone(), Arc::clone(&failed));
            runtime.spawn(async move {
                let from = UserId::parse(&format!("sender-{number}"));
                while let Some(stamp) = stamps.recv().await {
                    let mut message = Message::to(user(user_name(stamp.audience)))
                        .text(text(stamp, payload))
                        .durability(durability);
                    if let Ok(from) = &from {
                        message = message.from(from);
                    }
                    if im.send(message).await.is_err() {
                        failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
            lane
        };
        Self { lanes: (0..LANES).map(lane).collect(), failed }
    }
}

impl Publisher for SendPublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        for stamp in batch {
            let lane = &self.lanes[stamp.audience as usize % LANES];
            lane.blocking_send(*stamp).map_err(|_| "a lane has ended".to_owned())?;
        }
        Ok(())
    }

    fn failed(&self) -> u64 {
        self.failed.load(std::sync::atomic::Ordering::Relaxed)
    }
}
