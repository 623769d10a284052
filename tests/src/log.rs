//! What is logged, for tests that run on one thread.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;

/// What this thread logs from now on, until this is dropped: each test runs on its own.
#[derive(Debug)]
pub struct Log {
    written: Written,
    _guard: DefaultGuard,
}

impl Log {
    /// Begins.
    pub fn start() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        Self { written, _guard: tracing::subscriber::set_default(subscriber.finish()) }
    }

    /// All of it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.0.lock().expect("nobody panicked")).into_owned()
    }

    /// The lines that contain something.
    pub fn lines(&self, something: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(something)).map(str::to_owned).collect()
    }
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
