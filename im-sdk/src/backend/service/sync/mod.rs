//! Bringing a device up to date: what its user's inbox and channels have after the device's cursors, as frames to its
//! connection.
//!
//! The connection joins its user's channels **before** any of their logs is read: what is appended before the read is in
//! it, and what is appended afterwards is pushed to a server that is known to have a member. So nothing falls in between.

mod joining;
mod log;
mod out;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message as _;

use self::{log::Start, out::Out};
use super::responder::Responder;
use crate::{
    backend::{im::Im, message::left_frame},
    cluster::{LogError, LogId, MembersError},
    id::{ChannelId, Device, ServerId, UserId},
    proto::{frame, limits::MAX_FRAME_BYTES, pb},
};

/// How many devices are brought up to date at once; others wait on the bus, and ask again.
const CONCURRENCY: usize = 256;

/// How many logs of a device are looked at at once: somebody is in thousands of channels, most of which are quiet.
const LOGS_AT_ONCE: usize = 8;

/// What the cursors in one `SyncDone` take at most: room is left for the frame around them.
const MAX_ENDS_BYTES: usize = MAX_FRAME_BYTES - 1024;

/// A device that is being brought up to date.
struct Sync {
    im: Im,
    server: ServerId,
    connection: u64,
    /// The server's, for the end.
    number: u64,
    user: UserId,
    device: Device,
    /// By channel; the inbox has no name.
    cursors: HashMap<String, pb::Cursor>,
}

/// Why a sync ended early. The device asks again.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("the request is not valid: {0}")]
    Invalid(String),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error("the connection is gone, or its server could not do what was asked")]
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
        let sync = Self::parse(im, payload).map_err(SyncError::Invalid)?;
        let end = SyncEnd { server: sync.server.clone(), connection: sync.connection, number: sync.number };
        let im = sync.im.clone();
        let result = sync.bring_up_to_date().await;
        end.tell(&im).await;
        result
    }

    fn parse(im: Im, payload: Bytes) -> Result<Self, String> {
        let request = pb::UpstreamSync::decode(payload).map_err(|error| error.to_string())?;
        let sync = pb::Sync::decode(request.sync).map_err(|error| error.to_string())?;
        let server = ServerId::parse(&request.server).map_err(|error| error.to_string())?;
        let user = UserId::parse(&request.user).map_err(|error| error.to_string())?;
        let device = request.device.ok_or("the device is missing")?;
        let device = Device::try_from(device).map_err(|error| error.to_string())?;
        let cursors = sync.cursors.into_iter().map(|cursor| (cursor.channel.clone(), cursor)).collect();
        Ok(Self { im, server, connection: request.connection, number: request.number, user, device, cursors })
    }

    async fn bring_up_to_date(self) -> Result<(), SyncError> {
        let channels = self.join().await?;
        let mut out = Out::new(&self);
        for channel in self.strangers(&channels) {
            out.add(&left_frame(channel.as_str())).await?;
        }
        let mut ends = self.push_logs(&channels, &mut out).await?;
        out.flush().await?;
        for channel in self.removed_meanwhile(&channels).await? {
            out.add(&left_frame(channel.as_str())).await?;
            ends.retain(|end| end.channel != channel.as_str());
        }
        for ends in parts(ends) {
            out.add(&frame::encode(pb::frame::Body::SyncDone(pb::SyncDone { ends }))).await?;
        }
        out.flush().await
    }

    /// Sends what each log has after the device's cursor; returns where the logs ended.
    async fn push_logs(
        &self,
        channels: &[ChannelId],
        out: &mut Out<'_>,
    ) -> Result<Vec<pb::Cursor>, SyncError> {
        let inbox = std::iter::once(LogId::Inbox(self.user.clone()));
        let logs = inbox.chain(channels.iter().cloned().map(LogId::Channel));
        let mut starts = stream::iter(logs).map(|log| Start::find(self, log)).buffered(LOGS_AT_ONCE);
        let mut ends = Vec::with_capacity(channels.len() + 1);
        while let Some(start) = starts.next().await {
            ends.push(start?.push(self, out).await?);
        }
        Ok(ends)
    }
}

/// Which sync is over, for the server, which passes the connection's next one on then.
struct SyncEnd {
    server: ServerId,
    connection: u64,
    number: u64,
}

impl SyncEnd {
    /// Queued behind all that the sync has sent. Should it get lost, the server goes on after a while.
    async fn tell(self, im: &Im) {
        if self.number == 0 {
            return;
        }
        let effect = pb::record::Effect::SyncEnded(pb::SyncEnded { number: self.number });
        let record =
            pb::Record { connections: vec![self.connection], effect: Some(effect), ..pb::Record::default() };
        im.inner.publisher.submit_and_forget(&self.server, record).await;
    }
}

/// As many ends as fit into a frame together, at least one frame.
fn parts(ends: Vec<pb::Cursor>) -> Vec<Vec<pb::Cursor>> {
    let mut parts = vec![Vec::new()];
    let mut room = MAX_ENDS_BYTES;
    for end in ends {
        // Tag and length: a cursor takes less than 128 bytes.
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
                let frame = frame::encode(pb::frame::Body::SyncDone(pb::SyncDone { ends }));
                assert!(frame.len() <= MAX_FRAME_BYTES, "{}", frame.len());
            }
        }
    }
}
