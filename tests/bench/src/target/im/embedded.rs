//! An im-server with its cluster in its own process, without Redis and NATS: the cost of a connect without registering a
//! route elsewhere.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use im_tests::{Setup, Stack};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::runtime::Runtime;

use super::{Transport, address, server_options};

/// The server process: this program, with the server's library inside.
pub(super) struct EmbeddedServer {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) certificate: CertificateDer<'static>,
}

impl EmbeddedServer {
    pub(super) fn start(transport: Transport) -> Result<Self, String> {
        let start = || {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["embedded-server", "--transport", &crate::name(transport)])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            let (address, certificate) = line.trim().split_once(' ').unwrap_or_default();
            let nonsense = || io::Error::other(format!("it said {line:?}"));
            let address = address.parse().map_err(|_| nonsense())?;
            let certificate = CertificateDer::from_pem_file(certificate).map_err(|_| nonsense())?;
            Ok(Self { child, address, certificate })
        };
        start()
            .map_err(|error: io::Error| format!("a server with its cluster inside does not start: {error}"))
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        // It may have exited by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs the server in this process until it is killed. Prints its address and the path of its certificate.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn serve(transport: Transport) -> Result<(), String> {
    let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let stack = Stack::start_with(Setup::Embedded, 1, server_options(transport)).await;
        let server = stack.servers.first().ok_or("the stack has no server")?;
        let address = address(server, transport)?;
        let said = writeln!(io::stdout(), "{address} {}", stack.certificate.certificate.display());
        said.map_err(|error| format!("cannot print: {error}"))?;
        std::future::pending().await
    })
}
