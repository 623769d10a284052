//! Syncs: send a device the entries of its user's inbox and channels behind the device's cursors, as
//! frames for its connection.
//!
//! The connection joins its user's channels **before** any of their logs is read. An entry that is
//! appended before the read is in it, and a later one is pushed to a server that is known to have a
//! member, so none is missed.
//!
//! A connection takes as much as its device reads. When its queue is full enough, the sync ends here
//! with its rest, and the server asks for the rest when the connection has taken the frames: slow
//! devices do not take up the place of others.

mod frame_writer;
mod joining;
mod log;
mod membership;
mod progress;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

pub(super) use self::membership::Memberships;
use self::{frame_writer::FrameWriter, log::Start, progress::Progress};
use super::{
    budget::Resource,
    call::HandlerFailed,
    context::ServiceContext,
    queue::{Job, Limits},
    responder::Responder,
};
use crate::{
    backend::send::{message::left_frame, message_ids::now_ms, publisher::Publisher},
    cluster::{ConversationsError, LogError, LogId, MembersError},
    id::{ChannelId, Device, ServerId, UserId},
    proto::{frame, limits::MAX_FRAME_BYTES, pb},
};

/// The number of syncs at once, of those of one user, and of waiting ones of one user.
const CONCURRENCY: usize = 256;
const PER_USER: usize = 2;
const WAITING_PER_USER: usize = 32;

/// The time that a sync may wait. After that the device or its server has given up and asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of logs of a device that are read ahead. A user may be in thousands of channels, most
/// of them quiet.
const LOGS_AT_ONCE: usize = 8;

/// The most bytes of cursors in one `SyncDone`, which leaves room for the frame around them.
const MAX_ENDS_BYTES: usize = MAX_FRAME_BYTES - 1024;

/// A sync of a device.
pub(super) struct Sync {
    context: Arc<ServiceContext>,
    server: ServerId,
    connection: u64,
    /// The server's number of the sync, for its end.
    number: u64,
    user: UserId,
    device: Device,
    /// The device's cursors by channel, with an empty name for the inbox.
    cursors: HashMap<String, pb::Cursor>,
    /// The time of the begin, before anything was sent, by the cluster's clock.
    began_ms: u64,
}

/// A sync ended early. The device asks again.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    #[error("the connection is gone, or its server could not do what was asked")]
    Gone,
    #[error("enough waits for the connection: the rest follows when it has taken that")]
    Paused,
    #[error("the user has got more than its budget has: the device goes on later")]
    Exhausted,
    #[error("the device asked once more")]
    Superseded,
    #[error(transparent)]
    Handler(#[from] HandlerFailed),
}

/// Runs syncs.
pub(super) struct Syncs {
    context: Arc<ServiceContext>,
    /// Running syncs by device.
    under_way: Mutex<HashMap<(UserId, Device), CancellationToken>>,
}

impl Syncs {
    pub(super) fn new(context: Arc<ServiceContext>) -> Self {
        Self { context, under_way: Mutex::default() }
    }

    /// Ends a device's running sync: the device has asked again, perhaps over another connection,
    /// and does not need the frames of the earlier one.
    fn supersede(&self, sync: &Sync) {
        if let Some(earlier) = self.lock().remove(&sync.owner()) {
            earlier.cancel();
        }
    }

    async fn run(&self, sync: Sync) {
        let mut end = SyncEnd::of(&sync);
        let (owner, superseded) = (sync.owner(), CancellationToken::new());
        if let Some(earlier) = self.lock().insert(owner.clone(), superseded.clone()) {
            earlier.cancel();
        }
        let mut progress = Progress::of(&sync);
        let ended = superseded.run_until_cancelled(sync.bring_up_to_date(&mut progress)).await;
        match ended.unwrap_or(Err(SyncError::Superseded)) {
            Ok(()) => {}
            Err(SyncError::Paused) => end.rest = progress.rest(),
            Err(error) => {
                tracing::debug!(user = %sync.user, device = %sync.device, %error, "a sync ended early");
            }
        }
        self.forget(&owner, &superseded);
        end.tell(&self.context.publisher).await;
    }

