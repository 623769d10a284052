//! Start of a client: loading its store.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;

use super::{Driver, DriverChannels, Status, lifecycle::BackgroundStatus, saver::Saver};
use crate::client::{
    ClientConfig, Event, SendError, State, StopCause,
    device_store::{SavedState, StoreError},
    transport::Connector,
};

/// Runs a client from loading its store to its end. A panic of the client, or of the application's provider or store, is reported
/// to the application.
pub(in crate::client) async fn run(config: ClientConfig, connector: Connector, channels: DriverChannels) {
    let (events, status) = (channels.events.clone(), channels.status.clone());
    // Reserved, so that the last event has room however many wait.
    let Ok(last_word) = events.reserve_owned().await else { return };
    let client = AssertUnwindSafe(run_to_the_end(config, connector, channels));
    if let Err(panic) = client.catch_unwind().await {
        let reason = format!("the client has failed: {}", message(&*panic));
        tracing::error!(reason, "the client is closed");
        // As everywhere, the state is set before the event is sent.
        status.send_modify(|status| *status = Status { state: State::Closed, transport: None, ..*status });
        last_word.send(Event::Stopped { code: None, cause: StopCause::Failed, reason });
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

async fn run_to_the_end(config: ClientConfig, connector: Connector, mut channels: DriverChannels) {
    let saver = Saver::new(config.store.clone());
    match load(&saver, &mut channels).await {
        Some(saved) => {
            let driver = Driver::new(&config, saved, saver, connector, channels);
            drop(config);
            driver.run().await;
        }
        None => {
            drop((saver, config));
            channels.close().await;
        }
    }
}

/// Loads the store, once for each time that the application asks for a connection. Returns `None` if it
/// closes the client first.
async fn load(saver: &Saver, channels: &mut DriverChannels) -> Option<SavedState> {
    loop {
        match saver.load().await {
            Ok(saved) => return Some(saved),
            Err(error) => {
                let stopped = Status { state: State::Stopped, ..Status::INITIAL };
                channels.status.send_replace(stopped);
                // A full queue has the same event from before.
                let cause = StopCause::Store(error.clone());
                _ = channels.events.try_send(Event::Stopped { code: None, cause, reason: error.to_string() });
                wait_for_connect(channels, &error).await?;
            }
        }
    }
}

/// Waits until the application asks for a connection again. Returns `None` if it closes the client instead.
async fn wait_for_connect(channels: &mut DriverChannels, error: &StoreError) -> Option<()> {
    // Earlier requests have failed.
    let before = channels.desired.borrow_and_update().clone();
    if before.closing {
        return None;
    }
    loop {
        tokio::select! {
            biased;
            // The desired state goes before commands.
            desired = channels.desired.changed() => {
                desired.ok()?;
                let desired = channels.desired.borrow_and_update().clone();
                if desired.closing {
                    return None;
                }
                if desired.online && desired.connects != before.connects {
                    return Some(());
                }
                // There are no open files to release.
                let background = BackgroundStatus { number: desired.backgrounds, complete: true };
                channels.status.send_if_modified(|last| {
                    std::mem::replace(&mut last.background, background) != background
                });
            }
            Some(command) = channels.commands.recv() => command.refuse(&SendError::Store(error.clone())),
        }
    }
}

impl DriverChannels {
    /// Refuses all waiting commands, and reports the end.
    pub(super) async fn close(mut self) {
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            command.refuse(&SendError::Closed);
        }
        self.status
            .send_modify(|status| *status = Status { state: State::Closed, transport: None, ..*status });
    }
}
