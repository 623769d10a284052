//! Bringing a device up to date: what its inbox has after the device's cursor, as frames to its connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use tokio::time::timeout;

use super::responder::Responder;
use crate::{
    backend::{ids::unix_ms, im::Im, message::push_frame, publisher::Outcome},
    cluster::{DeviceAck, Entry, LogError, LogId, Page},
    id::{Device, MessageId, ServerId, UserId},
    proto::{frame, pb, pb::ResetReason},
};

/// How many entries are read at once.
const PAGE: usize = 256;

/// Frames go out in parts of about this size, each after the one before has arrived at the server: a device that was away
/// for long must not fill a queue that others need.
const PART_BYTES: usize = 64 * 1024;

/// How many devices are brought up to date at once; others wait on the bus, and ask again.
const CONCURRENCY: usize = 256;

/// How far back a new device begins. Longer than a sync takes, shorter than what a person calls the past.
const NEW_DEVICE_LOOKBACK_MS: u64 = 10_000;

/// A device that is being brought up to date.
struct Sync {
    im: Im,
    server: ServerId,
    connection: u64,
    user: UserId,
    device: Device,
    log: LogId,
    cursor: Option<pb::Cursor>,
}

/// Why a sync ended early. The device asks again.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the request is not valid: {0}")]
    Invalid(String),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the connection is gone")]
    Gone,
}

/// Brings devices up to date.
pub(super) struct Syncs {
    pub(super) im: Im,
}

impl Responder for Syncs {
    type Request = Bytes;

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn parse(&self, payload: Bytes) -> Vec<Bytes> {
        vec![payload]
    }

    async fn handle(self: Arc<Self>, payload: Bytes) {
        if let Err(error) = Sync::run(self.im.clone(), payload).await {
            tracing::debug!(%error, "a sync ended early");
        }
    }
}

impl Sync {
    async fn run(im: Im, payload: Bytes) -> Result<(), SyncError> {
        Self::parse(im, payload).map_err(SyncError::Invalid)?.bring_up_to_date().await
    }

    fn parse(im: Im, payload: Bytes) -> Result<Self, String> {
        let request = pb::UpstreamSync::decode(payload).map_err(|error| error.to_string())?;
        let sync = pb::Sync::decode(request.sync).map_err(|error| error.to_string())?;
        let server = ServerId::parse(&request.server).map_err(|error| error.to_string())?;
        let user = UserId::parse(&request.user).map_err(|error| error.to_string())?;
        let device = request.device.ok_or("the device is missing")?;
        let device = Device::try_from(device).map_err(|error| error.to_string())?;
        let cursor = sync.cursors.into_iter().find(|cursor| cursor.channel.is_empty());
        let (connection, log) = (request.connection, LogId::Inbox(user.clone()));
        Ok(Self { im, server, connection, user, device, log, cursor })
    }

    async fn bring_up_to_date(self) -> Result<(), SyncError> {
        let (reset, mut page) = self.start().await?;
        if let Some(reset) = reset {
            self.push(frame::encode(pb::frame::Body::Reset(reset))).await?;
        }
        let mut end = (page.last, 0);
        while let Some(last) = page.entries.last().map(|entry| (entry.seq, entry.message_id.as_u64())) {
            self.push_entries(page.entries).await?;
            end = last;
            if end.0 >= page.last {
                break;
            }
            page = self.read(end.0).await?;
        }
        if end.1 == 0 && end.0 > 0 {
            end.1 = self.id_at(end.0).await?;
        }
        let ends = vec![cursor(end.0, end.1)];
        self.push(frame::encode(pb::frame::Body::SyncDone(pb::SyncDone { ends }))).await
    }

    /// Where the device goes on, and the first entries from there.
    async fn start(&self) -> Result<(Option<pb::Reset>, Page), SyncError> {
        let Some(known) = &self.cursor else {
            return self.start_new().await;
        };
        let page = self.read(known.seq).await?;
        let reason = if known.seq + 1 < page.first {
            ResetReason::Trimmed
        } else if known.seq > page.last || !self.is_at(known).await? {
            ResetReason::Forked
        } else {
            return Ok((None, page));
        };
        // From the oldest entry that there still is.
        let before = page.first.saturating_sub(1);
        if reason == ResetReason::Forked {
            self.forget_acks_after(before).await?;
        }
        Ok((Some(reset(before, 0, reason)), self.read(before).await?))
    }

    /// What the device acknowledged on the branch that was lost says nothing of what is there instead.
    async fn forget_acks_after(&self, seq: u64) -> Result<(), SyncError> {
        let ack = DeviceAck::new(self.user.clone(), self.device.clone(), self.log.clone(), seq);
        Ok(self.im.inner.cluster.log().lower_ack(&ack).await?)
    }

    /// A new device begins at the end of the log, and with what has come in the last moments: what is sent to it as soon as
    /// it is connected must not get lost because this sync comes a little later.
    async fn start_new(&self) -> Result<(Option<pb::Reset>, Page), SyncError> {
        let newest = self.im.inner.cluster.log().read_back(&self.log, None, PAGE).await?;
        let since = MessageId::first_at(unix_ms().saturating_sub(NEW_DEVICE_LOOKBACK_MS));
        let recent = newest.entries.iter().take_while(|entry| entry.message_id >= since);
        let before = recent.last().map_or(newest.last, |oldest| oldest.seq - 1);
        let id = self.id_at(before).await?;
        Ok((Some(reset(before, id, ResetReason::New)), self.read(before).await?))
    }

    /// Whether the log has the cursor's message at the cursor's place, as far as either still knows.
    async fn is_at(&self, cursor: &pb::Cursor) -> Result<bool, SyncError> {
        if cursor.seq == 0 || cursor.id == 0 {
            return Ok(true);
        }
        let found = self.id_at(cursor.seq).await?;
        Ok(found == 0 || found == cursor.id)
    }

    /// 0: there is none, or not any more.
    async fn id_at(&self, seq: u64) -> Result<u64, SyncError> {
        if seq == 0 {
            return Ok(0);
        }
        let id = self.im.inner.cluster.log().id_at(&self.log, seq).await?;
        Ok(id.map_or(0, |id| id.as_u64()))
    }

    async fn read(&self, after: u64) -> Result<Page, SyncError> {
        Ok(self.im.inner.cluster.log().read(&self.log, after, PAGE).await?)
    }

    async fn push_entries(&self, entries: Vec<Entry>) -> Result<(), SyncError> {
        let mut part = BytesMut::new();
        for entry in entries {
            part.extend_from_slice(&push_frame(entry.payload, entry.seq));
            if part.len() >= PART_BYTES {
                self.push(part.split().freeze()).await?;
            }
        }
        if part.is_empty() { Ok(()) } else { self.push(part.freeze()).await }
    }

    /// Waits until the server has it queued for the connection.
    async fn push(&self, frames: Bytes) -> Result<(), SyncError> {
        let record = pb::Record {
            connections: vec![self.connection],
            channel: String::new(),
            effect: Some(pb::record::Effect::Frames(frames)),
        };
        let outcome = self.im.inner.publisher.submit(&self.server, record).await;
        match timeout(self.im.inner.config.send_timeout, outcome).await {
            Ok(Ok(Outcome::Done { missed })) if missed.is_empty() => Ok(()),
            _ => Err(SyncError::Gone),
        }
    }
}

fn cursor(seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: String::new(), seq, id }
}

fn reset(seq: u64, id: u64, reason: ResetReason) -> pb::Reset {
    pb::Reset { cursor: Some(cursor(seq, id)), reason: reason.into() }
}
