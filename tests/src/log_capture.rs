//! Captures the log of one test.

use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};

/// A subscriber that is always registered, so that a [`LogCapture`] is never the only one.
///
/// While there is only one, `tracing` asks the thread that first reaches a call site whether a subscriber
/// listens, and caches the answer. That thread may run another test, which has no subscriber.
static SECOND_SUBSCRIBER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Captures what the current thread logs until this is dropped. Tests that use it run on one thread.
#[derive(Debug)]
pub struct LogCapture {
    written: Written,
    _guard: DefaultGuard,
}

impl LogCapture {
    /// Starts capturing.
    pub fn start() -> Self {
        LazyLock::force(&SECOND_SUBSCRIBER);
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        Self { written, _guard: tracing::subscriber::set_default(subscriber.finish()) }
    }

    /// Returns everything captured so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.0.lock().expect("no thread panicked")).into_owned()
    }

    /// Returns the captured lines that contain `something`.
    pub fn lines(&self, something: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(something)).map(str::to_owned).collect()
    }
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no thread panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
