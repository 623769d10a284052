//! Carries out the steps of a scenario.

use std::{collections::HashMap, time::Duration};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    Failure, Scenario, Step,
    application::Application,
    deployment::{Deployment, token},
    driver::Driver,
    script::{Party, Texts, TokenKind},
};
use crate::stack::PATIENCE;

/// Runs a scenario with drivers that this command of the shell starts.
///
/// # Errors
/// Returns [`Failure`] with the step that failed, and the reason.
pub async fn run(scenario: &Scenario, command: &str) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::new(error.to_string()))?;
    let deployment = Deployment::start(scenario).await;
    let mut run = Run { deployment, directory, command, devices: HashMap::new() };
    let mut outcome = Ok(());
    for (number, step) in (1..).zip(&scenario.steps) {
        outcome =
            run.carry_out(step).await.map_err(|error| error.during(&format!("step {number}, {step:?}")));
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        outcome = run.finish().await;
    }
    run.devices.clear();
    run.deployment.shutdown().await;
    outcome
}

struct Run<'a> {
    deployment: Deployment,
    /// The devices' stores.
    directory: TempDir,
    command: &'a str,
    devices: HashMap<String, Device>,
}

/// A device: its application, and its process while there is one.
#[derive(Default)]
struct Device {
    application: Application,
    driver: Option<Driver>,
}

impl Run<'_> {
    async fn carry_out(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Open { device, server, tokens, offline } => {
                self.open(device, server.unwrap_or(1), tokens, *offline).await
            }
            Step::Connect { device } => self.device(device)?.call(json!({"op": "connect"})).await.map(drop),
            Step::Disconnect { device } => {
                self.device(device)?.call(json!({"op": "disconnect"})).await.map(drop)
            }
            Step::Send { device, to, texts, unsettled } => {
                self.device(device)?.send(to, texts, !unsettled).await
            }
            Step::Settled { device } => self.device(device)?.settled().await,
            Step::Unsettled { device, texts } => self.device(device)?.unsettled(&texts.list()).await,
            Step::Refused { device, to, text, code } => self.device(device)?.refused(to, text, code).await,
            Step::Receive { device, channel, texts } => {
                self.device(device)?.receive(channel, &texts.list()).await
            }
            Step::Expect { device, event } => self.device(device)?.expect(event).await.map(drop),
            Step::History { device, conversation, limit, texts } => {
                self.device(device)?.history(conversation, *limit, &texts.list()).await
            }
            Step::React { device, to, emoji } => {
                let me = user_of(device).to_owned();
                self.device(device)?.react(&me, to, emoji).await
            }
            Step::Shows { device, text, reactions } => {
                let me = user_of(device).to_owned();
                self.device(device)?.shows(&me, text, &json!(reactions)).await
            }
            Step::Typing { device, to } => self.device(device)?.typing(to).await,
            Step::Group { channel, members } => self.deployment.add_members(channel, members).await,
            Step::BackEndSend { to, texts } => self.deployment.send(to, texts).await,
            Step::Kick { user, reason } => self.deployment.kick(user, reason).await,
            Step::KillServer { server } => self.deployment.kill_server(*server).await,
            Step::Exit { device } => {
                let device = self.device(device)?;
                let driver = device.take_driver()?;
                device.application.killed();
                driver.kill().await
            }
            Step::Shutdown { device } => self.device(device)?.shutdown().await,
        }
    }

    async fn open(
        &mut self,
        name: &str,
        server: usize,
        tokens: &[TokenKind],
        offline: bool,
    ) -> Result<(), Failure> {
        let user = user_of(name);
        let kinds = if tokens.is_empty() { &[TokenKind::Valid] } else { tokens };
        let tokens: Vec<_> = kinds.iter().map(|kind| token(user, *kind)).collect();
        let request = json!({
            "op": "open",
            "endpoints": self.deployment.endpoints(server),
            "device": name.split_once('/').map_or("device", |(_, device)| device),
            "store": self.directory.path().join(format!("{}.db", name.replace('/', "."))),
            "trust_sha256": self.deployment.fingerprint(),
            "tokens": tokens,
        });
        let driver = Driver::start(self.command, self.directory.path())?;
        let device = self.devices.entry(name.to_owned()).or_default();
        device.driver = Some(driver);
        device.call(request).await?;
        if offline {
            return Ok(());
        }
        device.call(json!({"op": "connect"})).await?;
        let connected = device.expect(&fields(json!({"type": "connected"}))).await?;
        if connected["user"] != user {
            return Err(Failure::new(format!("{name} is connected as {}", connected["user"])));
        }
        device.expect(&fields(json!({"type": "up_to_date"}))).await.map(drop)
    }

    /// Checks that nothing unexpected has arrived.
    async fn finish(&mut self) -> Result<(), Failure> {
        for (name, device) in &mut self.devices {
            if device.driver.is_some() {
                device.drain().await.map_err(|error| error.during(&format!("at the end, {name}")))?;
                device.shutdown().await.map_err(|error| error.during(&format!("the shutdown of {name}")))?;
            }
        }
        Ok(())
    }

    fn device(&mut self, name: &str) -> Result<&mut Device, Failure> {
        self.devices.get_mut(name).ok_or_else(|| Failure::new(format!("{name} was not opened")))
    }
}

