//! A server as a child process.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// How long a server may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks whether it does.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How often a start is tried, each time on other ports.
const START_ATTEMPTS: usize = 10;

/// A child process, killed when dropped. What it prints goes to a file in its directory.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a directory.
    pub(crate) fn start(program: &Path, arguments: &[String], directory: &Path) -> Self {
        Self::start_with::<String>(program, arguments, directory, &[])
    }

    /// Starts a program in a directory, with variables beside those of this process.
    pub(crate) fn start_with<V: AsRef<OsStr>>(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        variables: &[(V, V)],
    ) -> Self {
        Self::spawn(program, arguments, directory, variables, None)
    }

    /// Starts a program in a directory as a user and a group, if they are given.
    pub(crate) fn start_as(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        owner: Option<(u32, u32)>,
    ) -> Self {
        Self::spawn::<String>(program, arguments, directory, &[], owner)
    }

    fn spawn<V: AsRef<OsStr>>(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        variables: &[(V, V)],
        owner: Option<(u32, u32)>,
    ) -> Self {
        let log = directory.join("output.log");
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = Command::new(program);
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        // What the caller's own environment says to im-server or to the load tool is not meant for this process: im-server
        // would refuse to start with a variable that it does not know.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"IM_")) {
            command.env_remove(name);
        }
        let child = command
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stderr(output.try_clone().expect("a second handle of the log file"))
            .stdout(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        Self { child, log }
    }

    /// Waits until the server answers. False: it ended, for example because its port was taken meanwhile.
    pub(crate) async fn is_ready(&mut self, mut answers: impl AsyncFnMut() -> bool) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if answers().await {
                return true;
            }
            if self.child.try_wait().expect("the state of the child").is_some() {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
        panic!("it does not answer within {START_TIMEOUT:?}:\n{}", self.output());
    }

    /// Everything that it printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it is written.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its standard input is a pipe");
        // It may have ended.
        let _ = writeln!(input, "{line}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("the child's end");
    }

    /// Asks it to end at once (`SIGQUIT`), and waits for that.
    pub(crate) fn quit(&mut self) {
        if self.child.try_wait().expect("the state of the child").is_none() {
            self.signal(Signal::QUIT);
            self.child.wait().expect("the child's end");
        }
    }

    /// Asks it to end (`SIGTERM`).
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of the child")
    }

    /// Freezes it: its connections stay open and nothing answers.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        // Its threads stop one after the other.
        let deadline = std::time::Instant::now() + START_TIMEOUT;
        while !self.is_stopped() {
            assert!(std::time::Instant::now() < deadline, "it does not stop within {START_TIMEOUT:?}");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("the child's threads");
        // One that has ended meanwhile has no state. The name before the state may hold anything.
        let state = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).ok();
        threads
            .flatten()
            .filter_map(state)
            .all(|stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X'])))
    }

    /// Ends [`Process::stop`].
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to the child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts something on free ports. `start` is tried again with others when it says that these were taken meanwhile.
pub(crate) async fn on_free_ports<const N: usize, T>(
    start: impl AsyncFn([u16; N]) -> Result<T, String>,
) -> T {
    let mut output = String::new();
    for _ in 0..START_ATTEMPTS {
        match start(std::array::from_fn(|_| free_port())).await {
            Ok(started) => return started,
            Err(printed) => output = printed,
        }
    }
    panic!("it did not start {START_ATTEMPTS} times in a row; the last time it said:\n{output}");
}

/// Below the range that the system takes the ports of outgoing connections from: there, a client that reconnects to a
/// server that is down could be given the server's port, and keep it from coming back.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
