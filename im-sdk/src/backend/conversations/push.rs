//! Tells devices about changed states. Devices ask for changes that they miss.

use std::sync::Arc;

use super::MAX_TOLD_MEMBERS;
use crate::{
    ConversationState, ReadMark,
    backend::send::dispatch::{Dispatcher, Freshness},
    cluster::Cluster,
    id::{ChannelId, Device, MessageId, UserId},
    proto::{frame, pb},
};

/// Tells devices about changed states.
#[derive(Debug)]
pub(in crate::backend) struct StatePusher {
    cluster: Cluster,
    dispatcher: Arc<Dispatcher>,
}

impl StatePusher {
    pub(super) fn new(cluster: Cluster, dispatcher: Arc<Dispatcher>) -> Self {
        Self { cluster, dispatcher }
    }

    /// Tells the user's devices, except the one that made the change.
    pub(in crate::backend) async fn tell_changes(
        &self,
        user: &UserId,
        but: Option<&Device>,
        states: Vec<ConversationState>,
    ) {
        if states.is_empty() {
            return;
        }
        let mut states: Vec<pb::ConversationState> = states.into_iter().map(Into::into).collect();
        states.sort_by_key(|state| state.version);
        let changed = pb::ConversationsChanged { states, receipts: Vec::new() };
        self.tell(std::slice::from_ref(user), but, changed).await;
    }

    /// Tells the other members of a small channel how far a user has read.
    pub(super) async fn tell_readers(&self, channel: &ChannelId, user: &UserId, read: ReadMark) {
        let members = self.cluster.members().members(channel, None, MAX_TOLD_MEMBERS + 1).await;
        let mut members = match members {
            Ok(members) if members.len() <= MAX_TOLD_MEMBERS => members,
            Ok(_) => return,
            Err(error) => {
                return tracing::debug!(%channel, %error, "cannot tell members about a read mark");
            }
        };
        members.retain(|member| member != user);
        let receipt = pb::ReadReceipt {
            channel: channel.to_string(),
            user: user.to_string(),
            seq: read.seq,
            id: read.id.map_or(0, MessageId::as_u64),
        };
        self.tell(&members, None, pb::ConversationsChanged { states: Vec::new(), receipts: vec![receipt] })
            .await;
    }

    async fn tell(&self, users: &[UserId], but: Option<&Device>, changed: pb::ConversationsChanged) {
        let located =
            match self.dispatcher.locate(users, Freshness::Current, |device| Some(device) != but).await {
                Ok(located) => located,
                Err(error) => return tracing::debug!(%error, "devices cannot be told what was set"),
            };
        let frames = frame::encode(pb::frame::Body::ConversationsChanged(changed));
        for (server, located) in located {
            let connections = located.iter().map(|located| located.connection.0).collect();
            let effect = Some(pb::record::Effect::Frames(frames.clone()));
            // Devices ask by version for changes that they miss.
            let priority = pb::Priority::Low.into();
            let record = pb::Record { connections, effect, priority, ..pb::Record::default() };
            self.dispatcher.publisher().submit_and_forget(&server, record).await;
        }
    }
}
