//! State of a device by its reports, wherever it runs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use im_sdk::{client::Log, cluster::LogId, id::MessageId};

use super::{Checker, Seen, Told, device_logs, device_stamp, lines::DeviceLine, load_group, load_user};

/// State of a device by its reports.
#[derive(Debug)]
pub struct DeviceState {
    index: usize,
    lines: Mutex<Vec<DeviceLine>>,
    positions: Mutex<HashMap<Log, u64>>,
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
            positions: Mutex::default(),
            up_to_date: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        };
        Arc::new(state)
    }

    /// The number of its user.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the logs that it follows: its user's inbox and its group's log.
    pub fn logs(&self) -> [Log; 2] {
        [Log::Inbox, Log::Channel(load_group(self.index))]
    }

    /// Returns the id of such a log in the store.
    pub fn stored(&self, log: &Log) -> LogId {
        match log {
            Log::Inbox => LogId::Inbox(load_user(self.index)),
            Log::Channel(channel) => LogId::Channel(channel.clone()),
        }
    }

    /// Returns its position in a log.
    pub fn position(&self, log: &Log) -> u64 {
        self.positions.lock().expect("nobody panics with it").get(log).copied().unwrap_or(0)
    }

    /// Returns the last entry that it saw of a log, unless a reset came later.
    pub fn last_id(&self, log: &Log) -> Option<MessageId> {
        let lines = self.lines.lock().expect("nobody panics with it");
        let last = lines.iter().rev().find_map(|line| match line {
            DeviceLine::Seen(of, seen) if of == log => Some(seen),
            _ => None,
        });
        match last {
            Some(Seen::Entry { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// Returns whether it has been up to date.
    pub fn was_up_to_date(&self) -> bool {
        self.up_to_date.load(Ordering::Relaxed)
    }

    /// Returns whether all of its publishes have results.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) >= self.taken.load(Ordering::Relaxed)
    }

    /// Returns the number of reports of a kind.
    pub fn count(&self, is_it: impl Fn(&DeviceLine) -> bool) -> u64 {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().filter(|line| is_it(line)).count() as u64
    }

    /// Records a report.
    pub(super) fn tell(&self, line: DeviceLine) {
        match &line {
            DeviceLine::UpToDate => self.up_to_date.store(true, Ordering::Relaxed),
            DeviceLine::Seen(
                log,
                Seen::Entry { seq, .. } | Seen::Reset { seq, .. } | Seen::Reopened { seq },
            ) => {
                self.positions.lock().expect("nobody panics with it").insert(log.clone(), *seq);
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

    /// Returns the number of its next message.
    pub(super) fn next_number(&self) -> u64 {
        let lines = self.lines.lock().expect("nobody panics with it");
        let number =
            |line: &DeviceLine| if let DeviceLine::Sending(number) = line { Some(*number) } else { None };
        lines.iter().filter_map(number).max().unwrap_or(0) + 1
    }

    /// Returns all of its reports.
    pub(super) fn feed(&self, users: usize, checker: &mut Checker) {
        let name = format!("u{}/web", self.index);
        let stamp = |number| device_stamp(self.index, users, number);
        for log in self.logs() {
            checker.follows(&name, &self.stored(&log));
        }
        let lines = self.lines.lock().expect("nobody panics with it");
        let mut taken = HashMap::new();
        let mut told: HashMap<u64, Told> = HashMap::new();
        for line in &*lines {
            match line {
                DeviceLine::Seen(log, seen) => checker.seen(&name, &self.stored(log), seen.clone()),
                DeviceLine::Sending(number) => {
                    checker.sent(stamp(*number), device_logs(self.index, users, *number));
                }
                DeviceLine::Taken(number, local) => _ = taken.insert(*local, *number),
                DeviceLine::Published(local, id) => {
                    told.insert(*local, Told::Ok { id: *id, places: Vec::new() });
                }
                DeviceLine::Failed(local, _) => _ = told.insert(*local, Told::Failed),
                // Messages missing from the outbox were accepted; the answer was lost with a killed process.
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
