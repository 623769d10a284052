//! The channels that a connection follows: those of its user, as the store of members has them.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{Sync, SyncError};
use crate::{
    ConversationState, Recipient,
    backend::send::publisher::{Outcome, Reached},
    id::{ChannelId, UserId},
    proto::{pb, pb::record::Effect},
};

/// The number of channels in one record: 64 KiB of ids, about as much as in other records.
const PER_RECORD: usize = 1024;

impl Sync {
    /// Joins the connection to its user's channels, removes it from all others, and waits for its
    /// server to confirm that.
    ///
    /// A user who is removed meanwhile may be told to leave before the join, and one who is added may be
    /// joined by another sync before this one, which does not know of it, removes the connection again.
    /// So the store of members is read once more afterwards.
    pub(super) async fn join(&self) -> Result<Vec<ChannelId>, SyncError> {
        let mut channels = self.members_channels().await?;
        self.join_only(&channels).await?;
        let now = self.members_channels().await?;
        let before: HashSet<&ChannelId> = channels.iter().collect();
        let added: Vec<ChannelId> = now.iter().filter(|channel| !before.contains(channel)).cloned().collect();
        for added in added.chunks(PER_RECORD) {
            self.ask(Effect::Join(names(added))).await?;
        }
        let removed = self.leave_others(&channels, now).await?;
        channels.retain(|channel| !removed.contains(channel));
        channels.extend(added);
        Ok(channels)
    }

    /// Leaves the connection in these channels alone, whichever it was in as a member.
    async fn join_only(&self, channels: &[ChannelId]) -> Result<(), SyncError> {
        if channels.len() <= PER_RECORD {
            return self.ask(Effect::Join(pb::Channels { only: true, ..names(channels) })).await;
        }
        let pass = rand::random_range(1..=u64::MAX);
        let join = |channels| self.ask(Effect::Join(pb::Channels { pass, ..names(channels) }));
        futures_util::future::try_join_all(channels.chunks(PER_RECORD).map(join)).await?;
        self.ask(Effect::Leave(pb::Channels { pass, ..pb::Channels::default() })).await
    }

    /// Removes the connection from those of these channels that the user is not a member of any
    /// more, and returns them.
    pub(super) async fn removed_meanwhile(
        &self,
        channels: &[ChannelId],
    ) -> Result<Vec<ChannelId>, SyncError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.members_channels().await?;
        self.leave_others(channels, now).await
    }

    /// Removes the connection from the channels that are not among the present ones, and returns
    /// them.
    async fn leave_others(
        &self,
        channels: &[ChannelId],
        now: Vec<ChannelId>,
    ) -> Result<Vec<ChannelId>, SyncError> {
        let now: HashSet<ChannelId> = now.into_iter().collect();
        let removed: Vec<ChannelId> =
            channels.iter().filter(|channel| !now.contains(*channel)).cloned().collect();
        for removed in removed.chunks(PER_RECORD) {
            self.ask(Effect::Leave(names(removed))).await?;
        }
        Ok(removed)
    }

    /// Lets the connection watch these users, and nobody else.
    pub(super) async fn watch_only(&self, visible: &[UserId]) -> Result<(), SyncError> {
        let channels = visible.iter().map(|user| ChannelId::presence_of(user).to_string()).collect();
        let kind = pb::JoinKind::Watch.into();
        self.ask(Effect::Join(pb::Channels { channels, kind, only: true, pass: 0 })).await
    }

    /// Returns the channels that the device has a cursor of and the user is not a member of. The
    /// connection is in none of them.
    pub(super) fn strangers(&self, channels: &[ChannelId]) -> Vec<ChannelId> {
        let channels: HashSet<&str> = channels.iter().map(ChannelId::as_str).collect();
        let strange =
            self.cursors.keys().filter(|name| !name.is_empty() && !channels.contains(name.as_str()));
        // Names that are no channel ids are skipped.
        strange.filter_map(|name| ChannelId::parse(name).ok()).collect()
    }

    /// Returns the channels that the user is a member of, without closed ones: rows of the
    /// application's own tables may be deleted later.
    async fn members_channels(&self) -> Result<Vec<ChannelId>, SyncError> {
        let mut channels = self.context.cluster.members().channels(&self.user).await?;
        let mut states = self.states_of(&channels).await?.into_iter();
        channels.retain(|_| states.next().is_none_or(|state| state.closed.is_none()));
        Ok(channels)
    }

    /// Returns the seq up to which the user does not see a channel, for channels that have one.
    pub(super) async fn shown_from(
        &self,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, u64>, SyncError> {
        let states = self.states_of(channels).await?;
        let joined = channels.iter().cloned().zip(states.iter().map(|state| state.joined));
        Ok(joined.filter(|(_, joined)| *joined > 0).collect())
    }

    async fn states_of(&self, channels: &[ChannelId]) -> Result<Vec<ConversationState>, SyncError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<Recipient> = channels.iter().cloned().map(Recipient::Channel).collect();
        Ok(self.context.cluster.conversations().states(&self.user, &names).await?)
    }

    /// Has the server do something for the connection, and waits for it.
    pub(super) async fn ask(&self, effect: Effect) -> Result<(), SyncError> {
        self.ask_server(pb::Record { effect: Some(effect), ..pb::Record::default() }).await.map(drop)
    }

    /// Has the server queue frames for the connection, and waits for it. Returns `true` if the
    /// connection's queue is full enough.
    pub(super) async fn push(&self, frames: Bytes) -> Result<bool, SyncError> {
        let effect = Some(Effect::Frames(frames));
        let reached = self.ask_server(pb::Record { effect, paced: true, ..pb::Record::default() }).await?;
        Ok(reached.is_some_and(|reached| reached.enough))
    }

    async fn ask_server(&self, record: pb::Record) -> Result<Option<Reached>, SyncError> {
        let record = pb::Record { connections: vec![self.connection], ..record };
        let publisher = &self.context.publisher;
        match publisher.submit(&self.server, record, publisher.deadline()).await.await {
            Outcome::Done { missed, reached } if missed.is_empty() => Ok(reached),
            _ => Err(SyncError::Gone),
        }
    }
}

fn names(channels: &[ChannelId]) -> pb::Channels {
    let channels = channels.iter().map(ToString::to_string).collect();
    pb::Channels { channels, ..pb::Channels::default() }
}
