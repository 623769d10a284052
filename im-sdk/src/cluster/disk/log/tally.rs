//! Sizes of logs and their writers' shares, and the oldest entries of a log in the file.

use std::collections::{HashMap, hash_map};

use redb::ReadableTable;

use super::tables::{Entries, Log, Writers, message_id};
use crate::{
    cluster::quota::{ENTRY_OVERHEAD, LogHead, OldEntry, Usage},
    id::UserId,
};

/// The maximum number of logs with a known tally. Beyond, all are forgotten and counted again.
const MAX_TALLIES: usize = 4_096;

/// The size of one log.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    /// The cost of each writer's entries.
    held: HashMap<String, u64>,
}

/// The sizes of logs, as far as they were counted: the file has only the entries.
#[derive(Debug, Default)]
pub(super) struct Tallies(HashMap<u64, Tally>);

impl Tallies {
    /// Forgets everything. Called when the state of the file is uncertain.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Returns the tally of one log, and counts it if it is not known.
    pub(super) fn of<'t>(
        &'t mut self,
        log: Log,
        entries: &Entries<'_>,
        writers: &Writers<'_>,
    ) -> Result<&'t mut Tally, redb::Error> {
        if self.0.len() >= MAX_TALLIES && !self.0.contains_key(&log.number) {
            self.forget();
        }
        Ok(match self.0.entry(log.number) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(unknown) => unknown.insert(Tally::count(log, entries, writers)?),
        })
    }
}

impl Tally {
    fn count(log: Log, entries: &Entries<'_>, writers: &Writers<'_>) -> Result<Self, redb::Error> {
        let mut tally = Self::default();
        if log.first > log.last {
            return Ok(tally);
        }
        let all = (log.number, log.first)..=(log.number, log.last);
        for entry in entries.range(all.clone())? {
            tally.bytes += entry?.1.value().1.len() as u64 + ENTRY_OVERHEAD;
        }
        for writer in writers.range(all)? {
            let (_, value) = writer?;
            let (writer, cost) = value.value();
            tally.add(writer, cost);
        }
        Ok(tally)
    }

    pub(super) fn add(&mut self, writer: &str, cost: u64) {
        match self.held.get_mut(writer) {
            Some(held) => *held += cost,
            None => drop(self.held.insert(writer.to_owned(), cost)),
        }
    }

    fn take(&mut self, writer: &str, cost: u64) {
        let Some(held) = self.held.get_mut(writer) else { return };
        *held = held.saturating_sub(cost);
        if *held == 0 {
            self.held.remove(writer);
        }
    }
}

/// Removes the entries before a seq, and everything recorded about them.
pub(super) fn remove_until(
    entries: &mut Entries<'_>,
    writers: &mut Writers<'_>,
    tally: &mut Tally,
    log: &mut Log,
    first: u64,
) -> Result<(), redb::Error> {
    if first <= log.first {
        return Ok(());
    }
    let range = (log.number, log.first)..(log.number, first);
    let mut bytes = 0;
    entries.retain_in(range.clone(), |_, (_, payload)| {
        bytes += payload.len() as u64 + ENTRY_OVERHEAD;
        false
    })?;
    writers.retain_in(range, |_, (writer, cost)| {
        tally.take(writer, cost);
        false
    })?;
    tally.bytes = tally.bytes.saturating_sub(bytes);
    log.first = first;
    Ok(())
}

/// The oldest entries of one log.
pub(super) struct DiskEnd<'t, 'a> {
    pub(super) entries: &'t Entries<'a>,
    pub(super) writers: &'t Writers<'a>,
    pub(super) tally: &'t Tally,
    pub(super) log: Log,
}

impl LogHead for DiskEnd<'_, '_> {
    type Error = redb::Error;

    fn used(&self) -> Usage {
        Usage { entries: self.log.last + 1 - self.log.first, bytes: self.tally.bytes }
    }

    fn entry(&mut self, index: u64) -> Result<Option<OldEntry>, redb::Error> {
        let seq = self.log.first.saturating_add(index);
        let place = (self.log.number, seq);
        let Some(entry) = self.entries.get(place)? else { return Ok(None) };
        let (id, payload) = entry.value();
        let writer = self.writers.get(place)?;
        let writer = writer.and_then(|writer| UserId::parse(writer.value().0).ok());
        let bytes = payload.len() as u64 + ENTRY_OVERHEAD;
        Ok(Some(OldEntry { seq, message_id: message_id(id)?, writer, bytes }))
    }

    fn held_by(&mut self, writer: &UserId) -> Result<u64, redb::Error> {
        Ok(self.tally.held.get(writer.as_str()).copied().unwrap_or_default())
    }
}
