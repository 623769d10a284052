//! Programs of this workspace, started as an operator would.

use std::{ffi::OsStr, process::ExitStatus};

use tempfile::TempDir;

use crate::{binary, process::Process, stack::PATIENCE, wait_until};

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Program {
    process: Process,
    directory: TempDir,
}

impl Program {
    /// Starts one in a directory of its own, with further environment variables. `IM_...` of this process are not
    /// inherited.
    pub fn start<V: AsRef<OsStr>>(name: &str, arguments: &[&str], variables: &[(V, V)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = Process::start_with(&binary(name), &arguments, directory.path(), variables);
        Self { process, directory }
    }

    /// Returns what it has printed to standard output and standard error.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// Waits for a whole line of output with this beginning, and returns the rest of the line.
    ///
    /// # Panics
    /// Panics if that does not happen within [`PATIENCE`].
    pub async fn printed(&mut self, beginning: &str) -> String {
        let mut found = None;
        wait_until(&format!("a line that begins with {beginning:?}"), PATIENCE, async || {
            let output = self.output();
            let whole = output.rfind('\n').map_or("", |end| &output[..end]);
            found = whole.lines().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned);
            let ended = found.is_none() && self.process.exit_status().is_some();
            assert!(!ended, "it ended before it printed {beginning:?}:\n{}", self.output());
            found.is_some()
        })
        .await;
        found.unwrap_or_default()
    }

    /// Sends `SIGTERM`.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has exited, and returns its status.
    ///
    /// # Panics
    /// Panics if that does not happen within [`PATIENCE`].
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program ends", PATIENCE, async || {
            status = self.process.exit_status();
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// Returns its working directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}
