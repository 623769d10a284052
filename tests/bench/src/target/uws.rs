//! uWebSockets inside Bun: `ws.send` for one connection, `server.publish` for a channel. See `peers/uws.js`.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{Publisher, Target, TargetOptions, records::RecordPublisher};
use crate::{
    audience::Audience,
    login::{Login, Messages, Progress, WebSocketLogin},
};

const SCRIPT: &str = include_str!("../../peers/uws.js");

pub(super) struct UwsTarget {
    child: Child,
    ports: [u16; 2],
    options: TargetOptions,
    _directory: TempDir,
}

impl UwsTarget {
    pub(super) fn start(options: &TargetOptions) -> Result<Self, String> {
        let bun = super::program("BENCH_BUN", "bun", "npm install bun @oven/bun-linux-x64")?;
        let failed = |error: std::io::Error| format!("{bun} does not start: {error}");
        let directory = tempfile::tempdir().map_err(failed)?;
        let script = directory.path().join("uws.js");
        std::fs::write(&script, SCRIPT).map_err(failed)?;
        let mut child = Command::new(&bun)
            .arg("run")
            .arg(&script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        let Some(output) = child.stdout.take() else { return Err("bun has no output".to_owned()) };
        BufReader::new(output).read_line(&mut line).map_err(failed)?;
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        let ports = ports.try_into().map_err(|_| format!("bun said {line:?} instead of two ports"))?;
        Ok(Self { child, ports, options: options.clone(), _directory: directory })
    }
}

impl Drop for UwsTarget {
    fn drop(&mut self) {
        // It may have exited by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Target for UwsTarget {
    fn version(&self) -> String {
        let bun = super::program("BENCH_BUN", "bun", "").unwrap_or_default();
        format!("bun {}", super::program_version(&bun, "--version"))
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        let path = match self.options.audience {
            Audience::One => format!("/{index}"),
            audience @ Audience::Channels(_) => format!("/{index}/{}", audience.of(index)),
        };
        let address = (Ipv4Addr::LOCALHOST, self.ports[0]).into();
        (address, Box::new(WebSocketLogin::new(&path, None, AnyMessage(index))))
    }

    fn publisher(&self, _: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let address = (Ipv4Addr::LOCALHOST, self.ports[1]).into();
        Ok(Box::new(RecordPublisher::connect(address, self.options.audience, self.options.payload)?))
    }
}

/// A login that waits for any message from the server.
struct AnyMessage(u32);

impl Messages for AnyMessage {
    fn first(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn received(&mut self, _: &[u8]) -> Result<Progress, String> {
        Ok(Progress::Ready(self.0.into()))
    }
}
