//! The floor: the cost of bare delivery.

mod server;
mod spoil;

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

pub(crate) use self::{server::serve, spoil::Spoil};
use super::{
    Publisher, Target, TargetOptions,
    records::{IndexLogin, RecordPublisher},
};
use crate::login::Login;

/// The control as a process.
pub(super) struct ControlTarget {
    child: Child,
    address: SocketAddr,
    options: TargetOptions,
}

impl ControlTarget {
    pub(super) fn start(options: &TargetOptions) -> Result<Self, String> {
        let spoil = options.spoil.map(|spoil| ["--spoil".to_owned(), crate::name(spoil)]);
        let start = || {
            let program = std::env::current_exe()?;
            let mut child = Command::new(program)
                .arg("control-server")
                .args(spoil.iter().flatten())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
            BufReader::new(output).read_line(&mut line)?;
            let address = line.trim().parse().map_err(|_| io::Error::other(format!("it said {line:?}")))?;
            Ok((child, address))
        };
        let (child, address) =
            start().map_err(|error: io::Error| format!("the control does not start: {error}"))?;
        Ok(Self { child, address, options: options.clone() })
    }
}

impl Drop for ControlTarget {
    fn drop(&mut self) {
        // It may have exited by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Target for ControlTarget {
    fn version(&self) -> String {
        "one thread, one epoll".to_owned()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    fn plan(&self, index: u32) -> (SocketAddr, Box<dyn Login>) {
        let channel = self.options.audience.of(index);
        (self.address, Box::new(IndexLogin { index, channel }))
    }

    fn publisher(&self, _: &[u64]) -> Result<Box<dyn Publisher>, String> {
        let Self { address, options, .. } = self;
        Ok(Box::new(RecordPublisher::connect(*address, options.audience, options.payload)?))
    }
}
