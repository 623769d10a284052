//! The tokio runtime behind all clients of a process.

use std::{io, sync::OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::OpenError;

/// The runtime, made when it is first needed. It lives as long as the process.
pub(crate) fn handle() -> Result<&'static Handle, OpenError> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    match RUNTIME.get_or_init(build) {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(OpenError::NoRuntime { reason: error.to_string() }),
    }
}

fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(WORKER_THREADS).thread_name("im-sdk").enable_all().build()
}

/// A device has a handful of connections; one thread would do, and two keep one client's TLS from delaying another.
const WORKER_THREADS: usize = 2;
