//! Sync of one log.

use std::num::NonZeroU64;

use super::{Sync, SyncError, frame_writer::FrameWriter, log_name, progress::Progress};
use crate::{
    backend::send::message::{channel_push_frame, push_frame},
    cluster::{DeviceAck, Entry, LogError, LogId, Page, ReadLimit},
    id::MessageId,
    proto::{frame, pb, pb::ResetReason},
};

/// The limit of one read: about as much as is sent in one part.
const PAGE: ReadLimit = ReadLimit::new(256).with_bytes(64 * 1024);

/// The limit of the first read of a log, before its turn. Several logs of many devices wait like
/// that, so a larger page, which a single entry may be, is dropped and read again.
const FIRST: ReadLimit = ReadLimit::new(256).with_bytes(16 * 1024);

/// The time by which a new device begins before now: longer than a sync takes, and shorter than
/// anybody would call history.
const NEW_DEVICE_LOOKBACK_MS: u64 = 10_000;

/// The most entries that a new device gets of that time.
const NEW_DEVICE_ENTRIES: u64 = 256;

/// The point at which a device continues in a log, and the first entries from there.
pub(super) struct Start {
    log: LogId,
    /// Set if the device's cursor does not lead there.
    reset: Option<pb::Reset>,
    /// The seq behind which it continues.
    after: u64,
    page: Page,
}

impl Start {
    /// Finds the start of a log. Entries up to `shown_from` are from before the user joined, and
    /// are not shown.
    pub(super) async fn find(sync: &Sync, log: LogId, shown_from: u64) -> Result<Self, SyncError> {
        let mut start = Self::look(sync, log, shown_from).await?;
        let bytes: usize = start.page.entries.iter().map(|entry| entry.payload.len()).sum();
        if bytes > FIRST.bytes {
            start.page.entries = Vec::new();
        }
        Ok(start)
    }

    async fn look(sync: &Sync, log: LogId, shown_from: u64) -> Result<Self, SyncError> {
        let Some(known) = sync.cursors.get(log_name(&log)) else {
            return Self::find_new(sync, log, shown_from).await;
        };
        let mut page = read(sync, &log, known.seq, FIRST).await?;
        // Entries that are not shown count as missing.
        page.first = page.first.max(shown_from.saturating_add(1).min(page.last.saturating_add(1)));
        let reason = if known.seq.saturating_add(1) < page.first {
            ResetReason::Trimmed
        } else if known.seq > page.last || !is_at(sync, &log, known).await? {
            ResetReason::Forked
        } else {
            return Ok(Self { log, reset: None, after: known.seq, page });
        };
        // Starts with the oldest entry.
        let before = page.first.saturating_sub(1);
        if reason == ResetReason::Forked {
            // An acknowledgement of the lost branch says nothing about the present one.
            let ack = DeviceAck::new(sync.user.clone(), sync.device.clone(), log.clone(), before);
            sync.context.cluster.log().lower_ack(&ack).await?;
        }
        let reset = Some(reset(&log, before, 0, reason));
        Ok(Self { page: read(sync, &log, before, FIRST).await?, log, reset, after: before })
    }

    /// Finds the start for a new device, or for one whose user has just become a member: the end of
    /// the log, and the last seconds before it. A message that is sent as soon as the device is
    /// connected must not get lost because this sync comes later.
    async fn find_new(sync: &Sync, log: LogId, shown_from: u64) -> Result<Self, SyncError> {
        let since = MessageId::first_at(sync.began_ms.saturating_sub(NEW_DEVICE_LOOKBACK_MS)).as_u64();
        let ends = sync.context.cluster.log().ends(std::slice::from_ref(&log)).await?;
        let (first, last) = ends.first().map_or((1, 0), |ends| (ends.first, ends.last));
        // Most logs are quiet: then the last id is enough.
        let id = id_at(sync, &log, last).await?;
        if id < since {
            let reset = Some(reset(&log, last, id, ResetReason::New));
            return Ok(Self { log, reset, after: last, page: Page { entries: Vec::new(), first, last } });
        }
        let oldest = first.max(last.saturating_sub(NEW_DEVICE_ENTRIES - 1));
        let before = first_since(sync, &log, oldest, last, since).await?.saturating_sub(1);
        let before = before.max(shown_from.min(last));
        let id = id_at(sync, &log, before).await?;
        let reset = Some(reset(&log, before, id, ResetReason::New));
        Ok(Self { page: read(sync, &log, before, FIRST).await?, log, reset, after: before })
    }

