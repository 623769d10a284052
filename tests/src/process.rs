//! Child processes on free ports.

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

/// Time limit for a server to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Number of attempts to start, each on other ports.
const START_ATTEMPTS: usize = 10;

/// A child process, killed when dropped. Its output goes to a file in its directory.
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

    /// Starts a program in a directory, with further environment variables.
    pub(crate) fn start_with<V: AsRef<OsStr>>(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        variables: &[(V, V)],
    ) -> Self {
        Self::spawn(program, arguments, directory, variables, None)
    }

    /// Starts a program in a directory, as another user and group if given.
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
        // `IM_` variables in the caller's environment are not meant for this process: im-server would refuse
        // to start with an unknown one.
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

    /// Waits until the server answers. Returns `false` if it exited, for example because its port was taken meanwhile.
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

    /// Returns its output so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the file of its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Writes a line to its standard input.
    pub(crate) fn write_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its standard input is a pipe");
        // It may have exited.
        let _ = writeln!(input, "{line}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (`SIGKILL`).
    pub(crate) fn kill(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        self.child.wait().expect("the child's end");
    }

    /// Sends `SIGQUIT` and waits for the exit.
    pub(crate) fn quit(&mut self) {
        if self.child.try_wait().expect("the state of the child").is_none() {
            self.signal(Signal::QUIT);
            self.child.wait().expect("the child's end");
        }
    }

    /// Sends `SIGTERM`.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Returns its exit status, if it has exited.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of the child")
    }

    /// Freezes it (`SIGSTOP`): its connections stay open and nothing answers.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        // Its threads stop one by one.
        let deadline = std::time::Instant::now() + START_TIMEOUT;
        while !self.is_stopped() {
            assert!(std::time::Instant::now() < deadline, "it does not stop within {START_TIMEOUT:?}");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("the child's threads");
        // A thread that has exited meanwhile has no state. The name before the state may contain anything.
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

/// Starts something on free ports. Calls `start` again with other ports if it fails because these were taken meanwhile.
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

/// Returns a free port below the range of ephemeral ports. From that range, a client that reconnects to a
/// stopped server could be given the server's port as its own, and keep the server from coming back.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
