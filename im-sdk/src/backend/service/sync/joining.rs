//! The channels that a connection follows: its user's, as the members' store says.

use std::collections::HashSet;

use tokio::time::timeout;

use super::{Sync, SyncError};
use crate::{
    backend::publisher::Outcome,
    id::ChannelId,
    proto::{pb, pb::record::Effect},
};

/// How many channels are joined in one record: 64 KiB of names, as much as other records hold.
const PER_RECORD: usize = 1024;

impl Sync {
    /// Joins the connection to its user's channels, and waits until its server says that it has.
    ///
    /// Who is removed while that goes on may be told to leave before it has joined; so the members' store is asked once
    /// more afterwards.
    pub(super) async fn join(&self) -> Result<Vec<ChannelId>, SyncError> {
        let channels = self.members_channels().await?;
        let joins = channels.chunks(PER_RECORD).map(|channels| self.ask(Effect::Join(names(channels))));
        futures_util::future::try_join_all(joins).await?;
        let removed = self.removed_meanwhile(&channels).await?;
        let strangers = self.strangers(&channels);
        if !strangers.is_empty() {
            // It may follow them all the same, when it was not reached as its user was removed.
            self.ask(Effect::Leave(names(&strangers))).await?;
        }
        Ok(channels.into_iter().filter(|channel| !removed.contains(channel)).collect())
    }

    /// The channels among these that the user is no member of any more. The connection has left them.
    pub(super) async fn removed_meanwhile(
        &self,
        channels: &[ChannelId],
    ) -> Result<Vec<ChannelId>, SyncError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let now: HashSet<ChannelId> = self.members_channels().await?.into_iter().collect();
        let removed: Vec<ChannelId> =
            channels.iter().filter(|channel| !now.contains(*channel)).cloned().collect();
        for removed in removed.chunks(PER_RECORD) {
            self.ask(Effect::Leave(names(removed))).await?;
        }
        Ok(removed)
    }

    /// The channels that the device has a cursor of, and the user is no member of.
    pub(super) fn strangers(&self, channels: &[ChannelId]) -> Vec<ChannelId> {
        let channels: HashSet<&str> = channels.iter().map(ChannelId::as_str).collect();
        let strange =
            self.cursors.keys().filter(|name| !name.is_empty() && !channels.contains(name.as_str()));
        // What is no channel's name is passed over.
        strange.filter_map(|name| ChannelId::parse(name).ok()).collect()
    }

    async fn members_channels(&self) -> Result<Vec<ChannelId>, SyncError> {
        Ok(self.im.inner.cluster.members().channels(&self.user).await?)
    }

    /// Has the server do something for the connection, and waits until it has.
    pub(super) async fn ask(&self, effect: Effect) -> Result<(), SyncError> {
        let record =
            pb::Record { connections: vec![self.connection], effect: Some(effect), ..pb::Record::default() };
        let outcome = self.im.inner.publisher.submit(&self.server, record).await;
        match timeout(self.im.inner.config.send_timeout, outcome).await {
            Ok(Ok(Outcome::Done { missed, .. })) if missed.is_empty() => Ok(()),
            _ => Err(SyncError::Gone),
        }
    }
}

fn names(channels: &[ChannelId]) -> pb::Channels {
    let channels = channels.iter().map(ToString::to_string).collect();
    pb::Channels { channels, ..pb::Channels::default() }
}