impl Device {
    async fn send(&mut self, to: &Party, texts: &Texts, wait: bool) -> Result<(), Failure> {
        let mut sent = Vec::new();
        for text in texts.list() {
            let answer = self.call(json!({"op": "send", "to": to, "text": text})).await?;
            sent.push(answer["local_id"].clone());
        }
        for local_id in sent.iter().filter(|_| wait) {
            let answer = self.call(json!({"op": "outcome", "local_id": local_id})).await?;
            if !answer["message_id"].is_string() {
                return Err(Failure::new(format!("a message has no id: {answer}")));
            }
        }
        Ok(())
    }

    async fn refused(&mut self, to: &Party, text: &str, code: &str) -> Result<(), Failure> {
        let sent = self.call(json!({"op": "send", "to": to, "text": text})).await?;
        let request = json!({"op": "outcome", "local_id": sent["local_id"]});
        match self.driver()?.ask(&request).await? {
            Err((actual, _)) if actual == code => Ok(()),
            other => Err(Failure::new(format!("the outcome is {other:?}"))),
        }
    }

    async fn settled(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(json!({"op": "unsettled"})).await?;
            if answer["sends"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("not settled within {PATIENCE:?}: {answer}")));
            }
            self.step(POLL).await?;
        }
    }

    async fn unsettled(&mut self, texts: &[String]) -> Result<(), Failure> {
        let answer = self.call(json!({"op": "unsettled"})).await?;
        let sends = answer["sends"].as_array().cloned().unwrap_or_default();
        let actual: Vec<_> = sends.iter().map(|send| send["text"].as_str().unwrap_or_default()).collect();
        same(&actual, texts, "unsettled")
    }

    async fn receive(&mut self, channel: &str, texts: &[String]) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        for (number, wanted) in texts.iter().enumerate() {
            let text = loop {
                if let Some(text) = self.application.next_text(channel) {
                    break text;
                }
                if Instant::now() > deadline {
                    return Err(Failure::new(format!(
                        "{number} of {} texts came within {PATIENCE:?}",
                        texts.len()
                    )));
                }
                self.step(PATIENCE).await?;
            };
            if text != *wanted {
                return Err(Failure::new(format!("{text:?} came instead of {wanted:?}")));
            }
        }
        Ok(())
    }

    /// Waits for an event with these fields.
    async fn expect(&mut self, wanted: &Map<String, Value>) -> Result<Value, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.step(PATIENCE).await? {
                Some(event) if contains(&event, wanted) => return Ok(event),
                _ if Instant::now() > deadline => {
                    return Err(Failure::new(format!(
                        "no such event within {PATIENCE:?}: {}",
                        json!(wanted)
                    )));
                }
                _ => {}
            }
        }
    }

    async fn history(&mut self, conversation: &Party, limit: u32, texts: &[String]) -> Result<(), Failure> {
        let request = json!({"op": "history", "conversation": conversation, "limit": limit});
        let answer = self.call(request).await?;
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        let actual: Vec<_> =
            messages.iter().map(|message| message["text"].as_str().unwrap_or_default()).collect();
        same(&actual, texts, "in the history")
    }

    async fn react(&mut self, me: &str, text: &str, emoji: &str) -> Result<(), Failure> {
        let message = self.message(text)?;
        let request = json!({"op": "react", "message": message, "me": me, "emoji": emoji});
        let sent = self.call(request).await?;
        self.call(json!({"op": "outcome", "local_id": sent["local_id"]})).await.map(drop)
    }

    async fn shows(&mut self, me: &str, text: &str, reactions: &Value) -> Result<(), Failure> {
        let id = self.message(text)?["id"].clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.call(json!({"op": "shows", "me": me, "id": id})).await?;
            if shown["text"] == text && shown["reactions"] == *reactions {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("the timeline shows {shown}")));
            }
            self.step(POLL).await?;
        }
    }

    async fn typing(&mut self, to: &Party) -> Result<(), Failure> {
        let answer = self.call(json!({"op": "typing", "to": to})).await?;
        if answer["sent"] == true {
            Ok(())
        } else {
            Err(Failure::new(format!("the signal was not sent: {answer}")))
        }
    }

    /// Takes the events that have arrived.
    async fn drain(&mut self) -> Result<(), Failure> {
        while self.step(Duration::ZERO).await?.is_some() {}
        Ok(())
    }

    async fn shutdown(&mut self) -> Result<(), Failure> {
        self.call(json!({"op": "shutdown"})).await?;
        self.take_driver()?.end().await
    }

    /// Takes the next event, checks it, and acknowledges its position.
    async fn step(&mut self, within: Duration) -> Result<Option<Value>, Failure> {
        let Some(event) = self.driver()?.next(within).await? else { return Ok(None) };
        if let Some(position) = self.application.apply(&event)? {
            let request = json!({
                "op": "ack", "channel": position["channel"], "seq": position["seq"], "id": position["id"],
            });
            self.call(request).await?;
        }
        Ok(Some(event))
    }

    async fn call(&mut self, request: Value) -> Result<Value, Failure> {
        self.driver()?.call(request).await
    }

    fn message(&self, text: &str) -> Result<Value, Failure> {
        let message = self.application.message(text);
        message.cloned().ok_or_else(|| Failure::new(format!("no message says {text:?}")))
    }

    fn driver(&mut self) -> Result<&mut Driver, Failure> {
        self.driver.as_mut().ok_or_else(|| Failure::new("the device's process has ended"))
    }

    fn take_driver(&mut self) -> Result<Driver, Failure> {
        self.driver.take().ok_or_else(|| Failure::new("the device's process has ended"))
    }
}

/// Returns the user in a device's name, such as `alice/phone`.
fn user_of(device: &str) -> &str {
    device.split_once('/').map_or(device, |(user, _)| user)
}

fn same(actual: &[&str], wanted: &[String], what: &str) -> Result<(), Failure> {
    if actual == wanted { Ok(()) } else { Err(Failure::new(format!("{what} are {actual:?}"))) }
}

/// Returns whether a value contains these fields; it may have others.
fn contains(value: &Value, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(name, wanted)| match wanted {
        Value::Object(fields) => contains(&value[name], fields),
        wanted => value[name] == *wanted,
    })
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Interval between two reads of a state that no event reports.
const POLL: Duration = Duration::from_millis(50);
