//! Acknowledgements inside one process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cluster::{
        log_id::LogId,
        traits::{AckQuery, DeviceAck, MAX_ACKED_SEQ, MAX_ACKS_PER_USER},
    },
    id::{Device, UserId},
};

/// The number of users from which on users without recent acknowledgements are removed.
const MIN_USERS_TO_SWEEP: usize = 64;

/// The acknowledgements of all users.
#[derive(Debug, Default)]
pub(in crate::cluster) struct MemoryAcks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, Places>,
    /// The number of users at which inactive ones are removed next.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Places {
    places: HashMap<(Device, LogId), Place>,
    /// The time of the user's last acknowledgement.
    noted: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    seq: u64,
    noted: Instant,
}

impl MemoryAcks {
    pub(in crate::cluster) fn note(&self, acks: &[DeviceAck], max_age: Duration) -> Vec<bool> {
        let now = Instant::now();
        let mut state = self.lock();
        acks.iter().map(|ack| ack.seq <= MAX_ACKED_SEQ && state.note(ack, now, max_age)).collect()
    }

    pub(in crate::cluster) fn find(
        &self,
        questions: &[AckQuery],
        max_age: Duration,
    ) -> Vec<Vec<(Device, u64)>> {
        let now = Instant::now();
        let state = self.lock();
        questions.iter().map(|question| state.find(question, now, max_age)).collect()
    }

    /// Returns the furthest seq of a log that a device of a user has acknowledged.
    pub(in crate::cluster) fn furthest(&self, user: &UserId, log: &LogId, max_age: Duration) -> Option<u64> {
        let now = Instant::now();
        let state = self.lock();
        let user = state.users.get(user).filter(|user| !user.is_silent(now, max_age))?;
        let places = user.places.iter().filter(|((_, of), _)| of == log);
        places.map(|(_, place)| place.seq).max()
    }

    pub(in crate::cluster) fn lower(&self, ack: &DeviceAck) {
        let mut state = self.lock();
        let Some(user) = state.users.get_mut(&ack.user) else { return };
        if let Some(place) = user.places.get_mut(&(ack.device.clone(), ack.log.clone())) {
            place.seq = place.seq.min(ack.seq);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, ack: &DeviceAck, now: Instant, max_age: Duration) -> bool {
        self.sweep(now, max_age);
        let user = self.users.entry(ack.user.clone()).or_default();
        if user.is_silent(now, max_age) {
            user.places.clear();
        }
        user.note(ack, now)
    }

    fn find(&self, question: &AckQuery, now: Instant, max_age: Duration) -> Vec<(Device, u64)> {
        let user = self.users.get(&question.user).filter(|user| !user.is_silent(now, max_age));
        let places = user.into_iter().flat_map(|user| &user.places);
        let wanted = places.filter(|((_, log), place)| *log == question.log && place.seq >= question.seq);
        wanted.map(|((device, _), place)| (device.clone(), place.seq)).collect()
    }

    fn sweep(&mut self, now: Instant, max_age: Duration) {
        if self.users.len() >= self.sweep_at {
            self.users.retain(|_, user| !user.is_silent(now, max_age));
            // At twice as many: each new user then pays for one that a sweep inspects.
            self.sweep_at = (2 * self.users.len()).max(MIN_USERS_TO_SWEEP);
        }
    }
}

impl Places {
    fn is_silent(&self, now: Instant, max_age: Duration) -> bool {
        self.noted.is_some_and(|noted| now.duration_since(noted) >= max_age)
    }

    fn note(&mut self, ack: &DeviceAck, now: Instant) -> bool {
        self.noted = Some(now);
        let place = (ack.device.clone(), ack.log.clone());
        if let Some(known) = self.places.get_mut(&place) {
            known.noted = now;
            let forward = ack.seq > known.seq;
            known.seq = known.seq.max(ack.seq);
            return forward;
        }
        if self.places.len() >= MAX_ACKS_PER_USER {
            self.forget_oldest();
        }
        self.places.insert(place, Place { seq: ack.seq, noted: now });
        true
    }

    fn forget_oldest(&mut self) {
        let oldest = self.places.iter().min_by_key(|(_, place)| place.noted);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.places.remove(&oldest);
        }
    }
}
