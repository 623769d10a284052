//! All devices of a scenario, in this process or in others.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use im_sdk::{Endpoint, client::device_store::MemoryStore};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{DEVICES_PER_PROCESS, DeviceProcess, DeviceSetup, DeviceState, ProcessSetup, Wish};
use crate::{stack::Certificate, wait_until};

/// Time limit for all devices to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit for all devices to end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(60);

/// All devices of a scenario, each of its own user.
#[derive(Debug)]
pub struct Fleet {
    /// State of each device, by the number of its user.
    pub devices: Vec<Arc<DeviceState>>,
    /// Processes with devices of their own.
    pub processes: Vec<DeviceProcess>,
    servers: Vec<[Endpoint; 2]>,
    every: Duration,
    wishes: Vec<watch::Sender<Wish>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Creates a fleet without devices. Each device will send at the interval `every`. `total` counts accepted
    /// publishes.
    pub(super) fn new(
        users: usize,
        servers: Vec<[Endpoint; 2]>,
        every: Duration,
        total: Arc<AtomicU64>,
    ) -> Self {
        let devices = (0..users).map(|index| DeviceState::new(index, Arc::clone(&total))).collect();
        Self { devices, servers, every, wishes: Vec::new(), tasks: Vec::new(), processes: Vec::new() }
    }

    /// Starts the devices: the last ones in processes of their own, the others in this one.
    pub(super) async fn start(&mut self, certificate: &Certificate, processes: usize) {
        let here = self.devices.len() - processes * DEVICES_PER_PROCESS;
        for index in 0..here {
            let setup = DeviceSetup {
                index,
                users: self.devices.len(),
                servers: self.servers.clone(),
                turn: 0,
                trust: certificate.trust(),
                store: Arc::new(MemoryStore::new()),
                next_number: 1,
                every: self.every,
            };
            let (state, (wish, wishes)) = (Arc::clone(&self.devices[index]), watch::channel(Wish::default()));
            self.wishes.push(wish);
            self.tasks.push(tokio::spawn(setup.run(wishes, move |line| state.tell(line))));
        }
        for devices in self.devices[here..].chunks(DEVICES_PER_PROCESS) {
            let setup = ProcessSetup {
                users: self.devices.len(),
                servers: self.servers.clone(),
                certificate: certificate.certificate.clone(),
                every: self.every,
            };
            self.processes.push(DeviceProcess::start(setup, devices.to_vec()).await);
        }
    }

    /// Instructs some devices of this process.
    pub fn wish(&self, devices: impl IntoIterator<Item = usize>, change: impl Fn(&mut Wish)) {
        for device in devices {
            self.wishes[device].send_modify(&change);
        }
    }

    /// Starts or pauses the load of all devices.
    pub(super) fn send(&mut self, send: bool) {
        self.wish(0..self.wishes.len(), |wish| wish.send = send);
        self.processes.iter_mut().for_each(|process| process.send(send));
    }

    /// Waits until every device has been up to date.
    pub(super) async fn up_to_date(&self) {
        wait_until("all devices are up to date", CONNECT_TIMEOUT, async || {
            self.devices.iter().all(|device| device.was_up_to_date())
        })
        .await;
    }

    /// Waits until every device has ended.
    ///
    /// # Panics
    /// Panics if a device does not end, or panicked.
    pub(super) async fn finish(&mut self) {
        self.wish(0..self.wishes.len(), |wish| wish.finish = true);
        for task in self.tasks.drain(..) {
            let ended = timeout(FINISH_TIMEOUT, task).await;
            ended.expect("every device ends").expect("no device panics");
        }
        for process in &mut self.processes {
            process.finish().await;
        }
    }
}
