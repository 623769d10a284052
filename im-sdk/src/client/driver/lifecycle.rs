//! The device's network and memory, and the store of an application in the background.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use super::{DesiredState, Driver};
use crate::client::device_store::DeviceStore;

/// The progress of the application's last request to go into the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct BackgroundStatus {
    /// The number of the last finished request.
    pub(in crate::client) number: u64,
    /// Set if everything was done in time.
    pub(in crate::client) complete: bool,
}

/// The application's requests so far, and the one in progress.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    network_changes: u64,
    memory_warnings: u64,
    backgrounds: u64,
    foregrounds: u64,
    /// The time until which a caller waits for the store to release its files.
    waiting_until: Option<Instant>,
    /// Set if the store may hold files.
    store_open: bool,
    /// The running call of the store.
    release: Option<JoinHandle<()>>,
}

impl Lifecycle {
    /// Waits until the store has released its files, or forever if it was not told to. Cancel-safe.
    pub(super) async fn released(&mut self) {
        let Some(release) = &mut self.release else { return std::future::pending().await };
        // A store that panics has at least dropped its locks.
        _ = release.await;
        self.release = None;
    }

    /// Returns the time until which a caller waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting_until
    }

    fn release(&mut self, store: Arc<dyn DeviceStore>) {
        self.store_open = false;
        self.release = Some(tokio::task::spawn_blocking(move || store.release()));
    }
}

impl Driver {
    /// Handles the application's reports about the device.
    pub(super) fn handle_lifecycle(&mut self, now: std::time::Instant, desired: &DesiredState) {
        let DesiredState { network_changes, memory_warnings, foregrounds, backgrounds, .. } = *desired;
        if std::mem::replace(&mut self.lifecycle.memory_warnings, memory_warnings) != memory_warnings {
            self.core.handle_memory_pressure();
            self.saver.shrink();
        }
        if std::mem::replace(&mut self.lifecycle.network_changes, network_changes) != network_changes {
            self.core.handle_network_changed(now);
        }
        if std::mem::replace(&mut self.lifecycle.foregrounds, foregrounds) != foregrounds {
            self.core.handle_foreground(now);
        }
        if self.lifecycle.backgrounds < backgrounds {
            // Earlier sends and acknowledgements go first.
            self.take_commands();
            self.take_acks();
            // One of the commands may have handled the desired state already.
            if self.lifecycle.backgrounds >= backgrounds {
                return;
            }
            self.lifecycle.backgrounds = backgrounds;
            self.lifecycle.store_open = true;
            self.lifecycle.waiting_until = desired.background_until;
            if let Some(until) = desired.background_until {
                let left = until.saturating_duration_since(Instant::now());
                self.core.handle_background(now, now + left - left.min(left / 4 + SAVING_TIME));
            }
        }
        if desired.background_until.is_none() {
            self.lifecycle.waiting_until = None;
            self.tell_background(backgrounds, false);
        }
    }

    /// Notes that a save may have opened the store's files again.
    pub(super) fn handle_store_used(&mut self) {
        self.lifecycle.store_open = true;
    }

    /// Has the store release its files once everything is saved, and notifies the waiting caller.
    pub(super) fn release_store(&mut self) {
        let is_busy = self.saver.is_busy() || self.lifecycle.release.is_some();
        if self.core.is_away() && self.lifecycle.store_open && !is_busy && !self.core.has_unsaved() {
            self.lifecycle.release(self.saver.store());
        }
        let Some(until) = self.lifecycle.waiting_until else { return };
        let is_busy = self.saver.is_busy() || self.lifecycle.release.is_some();
        let complete = self.core.is_away() && !self.lifecycle.store_open && !is_busy;
        // A server that does not answer the goodbye may prolong the wait, but does not make it incomplete.
        if (complete && self.closing.is_empty()) || until <= Instant::now() {
            self.lifecycle.waiting_until = None;
            self.tell_background(self.lifecycle.backgrounds, complete);
        }
    }

    fn tell_background(&self, number: u64, complete: bool) {
        self.channels.status.send_if_modified(|status| {
            let is_new = status.background.number < number;
            if is_new {
                status.background = BackgroundStatus { number, complete };
            }
            is_new
        });
    }
}

/// The part of the time for the background that is reserved for saving, beside a quarter of it.
const SAVING_TIME: Duration = Duration::from_millis(100);
