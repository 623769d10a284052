//! Centrifugo: devices speak its JSON protocol over WebSocket, the publisher its HTTP API with batches.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{Publisher, Target, TargetOptions, topic};
use crate::{
    audience::Audience,
    login::{Login, Messages, Progress, WebSocketLogin},
    stamp::Stamp,
};

/// Turns off history, presence and recovery, since only delivery is measured. Version 5 reads the flat keys, version 6
/// the sections; each warns of the other's.
const CONFIG: &str = r#"{
  "address": "127.0.0.1",
  "port": "PORT",
  "api_insecure": true,
  "client_insecure": true,
  "allow_subscribe_for_client": true,
  "ping_interval": "3600s",
  "log_level": "error",
  "http_server": { "address": "127.0.0.1", "port": "PORT" },
  "http_api": { "insecure": true },
  "client": { "insecure": true, "ping_interval": "3600s" },
  "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
  "log": { "level": "error" }
}"#;

const INSTALL: &str = "go install github.com/centrifugal/centrifugo/v5@latest";

pub(super) struct CentrifugoTarget {
    child: Child,
    address: SocketAddr,
    options: TargetOptions,
    program: String,
    _directory: TempDir,
}

impl CentrifugoTarget {
    pub(super) fn start(options: &TargetOptions) -> Result<Self, String> {
        let program = super::program("BENCH_CENTRIFUGO", "centrifugo", INSTALL)?;
        let failed = |error: std::io::Error| format!("{program} does not start: {error}");
        let port = super::free_port()?;
        let directory = tempfile::tempdir().map_err(failed)?;
        let config = directory.path().join("config.json");
        std::fs::write(&config, CONFIG.replace("PORT", &port.to_string())).map_err(failed)?;
        let child = Command::new(&program)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let target = Self { child, address, options: options.clone(), program, _directory: directory };
        super::wait_for(address, START_TIMEOUT)?;
        Ok(target)
    }
}

impl Drop for CentrifugoTarget {
    fn drop(&mut self) {
        // It may have exited by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Target for CentrifugoTarget {
    fn version(&self) -> String {
        super::program_version(&self.program, "version")
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        let audience = self.options.audience;
        let login = CentrifugoLogin { index, channel: topic(audience, audience.of(index)) };
        (self.address, Box::new(WebSocketLogin::new("/connection/websocket", None, login)))
    }

    fn publisher(&self, _: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let stream = TcpStream::connect(self.address);
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|error| format!("no API at {}: {error}", self.address))?;
        let TargetOptions { audience, payload, .. } = self.options;
        Ok(Box::new(ApiPublisher { stream: BufReader::new(stream), audience, payload, failed: 0 }))
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(10);

struct CentrifugoLogin {
    index: u32,
    channel: String,
}

impl Messages for CentrifugoLogin {
    fn first(&mut self) -> Vec<u8> {
        format!(
            "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{}\"}}}}",
            self.channel
        )
        .into_bytes()
    }

    fn received(&mut self, message: &[u8]) -> Result<Progress, String> {
        if memchr::memmem::find(message, b"\"error\"").is_some() {
            return Err(String::from_utf8_lossy(message).into_owned());
        }
        let subscribed = memchr::memmem::find(message, b"\"id\":2").is_some();
        Ok(if subscribed { Progress::Ready(self.index.into()) } else { Progress::Wait })
    }

    fn is_text(&self) -> bool {
        true
    }
}

struct ApiPublisher {
    stream: BufReader<TcpStream>,
    audience: Audience,
    payload: usize,
    failed: u64,
}

impl Publisher for ApiPublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        let mut body = b"{\"commands\":[".to_vec();
        for (number, stamp) in batch.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let channel = topic(self.audience, stamp.audience);
            let head = format!("{comma}{{\"publish\":{{\"channel\":\"{channel}\",\"data\":\"");
            body.extend_from_slice(head.as_bytes());
            stamp.write(self.payload, &mut body);
            body.extend_from_slice(b"\"}}");
        }
        body.extend_from_slice(b"]}");
        let errors = self.post(&body).map_err(|error| format!("cannot publish: {error}"))?;
        self.failed += errors;
        Ok(())
    }

    fn failed(&self) -> u64 {
        self.failed
    }
}

impl ApiPublisher {
    /// Sends a batch, and returns the number of its commands that were refused.
    fn post(&mut self, body: &[u8]) -> std::io::Result<u64> {
        let head = format!(
            "POST /api/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line.starts_with("HTTP/") && !line.contains(" 200 ") {
                return Err(std::io::Error::other(line));
            }
            if lower.starts_with("transfer-encoding: chunked") {
                return Err(std::io::Error::other("the answer is in chunks: use smaller batches"));
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(memchr::memmem::find_iter(&answer, b"\"error\"").count() as u64)
    }
}
