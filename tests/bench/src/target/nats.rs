//! nats-server, with the devices as its clients over its own WebSocket listener.

use std::net::{Ipv4Addr, SocketAddr};

use im_tests::NatsServer;
use tokio::{io::AsyncWriteExt, net::TcpStream, runtime::Runtime};

use super::{Publisher, Target, TargetOptions, topic};
use crate::{
    audience::Audience,
    login::{Login, Messages, Progress, WebSocketLogin},
    stamp::Stamp,
};

pub(super) struct NatsTarget {
    runtime: Runtime,
    server: NatsServer,
    websocket: SocketAddr,
    options: TargetOptions,
}

impl NatsTarget {
    pub(super) fn start(options: &TargetOptions) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
        let port = super::free_port()?;
        // The fleet does not answer pings.
        let config = format!(
            "ping_interval: \"1h\"\nmax_connections: 1000000\nwebsocket {{ host: \"127.0.0.1\", port: {port}, no_tls: true }}\n"
        );
        let server = runtime.block_on(NatsServer::start_with_config(&config));
        let websocket = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { runtime, server, websocket, options: options.clone() })
    }
}

impl Target for NatsTarget {
    fn version(&self) -> String {
        super::program_version("nats-server", "--version")
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.process_id()]
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        let audience = self.options.audience;
        let subject = topic(audience, audience.of(index));
        (self.websocket, Box::new(WebSocketLogin::new("/", None, NatsLogin { index, subject })))
    }

    fn publisher(&self, _: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let address = self.server.address().replace("nats://", "");
        let connect = async {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?;
            stream.into_std()
        };
        let stream = self.runtime.block_on(connect);
        let stream = stream.and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
        let stream = stream.map_err(|error| format!("no NATS at {address}: {error}"))?;
        let TargetOptions { audience, payload, .. } = self.options;
        Ok(Box::new(NatsPublisher { stream, audience, payload, buffer: Vec::new() }))
    }
}

struct NatsLogin {
    index: u32,
    subject: String,
}

impl Messages for NatsLogin {
    fn first(&mut self) -> Vec<u8> {
        let subject = &self.subject;
        let text = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        text.into_bytes()
    }

    fn received(&mut self, message: &[u8]) -> Result<Progress, String> {
        if memchr::memmem::find(message, b"-ERR").is_some() {
            return Err(String::from_utf8_lossy(message).into_owned());
        }
        let pong = memchr::memmem::find(message, b"PONG").is_some();
        Ok(if pong { Progress::Ready(self.index.into()) } else { Progress::Wait })
    }
}

struct NatsPublisher {
    stream: std::net::TcpStream,
    audience: Audience,
    payload: usize,
    buffer: Vec<u8>,
}

impl Publisher for NatsPublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        self.buffer.clear();
        for stamp in batch {
            let subject = topic(self.audience, stamp.audience);
            let length = self.payload.max(crate::stamp::LEN);
            self.buffer.extend_from_slice(format!("PUB {subject} {length}\r\n").as_bytes());
            stamp.write(self.payload, &mut self.buffer);
            self.buffer.extend_from_slice(b"\r\n");
        }
        let written = std::io::Write::write_all(&mut self.stream, &self.buffer);
        written.map_err(|error| format!("cannot publish: {error}"))
    }
}
