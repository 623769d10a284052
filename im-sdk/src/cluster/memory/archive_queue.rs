//! The archive's queue inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::cluster::{
    leases::Leases,
    traits::{
        ArchiveConfig, ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue, ArchiveRecord, DeliveryToken,
        archive_record::key,
    },
};

/// A queue inside this process, lost when it ends. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryArchiveQueue {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    max_bytes: u64,
}

#[derive(Debug)]
struct State {
    records: BTreeMap<u64, Bytes>,
    numbers: HashMap<[u8; 16], u64>,
    leases: Leases,
    bytes: u64,
    last: u64,
}

impl MemoryArchiveQueue {
    /// Creates an empty queue.
    pub fn new(config: ArchiveConfig) -> Self {
        let state = State {
            records: BTreeMap::new(),
            numbers: HashMap::new(),
            leases: Leases::new(config.redeliver_after),
            bytes: 0,
            last: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::default(), max_bytes: config.max_bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ArchiveQueue for MemoryArchiveQueue {
    async fn append(&self, record: ArchiveRecord) -> Result<(), ArchiveError> {
        self.state().append(record.encode(), self.max_bytes)?;
        self.changed.notify_one();
        Ok(())
    }

    async fn fetch(&self, limit: usize, wait: Duration) -> Result<Vec<ArchiveDelivery>, ArchiveError> {
        let deadline = Instant::now() + wait;
        loop {
            let (taken, free) = self.state().take(limit, Instant::now());
            if !taken.is_empty() || limit == 0 {
                // There may be more records for another waiting fetch.
                self.changed.notify_one();
                return Ok(taken);
            }
            let until = free.map_or(deadline, |free| free.min(deadline));
            let _ = timeout_at(until, self.changed.notified()).await;
            if Instant::now() >= deadline {
                return Ok(self.state().take(limit, Instant::now()).0);
            }
        }
    }

    async fn acknowledge(&self, deliveries: Vec<DeliveryToken>) -> Result<(), ArchiveError> {
        let mut state = self.state();
        deliveries
            .iter()
            .filter_map(|token| token.as_str().parse().ok())
            .for_each(|number| state.remove(number));
        Ok(())
    }

    async fn lag(&self) -> Result<ArchiveLag, ArchiveError> {
        let state = self.state();
        let held = state.leases.held(Instant::now());
        Ok(ArchiveLag::new((state.records.len() as u64).saturating_sub(held), held))
    }
}

impl State {
    fn append(&mut self, encoded: Bytes, max_bytes: u64) -> Result<(), ArchiveError> {
        let key = key(&encoded);
        if self.numbers.contains_key(&key) {
            return Ok(());
        }
        let bytes = self.bytes + encoded.len() as u64;
        if bytes > max_bytes {
            return Err(ArchiveError::Full);
        }
        self.bytes = bytes;
        self.last += 1;
        self.numbers.insert(key, self.last);
        self.records.insert(self.last, encoded);
        Ok(())
    }

    /// Returns free records, and the time at which the next one is free.
    fn take(&mut self, limit: usize, now: Instant) -> (Vec<ArchiveDelivery>, Option<Instant>) {
        let Self { records, leases, .. } = self;
        let free = records.iter().filter(|(number, _)| leases.take(**number, now));
        let delivery = |(number, encoded): (&u64, &Bytes)| {
            let token = DeliveryToken::new(number.to_string());
            Some(ArchiveDelivery { record: ArchiveRecord::decode(encoded.clone())?, token })
        };
        let taken = free.take(limit).filter_map(delivery).collect();
        let next = leases.next_free(now);
        (taken, next)
    }

    fn remove(&mut self, number: u64) {
        self.leases.forget(number);
        if let Some(encoded) = self.records.remove(&number) {
            self.bytes -= encoded.len() as u64;
            self.numbers.remove(&key(&encoded));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::check_archive_queue;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn conforms() {
        check_archive_queue(async |config| MemoryArchiveQueue::new(config)).await;
    }
}
