//! The devices that one receipt waits for, and how far the message has got with each.

use std::collections::{BTreeMap, BTreeSet};

use super::{AckOutcome, AckReport, DeviceState};
use crate::{
    backend::send::{
        device::UserDevice,
        dispatch::{Dispatcher, Freshness},
        receipt::Receipt,
    },
    cluster::RoutesError,
    id::UserId,
};

/// The progress of one receipt's devices.
#[derive(Debug)]
pub(super) struct AckProgress {
    devices: BTreeMap<UserDevice, DeviceState>,
    /// Users whose devices are unknown and have to be located.
    unlocated: BTreeSet<UserId>,
}

impl AckProgress {
    /// Begins with the devices that the send knew.
    pub(super) fn of(receipt: &Receipt) -> Self {
        let unconfirmed = receipt.unconfirmed.iter().map(|device| (device.clone(), DeviceState::Unconfirmed));
        let pushed = receipt.pushed.iter().map(|device| (device.clone(), DeviceState::Pushed));
        Self {
            devices: unconfirmed.chain(pushed).collect(),
            unlocated: receipt.unlocated.iter().cloned().collect(),
        }
    }

    /// Returns `true` if no device is waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.unlocated.is_empty() && self.devices.values().all(|state| *state == DeviceState::Acked)
    }

    /// Returns the users with known devices that have not acknowledged the message, and those
    /// without known devices.
    pub(super) fn open(&self) -> BTreeSet<UserId> {
        let open = self.devices.iter().filter(|(_, state)| **state != DeviceState::Acked);
        let open: BTreeSet<&UserId> = open.map(|(device, _)| &device.user).collect();
        open.into_iter().chain(&self.unlocated).cloned().collect()
    }

    /// Returns the users with a device that has acknowledged the message.
    pub(super) fn acked(&self) -> BTreeSet<&UserId> {
        let acked = self.devices.iter().filter(|(_, state)| **state == DeviceState::Acked);
        acked.map(|(device, _)| &device.user).collect()
    }

    pub(super) fn note(&mut self, acked: Vec<UserDevice>) {
        self.devices.extend(acked.into_iter().map(|device| (device, DeviceState::Acked)));
    }

    /// Locates the devices of users who could not be located before, and waits for those as well.
    pub(super) async fn locate(&mut self, dispatcher: &Dispatcher) {
        if self.unlocated.is_empty() {
            return;
        }
        let users: Vec<UserId> = self.unlocated.iter().cloned().collect();
        // If that fails too, the users stay unlocated.
        let Ok(online) = online(dispatcher, &users).await else { return };
        for device in online {
            self.devices.entry(device).or_insert(DeviceState::Unconfirmed);
        }
        self.unlocated.clear();
    }

    /// Marks the devices as offline that have not acknowledged the message and are not connected any
    /// more. If that is unknown, they keep their state.
    pub(super) async fn find_gone(&mut self, dispatcher: &Dispatcher) {
        let open = self.devices.iter().filter(|(_, state)| **state != DeviceState::Acked);
        let users: BTreeSet<UserId> = open.map(|(device, _)| device.user.clone()).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        if users.is_empty() {
            return;
        }
        let Ok(online) = online(dispatcher, &users).await else { return };
        for (device, state) in &mut self.devices {
            if *state != DeviceState::Acked && !online.contains(device) {
                *state = DeviceState::Offline;
            }
        }
    }

    pub(super) fn report(mut self, receipt: &Receipt) -> AckReport {
        let acked: BTreeSet<UserId> = self.acked().into_iter().cloned().collect();
        self.unlocated.retain(|user| !acked.contains(user));
        let any = |state| self.devices.values().any(|other| *other == state);
        let outcome =
            if any(DeviceState::Pushed) || any(DeviceState::Unconfirmed) || !self.unlocated.is_empty() {
                AckOutcome::TimedOut
            } else if any(DeviceState::Acked) {
                AckOutcome::Acked
            } else {
                AckOutcome::Offline
            };
        let mut heard_of: BTreeSet<&UserId> = self.devices.keys().map(|device| &device.user).collect();
        heard_of.extend(&self.unlocated);
        let recipients = receipt.logged.iter().map(|(user, _)| user);
        let offline = recipients.filter(|user| !heard_of.contains(user)).cloned().collect();
        AckReport { outcome, offline, devices: self.devices, unlocated: self.unlocated.into_iter().collect() }
    }
}

/// Returns the connected devices of these users.
async fn online(dispatcher: &Dispatcher, users: &[UserId]) -> Result<BTreeSet<UserDevice>, RoutesError> {
    let by_server = dispatcher.locate(users, Freshness::Current, |_| true).await?;
    Ok(by_server.into_iter().flat_map(|(_, located)| located).map(|located| located.owner).collect())
}
