//! The tokio runtime behind all clients of a process.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::OpenError;

/// The runtime, created when it is first needed.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// Returns the runtime of the clients.
pub(crate) fn handle() -> Result<Handle, OpenError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = runtime.as_ref() {
        return Ok(runtime.handle().clone());
    }
    let built = build().map_err(|error| OpenError::NoRuntime { reason: error.to_string() })?;
    Ok(runtime.insert(built).handle().clone())
}

/// Ends the library's threads, and with them every client that is not closed. Call it when all clients are closed,
/// before the language's own runtime ends: Python in particular kills a foreign thread that is reporting back to it, and
/// the process with it (`atexit.register(im_ffi.shutdown)`). A client that is opened later starts new threads.
#[uniffi::export]
pub fn shutdown() {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).take();
    crate::log::clear();
    if let Some(runtime) = runtime {
        // A hanging token provider must not hang the process.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    }
}

fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(WORKER_THREADS).thread_name("im-sdk").enable_all().build()
}

/// A device has few connections. One thread would be enough; with two, the TLS of one client does not delay
/// another.
const WORKER_THREADS: usize = 2;

/// The time limit for the threads to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
