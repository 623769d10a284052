//! The process of a driver.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::Failure;
use crate::stack::PATIENCE;

/// A running driver, killed when dropped.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Starts one with a command of the shell. Its standard error is that of the runner.
    pub(super) fn start(command: &str, directory: &Path) -> Result<Self, Failure> {
        let mut shell = Command::new("sh");
        // The shell becomes the driver, so a signal reaches it.
        shell.arg("-c").arg(format!("exec {command}")).env("SCENARIO_DIRECTORY", directory);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = shell.spawn().map_err(|error| Failure::new(format!("{command}: {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { child, input, output: BufReader::new(output).lines() }),
            _ => Err(Failure::new(format!("{command}: it has no pipes"))),
        }
    }

    /// Makes a request. Returns the answer, or the code and the message of the error.
    pub(super) async fn ask(&mut self, request: &Value) -> Result<Result<Value, (String, String)>, Failure> {
        let answer = timeout(PATIENCE + ANSWER_SLACK, self.exchange(request)).await;
        let answer = answer.map_err(|_| Failure::new(format!("the driver does not answer {request}")))??;
        let text = |name: &str| answer["error"][name].as_str().unwrap_or_default().to_owned();
        if answer["error"].is_null() { Ok(Ok(answer)) } else { Ok(Err((text("code"), text("message")))) }
    }

    /// Makes a request that must succeed.
    pub(super) async fn call(&mut self, request: Value) -> Result<Value, Failure> {
        let answer = self.ask(&request).await?;
        answer.map_err(|(code, message)| Failure::new(format!("{request} failed: {code}: {message}")))
    }

    /// Returns the next event, if one comes in that time.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Option<Value>, Failure> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let mut answer = self.call(json!({"op": "next", "within_ms": within_ms})).await?;
        Ok(Some(answer["event"].take()).filter(|event| !event.is_null()))
    }

    /// Kills it with `SIGKILL`, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| Failure::new(format!("the driver cannot be killed: {error}")))
    }

    /// Closes its input, and waits until it has ended.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        drop(self.input);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.map_err(|_| Failure::new("the driver does not end with its input"))?;
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(Failure::new(format!("the driver ended with {other:?}"))),
        }
    }

    async fn exchange(&mut self, request: &Value) -> Result<Value, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("the driver is gone: {error}"));
        self.input.write_all(format!("{request}\n").as_bytes()).await.map_err(failed)?;
        self.input.flush().await.map_err(failed)?;
        let line = self.output.next_line().await.map_err(failed)?;
        let line =
            line.ok_or_else(|| Failure::new(format!("the driver ended instead of answering {request}")))?;
        serde_json::from_str(&line).map_err(|_| Failure::new(format!("the driver printed {line:?}")))
    }
}

/// Time that an answer may take beyond the wait that was requested.
const ANSWER_SLACK: Duration = Duration::from_secs(10);