    /// Sends everything up to the end of the log. Returns the end.
    pub(super) async fn push(
        self,
        sync: &Sync,
        out: &mut FrameWriter<'_>,
        progress: &mut Progress,
    ) -> Result<pb::Cursor, SyncError> {
        let Self { log, reset, after, mut page } = self;
        if page.entries.is_empty() && after < page.last {
            page = read(sync, &log, after, PAGE).await?;
        }
        let id = match &reset {
            Some(reset) => reset.cursor.as_ref().map_or(0, |cursor| cursor.id),
            None => sync.cursors.get(log_name(&log)).map_or(0, |known| known.id),
        };
        let mut end = (page.last, if page.last == after { id } else { 0 });
        progress.begin(&log, after, id);
        if let Some(reset) = reset {
            out.add(&frame::encode(pb::frame::Body::Reset(reset))).await?;
        }
        while let Some(last) = page.entries.last().map(|entry| (entry.seq, entry.message_id.as_u64())) {
            push_entries(&log, page.entries, out, progress).await?;
            end = last;
            if end.0 >= page.last {
                break;
            }
            page = read(sync, &log, end.0, PAGE).await?;
        }
        if end.1 == 0 && end.0 > 0 {
            end.1 = id_at(sync, &log, end.0).await?;
        }
        Ok(cursor(&log, end.0, end.1))
    }
}

/// Returns the first seq from which on ids are not lower than `since`. Ids rise with seqs, up to
/// differences of clocks. The id at `last` is not lower.
async fn first_since(sync: &Sync, log: &LogId, oldest: u64, last: u64, since: u64) -> Result<u64, SyncError> {
    let (mut low, mut high) = (oldest, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if id_at(sync, log, middle).await? < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

async fn push_entries(
    log: &LogId,
    entries: Vec<Entry>,
    out: &mut FrameWriter<'_>,
    progress: &mut Progress,
) -> Result<(), SyncError> {
    for Entry { payload, seq, message_id, .. } in entries {
        let number = NonZeroU64::new(seq).ok_or_else(|| malformed(log))?;
        let frame = match log {
            LogId::Inbox(_) => push_frame(payload, number),
            LogId::Channel(channel) => channel_push_frame(payload, channel, number),
        };
        progress.reach(seq, message_id.as_u64());
        out.add(&frame).await?;
    }
    Ok(())
}

fn malformed(log: &LogId) -> LogError {
    LogError::Malformed { what: "seq", place: format!("an entry of {log}") }
}

/// Returns `true` if the log has the cursor's message at the cursor's seq, as far as both still
/// know it.
async fn is_at(sync: &Sync, log: &LogId, cursor: &pb::Cursor) -> Result<bool, SyncError> {
    if cursor.seq == 0 || cursor.id == 0 {
        return Ok(true);
    }
    let found = id_at(sync, log, cursor.seq).await?;
    Ok(found == 0 || found == cursor.id)
}

/// Returns the id at a seq, or 0 if there is none or none any more.
async fn id_at(sync: &Sync, log: &LogId, seq: u64) -> Result<u64, SyncError> {
    if seq == 0 {
        return Ok(0);
    }
    let id = sync.context.cluster.log().id_at(log, seq).await?;
    Ok(id.map_or(0, |id| id.as_u64()))
}

async fn read(sync: &Sync, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, SyncError> {
    let mut page = sync.context.cluster.log().read(log, after, limit).await?;
    sync.context.amender.finish_in(log, &mut page.entries);
    Ok(page)
}

fn cursor(log: &LogId, seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: log_name(log).to_owned(), seq, id }
}

fn reset(log: &LogId, seq: u64, id: u64, reason: ResetReason) -> pb::Reset {
    pb::Reset { cursor: Some(cursor(log, seq, id)), reason: reason.into() }
}
