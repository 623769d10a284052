//! A `cli-chat` process with two pipes.
#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The time limit of a wait for a line, far above the usual time: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `cli-chat`, killed when dropped.
pub(crate) struct Chat {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// The output so far, for the message of a failed test.
    pub(crate) seen: Vec<String>,
}

impl Chat {
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::run(arguments, command(data, arguments))
    }

    pub(crate) fn run(arguments: &[&str], mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // The thread ends with the process's output.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { name: arguments[0].to_owned(), input: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    /// Starts a user, and waits until it is connected.
    pub(crate) fn connect(data: &Path, user: &str) -> Self {
        let mut chat = Self::start(data, &[user]);
        chat.wait("* connected as");
        chat
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line that contains `part`.
    pub(crate) fn wait(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(line) = line else {
                panic!("{} does not say {part:?}. It said:\n{}", self.name, self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Repeats a line until the answer that contains `part` is the wanted one.
    pub(crate) fn repeat(&mut self, line: &str, part: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.say(line);
            let found = self.wait(part);
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{} says {found:?} and never {wanted:?}", self.name);
        }
    }

    /// Returns the number of the next message that contains `part`.
    pub(crate) fn number(&mut self, part: &str) -> String {
        let line = self.wait(part);
        let number = line.split_whitespace().next().unwrap();
        assert!(number.parse::<u32>().is_ok(), "{line:?} has no number");
        number.to_owned()
    }

    /// Terminates the process, and waits for its end.
    pub(crate) fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends the input, and waits for the process. Returns whether it succeeded, and its output.
    pub(crate) fn end(mut self) -> (bool, Vec<String>) {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        (self.child.wait().unwrap().success(), std::mem::take(&mut self.seen))
    }
}

/// Returns a command without the variables of the tests' own environment.
pub(crate) fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cli-chat"));
    command.args(arguments).arg("--data").arg(data).env_remove("CHAT_TOKEN");
    command
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
