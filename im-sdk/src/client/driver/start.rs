//! Before anything else: what the device remembers.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;

use super::{Driver, Ends, Status, saver::Saver};
use crate::client::{
    ClientConfig, Event, SendError, State, StopCause, StoreError, store::Saved, transport::Connector,
};

/// Runs a client from the loading of its store to its end. Should it panic, or what it was given by the application, then
/// the application is told.
pub(in crate::client) async fn run(config: ClientConfig, connector: Connector, ends: Ends) {
    let (events, status) = (ends.events.clone(), ends.status.clone());
    // A place for the last event, however many wait.
    let Ok(last_word) = events.reserve_owned().await else { return };
    let client = AssertUnwindSafe(run_to_the_end(config, connector, ends));
    if let Err(panic) = client.catch_unwind().await {
        let reason = format!("the client has failed: {}", message(&*panic));
        tracing::error!(reason, "the client is closed");
        // As everywhere, the state that belongs to an event, or a later one, is there before it.
        status.send_modify(|status| *status = Status { state: State::Closed, transport: None, ..*status });
        last_word.send(Event::Stopped { code: None, cause: StopCause::Failed, reason });
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

async fn run_to_the_end(config: ClientConfig, connector: Connector, mut ends: Ends) {
    let saver = Saver::new(config.store.clone());
    match load(&saver, &mut ends).await {
        Some(saved) => {
            let driver = Driver::new(&config, saved, saver, connector, ends);
            drop(config);
            driver.run().await;
        }
        None => {
            drop((saver, config));
            ends.close().await;
        }
    }
}

/// `None`: the application closed the client before its store could be loaded.
async fn load(saver: &Saver, ends: &mut Ends) -> Option<Saved> {
    loop {
        match saver.load().await {
            Ok(saved) => return Some(saved),
            Err(error) => {
                let stopped = Status { state: State::Stopped, ..Status::INITIAL };
                ends.status.send_replace(stopped);
                // If it is full, the application knows.
                let cause = StopCause::Store(error.clone());
                _ = ends.events.try_send(Event::Stopped { code: None, cause, reason: error.to_string() });
                wait_for_connect(ends, &error).await?;
            }
        }
    }
}

/// Until the application asks for a connection again; `None` when it closes the client instead.
async fn wait_for_connect(ends: &mut Ends, error: &StoreError) -> Option<()> {
    // What it wished before is what failed.
    let before = ends.wishes.borrow_and_update().clone();
    if before.closing {
        return None;
    }
    loop {
        tokio::select! {
            biased;
            // What the application wants goes before what it sends.
            wish = ends.wishes.changed() => {
                wish.ok()?;
                let wish = ends.wishes.borrow_and_update().clone();
                if wish.closing {
                    return None;
                }
                if wish.online && wish.connects != before.connects {
                    return Some(());
                }
            }
            Some(command) = ends.commands.recv() => command.refuse(&SendError::Store(error.clone())),
        }
    }
}

impl Ends {
    /// Answers whoever waits, and tells the end.
    pub(super) async fn close(mut self) {
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            command.refuse(&SendError::Closed);
        }
        self.status
            .send_modify(|status| *status = Status { state: State::Closed, transport: None, ..*status });
    }
}
