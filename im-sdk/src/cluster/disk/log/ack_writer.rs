//! Writes acknowledgements into the file.

use redb::ReadableTable;

use super::tables::Acks;
use crate::{
    cluster::{
        log_id::LogId,
        traits::{
            DeviceAck, MAX_ACKED_SEQ, MAX_ACKS_PER_USER,
            acks::{device_of, member},
        },
    },
    id::UserId,
};

/// The number of old acknowledgements inspected for each new one.
const SWEPT_PER_ACK: usize = 4;

pub(super) type Place = (String, u64, u64);

/// Returns all acknowledgements of a user, with the times at which they were recorded.
pub(super) fn of_user<'a>(
    acks: &'a impl ReadableTable<(&'static str, &'static str), (u64, u64)>,
    user: &'a str,
) -> Result<impl Iterator<Item = Result<Place, redb::Error>> + 'a, redb::Error> {
    // A member consists of ASCII only.
    let range = acks.range((user, "")..(user, "\u{7f}"))?;
    Ok(range.map(|entry| {
        let (key, value) = entry?;
        let (seq, noted_ms) = value.value();
        Ok((key.value().1.to_owned(), seq, noted_ms))
    }))
}

/// Writes acknowledgements, and with each new one removes a few that are too old.
#[derive(Default)]
pub(super) struct AckWriter {
    /// The key at which the search for old acknowledgements continues.
    next: (String, String),
}

impl AckWriter {
    /// Records an acknowledgement. Returns whether the device advanced.
    pub(super) fn note(
        &mut self,
        acks: &mut Acks<'_>,
        ack: &DeviceAck,
        now_ms: u64,
        oldest_ms: u64,
    ) -> Result<bool, redb::Error> {
        if ack.seq > MAX_ACKED_SEQ {
            return Ok(false);
        }
        let (user, member) = (ack.user.as_str(), member(&ack.device, &ack.log));
        let known = acks.insert((user, &*member), (ack.seq, now_ms))?.map(|known| known.value());
        match known {
            Some((seq, noted_ms)) if noted_ms > oldest_ms => {
                if seq > ack.seq {
                    acks.insert((user, &*member), (seq, now_ms))?;
                }
                return Ok(ack.seq > seq);
            }
            Some(_) => {}
            None => {
                forget_oldest(acks, user)?;
                self.sweep(acks, oldest_ms)?;
            }
        }
        Ok(true)
    }

    fn sweep(&mut self, acks: &mut Acks<'_>, oldest_ms: u64) -> Result<(), redb::Error> {
        let mut too_old = Vec::new();
        let mut range = acks.range((&*self.next.0, &*self.next.1)..)?;
        for entry in range.by_ref().take(SWEPT_PER_ACK) {
            let (key, value) = entry?;
            if value.value().1 <= oldest_ms {
                too_old.push(owned(key.value()));
            }
        }
        self.next = match range.next() {
            Some(entry) => owned(entry?.0.value()),
            None => Default::default(),
        };
        drop(range);
        for (user, member) in too_old {
            acks.remove((&*user, &*member))?;
        }
        Ok(())
    }
}

/// Returns the furthest seq of an inbox that a device of its owner has acknowledged.
pub(super) fn furthest(acks: &Acks<'_>, owner: &UserId, oldest_ms: u64) -> Result<Option<u64>, redb::Error> {
    let (mut furthest, log) = (None, LogId::Inbox(owner.clone()).to_string());
    for place in of_user(acks, owner.as_str())? {
        let (member, seq, noted_ms) = place?;
        if noted_ms > oldest_ms && device_of(&member, &log).is_some() {
            furthest = furthest.max(Some(seq));
        }
    }
    Ok(furthest)
}

pub(super) fn lower(acks: &mut Acks<'_>, ack: &DeviceAck) -> Result<(), redb::Error> {
    let key = (ack.user.as_str(), &*member(&ack.device, &ack.log));
    let known = acks.get(key)?.map(|known| known.value());
    if let Some((seq, noted_ms)) = known
        && seq > ack.seq
    {
        acks.insert(key, (ack.seq, noted_ms))?;
    }
    Ok(())
}

/// Removes the oldest acknowledgement of a user who has just got one more than allowed.
fn forget_oldest(acks: &mut Acks<'_>, user: &str) -> Result<(), redb::Error> {
    let places = of_user(acks, user)?.collect::<Result<Vec<Place>, _>>()?;
    if places.len() > MAX_ACKS_PER_USER
        && let Some((member, ..)) = places.into_iter().min_by_key(|(_, _, noted_ms)| *noted_ms)
    {
        acks.remove((user, &*member))?;
    }
    Ok(())
}

fn owned((user, member): (&str, &str)) -> (String, String) {
    (user.to_owned(), member.to_owned())
}
