//! All devices of a scenario, in this process or in others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use im_sdk::{
    client::{Endpoint, MemoryStore},
    cluster::LogId,
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Checker, DeviceSetup, Seen, Told, Wish, device_logs, device_stamp, lines::DeviceLine, load_user,
};
use crate::{stack::Certificate, wait_until};

/// How long all devices may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long they may take to end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(60);

/// All devices of a scenario, each of its own user.
#[derive(Debug)]
pub struct Fleet {
    /// Each device by the number of its user.
    pub devices: Vec<Arc<DeviceState>>,
    wishes: Vec<watch::Sender<Wish>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a device has told so far.
#[derive(Debug)]
pub struct DeviceState {
    index: usize,
    lines: Mutex<Vec<DeviceLine>>,
    position: AtomicU64,
    up_to_date: AtomicBool,
    taken: AtomicU64,
    answered: AtomicU64,
    total: Arc<AtomicU64>,
}

impl DeviceState {
    pub(super) fn new(index: usize, total: Arc<AtomicU64>) -> Arc<Self> {
        let state = Self {
            index,
            total,
            lines: Mutex::default(),
            position: AtomicU64::new(0),
            up_to_date: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        };
        Arc::new(state)
    }

    /// Its user's log.
    pub fn log(&self) -> LogId {
        LogId::Inbox(load_user(self.index))
    }

    /// How far it is in its log.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Whether it was connected and had everything, once.
    pub fn was_up_to_date(&self) -> bool {
        self.up_to_date.load(Ordering::Relaxed)
    }

    /// Whether everything that it sent was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) >= self.taken.load(Ordering::Relaxed)
    }

    /// How often something was told.
    pub fn count(&self, is_it: impl Fn(&DeviceLine) -> bool) -> u64 {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().filter(|line| is_it(line)).count() as u64
    }

    /// Takes a line in.
    pub(super) fn tell(&self, line: DeviceLine) {
        match &line {
            DeviceLine::UpToDate => self.up_to_date.store(true, Ordering::Relaxed),
            DeviceLine::Seen(Seen::Entry { seq, .. } | Seen::Reset { seq, .. } | Seen::Reopened { seq }) => {
                self.position.store(*seq, Ordering::Relaxed);
            }
            DeviceLine::Taken(..) => _ = self.taken.fetch_add(1, Ordering::Relaxed),
            DeviceLine::Published(..) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.total.fetch_add(1, Ordering::Relaxed);
            }
            DeviceLine::Failed(..) => _ = self.answered.fetch_add(1, Ordering::Relaxed),
            DeviceLine::Sending(_) | DeviceLine::Disconnected(_) | DeviceLine::Finished(_) => {}
        }
        self.lines.lock().expect("nobody panics with it").push(line);
    }

    /// The number after its last message's.
    pub(super) fn next_number(&self) -> u64 {
        let lines = self.lines.lock().expect("nobody panics with it");
        let number =
            |line: &DeviceLine| if let DeviceLine::Sending(number) = line { Some(*number) } else { None };
        lines.iter().filter_map(number).max().unwrap_or(0) + 1
    }

    /// Everything that it told.
    pub(super) fn feed(&self, users: usize, checker: &mut Checker) {
        let name = format!("u{}/web", self.index);
        let stamp = |number| device_stamp(self.index, users, number);
        let log = self.log();
        checker.follows(&name, &log);
        let lines = self.lines.lock().expect("nobody panics with it");
        let mut taken = HashMap::new();
        let mut told: HashMap<u64, Told> = HashMap::new();
        for line in &*lines {
            match line {
                DeviceLine::Seen(seen) => checker.seen(&name, &log, seen.clone()),
                DeviceLine::Sending(number) => checker.sent(stamp(*number), device_logs(self.index, users)),
                DeviceLine::Taken(number, local) => _ = taken.insert(*local, *number),
                DeviceLine::Published(local, id) => {
                    told.insert(*local, Told::Ok { id: *id, places: Vec::new() });
                }
                DeviceLine::Failed(local, _) => _ = told.insert(*local, Told::Failed),
                // What is not in the outbox any more was accepted, by an answer that a killed process took with it.
                DeviceLine::Finished(_) => {
                    for local in taken.keys() {
                        told.entry(*local).or_insert(Told::Ok { id: None, places: Vec::new() });
                    }
                }
                DeviceLine::UpToDate | DeviceLine::Disconnected(_) => {}
            }
        }
        for (local, number) in taken {
            if let Some(told) = told.remove(&local) {
                checker.told(&stamp(number), told);
            }
        }
    }
}

impl Fleet {
    /// Devices in this process, half of them over QUIC and half over WebSocket, spread over the servers. Each knows all
    /// servers. `total` counts what they have published.
    pub fn start(
        devices: std::ops::Range<usize>,
        users: usize,
        servers: &[[Endpoint; 2]],
        certificate: &Certificate,
        every: Duration,
        total: &Arc<AtomicU64>,
    ) -> Self {
        let mut fleet = Self { devices: Vec::new(), wishes: Vec::new(), tasks: Vec::new() };
        for index in devices {
            let setup = DeviceSetup {
                index,
                users,
                endpoints: endpoints(index, servers),
                trust: certificate.trust(),
                store: Arc::new(MemoryStore::new()),
                next_number: 1,
                every,
            };
            fleet.add(setup, total);
        }
        fleet
    }

    fn add(&mut self, setup: DeviceSetup, total: &Arc<AtomicU64>) {
        let state = DeviceState::new(setup.index, Arc::clone(total));
        let (wish, wishes) = watch::channel(Wish::default());
        self.devices.push(Arc::clone(&state));
        self.wishes.push(wish);
        self.tasks.push(tokio::spawn(setup.run(wishes, move |line| state.tell(line))));
    }

    /// Tells some devices what to do.
    pub fn wish(&self, devices: impl IntoIterator<Item = usize>, change: impl Fn(&mut Wish)) {
        for device in devices {
            self.wishes[device].send_modify(&change);
        }
    }

    /// Tells all devices what to do.
    pub fn wish_all(&self, change: impl Fn(&mut Wish)) {
        self.wish(0..self.wishes.len(), change);
    }

    /// Waits until every device was up to date.
    pub async fn up_to_date(&self) {
        wait_until("all devices are up to date", CONNECT_TIMEOUT, async || {
            self.devices.iter().all(|device| device.was_up_to_date())
        })
        .await;
    }

    /// Waits until every device has ended.
    ///
    /// # Panics
    /// When one does not, or panicked.
    pub async fn finish(&mut self) {
        self.wish_all(|wish| wish.finish = true);
        for task in self.tasks.drain(..) {
            let ended = tokio::time::timeout(FINISH_TIMEOUT, task).await;
            ended.expect("every device ends").expect("no device panics");
        }
    }
}

/// Where a device connects: to one transport of its own at every server, beginning with another server than its
/// neighbours.
pub(super) fn endpoints(index: usize, servers: &[[Endpoint; 2]]) -> Vec<Endpoint> {
    let transport = index % 2;
    (0..servers.len()).map(|step| servers[(index / 2 + step) % servers.len()][transport].clone()).collect()
}