    /// Removes a sync, unless a later one has replaced it.
    fn forget(&self, owner: &(UserId, Device), superseded: &CancellationToken) {
        let mut under_way = self.lock();
        if !superseded.is_cancelled() {
            under_way.remove(owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(UserId, Device), CancellationToken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Responder for Syncs {
    type Request = Sync;

    const NAME: &'static str = "syncs";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: 1,
            per_user: PER_USER,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<Sync>> {
        let bytes = payload.len();
        match Sync::parse(Arc::clone(&self.context), payload) {
            Ok(sync) => {
                self.supersede(&sync);
                let (user, device) = sync.owner();
                vec![Job { replaces: Some(device), ..Job::new(user, sync, bytes) }]
            }
            Err(error) => {
                tracing::debug!(%error, "a sync is not valid and was dropped");
                Vec::new()
            }
        }
    }

    async fn handle(self: Arc<Self>, requests: Vec<Sync>) {
        for sync in requests {
            self.run(sync).await;
        }
    }
}

impl Sync {
    fn owner(&self) -> (UserId, Device) {
        (self.user.clone(), self.device.clone())
    }

    fn parse(context: Arc<ServiceContext>, payload: Bytes) -> Result<Self, String> {
        let request = pb::UpstreamSync::decode(payload).map_err(|error| error.to_string())?;
        let pb::SyncRest { cursors, began_ms } = if request.rest.is_empty() {
            let sync = pb::Sync::decode(request.sync).map_err(|error| error.to_string())?;
            pb::SyncRest { cursors: sync.cursors, began_ms: now_ms(&context.cluster) }
        } else {
            pb::SyncRest::decode(request.rest).map_err(|error| error.to_string())?
        };
        let server = ServerId::parse(&request.server).map_err(|error| error.to_string())?;
        let user = UserId::parse(&request.user).map_err(|error| error.to_string())?;
        let device = request.device.ok_or("the device is missing")?;
        let device = Device::try_from(device).map_err(|error| error.to_string())?;
        let cursors = cursors.into_iter().map(|cursor| (cursor.channel.clone(), cursor)).collect();
        let (connection, number) = (request.connection, request.number);
        Ok(Self { context, server, connection, number, user, device, cursors, began_ms })
    }

    async fn bring_up_to_date(&self, progress: &mut Progress) -> Result<(), SyncError> {
        // Bytes are charged when they are sent.
        let budgets = &self.context.budgets;
        budgets.take(&self.user, [(Resource::SyncBytes, 1)]).map_err(|_| SyncError::Exhausted)?;
        let channels = self.join().await?;
        let mut out = FrameWriter::new(self);
        for channel in self.strangers(&channels) {
            progress.leave(channel.as_str());
            out.add(&left_frame(channel.as_str())).await?;
        }
        let mut ends = self.push_logs(&channels, &mut out, progress).await?;
        // The rest is small, and must not be cut off.
        out.finish().await?;
        for channel in self.removed_meanwhile(&channels).await? {
            out.add(&left_frame(channel.as_str())).await?;
            ends.retain(|end| end.channel != channel.as_str());
        }
        let parts = parts(ends);
        let last = parts.len() - 1;
        for (index, ends) in parts.into_iter().enumerate() {
            let done = pb::SyncDone { ends, more: index < last };
            out.add(&frame::encode(pb::frame::Body::SyncDone(done))).await?;
        }
        out.finish().await
    }

    /// Sends the entries of each log behind the device's cursor. Returns the ends of the logs.
    async fn push_logs(
        &self,
        channels: &[ChannelId],
        out: &mut FrameWriter<'_>,
        progress: &mut Progress,
    ) -> Result<Vec<pb::Cursor>, SyncError> {
        let inbox = std::iter::once(LogId::Inbox(self.user.clone()));
        let logs = inbox.chain(channels.iter().cloned().map(LogId::Channel));
        let shown_from = self.shown_from(channels).await?;
        let shown_from = |log: &LogId| match log {
            LogId::Inbox(_) => 0,
            LogId::Channel(channel) => shown_from.get(channel).copied().unwrap_or(0),
        };
        let starts = stream::iter(logs).map(|log| {
            let shown_from = shown_from(&log);
            Start::find(self, log, shown_from)
        });
        let mut starts = starts.buffered(LOGS_AT_ONCE);
        let mut ends = Vec::with_capacity(channels.len() + 1);
        while let Some(start) = starts.next().await {
            ends.push(start?.push(self, out, progress).await?);
        }
        Ok(ends)
    }
}

/// The end of a sync, after which the server passes on the connection's next one.
struct SyncEnd {
    server: ServerId,
    connection: u64,
    number: u64,
    /// The rest of the sync, or empty.
    rest: Bytes,
}

impl SyncEnd {
    fn of(sync: &Sync) -> Self {
        let Sync { server, connection, number, .. } = sync;
        Self { server: server.clone(), connection: *connection, number: *number, rest: Bytes::new() }
    }

    /// Reports the end, queued behind all frames of the sync. If it is lost, the server continues after a
    /// while.
    async fn tell(self, publisher: &Arc<Publisher>) {
        if self.number == 0 {
            return;
        }
        let ended = pb::SyncEnded { number: self.number, rest: self.rest };
        let effect = pb::record::Effect::SyncEnded(ended);
        let record =
            pb::Record { connections: vec![self.connection], effect: Some(effect), ..pb::Record::default() };
        publisher.submit_and_forget(&self.server, record).await;
    }
}

/// Divides the ends into parts that fit into a frame, at least one.
fn parts(ends: Vec<pb::Cursor>) -> Vec<Vec<pb::Cursor>> {
    let mut parts = vec![Vec::new()];
    let mut room = MAX_ENDS_BYTES;
    for end in ends {
        // With tag and length. A cursor takes less than 128 bytes.
        let bytes = end.encoded_len() + 2;
        if bytes > room {
            parts.push(Vec::new());
            room = MAX_ENDS_BYTES;
        }
        room -= bytes;
        if let Some(part) = parts.last_mut() {
            part.push(end);
        }
    }
    parts
}

/// Returns the name of a log in frames, which is empty for the inbox.
fn log_name(log: &LogId) -> &str {
    match log {
        LogId::Inbox(_) => "",
        LogId::Channel(channel) => channel.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_divided_into_frames_that_fit() {
        let end = |number: u64| pb::Cursor { channel: format!("{number:060}"), seq: u64::MAX, id: u64::MAX };
        for count in [0, 1, 500, 5000] {
            let parts = parts((0..count).map(end).collect());
            assert_eq!(parts.iter().map(Vec::len).sum::<usize>() as u64, count);
            for ends in parts {
                let frame = frame::encode(pb::frame::Body::SyncDone(pb::SyncDone { ends, more: true }));
                assert!(frame.len() <= MAX_FRAME_BYTES, "{}", frame.len());
            }
        }
    }
}
