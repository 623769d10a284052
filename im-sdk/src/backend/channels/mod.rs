//! Channels: groups with members, and rooms that devices join by themselves.

pub(super) mod channel;
pub(super) mod room;
pub(super) mod room_counters;

use std::sync::Arc;

use self::room_counters::RoomCounters;
use super::{
    conversations::Conversations,
    history::HistoryReader,
    send::{MessageSender, dispatch::Dispatcher},
    tasks::Tasks,
};
use crate::cluster::Cluster;

/// The parts of a backend that channels and rooms use.
#[derive(Debug)]
pub(super) struct ChannelParts {
    cluster: Cluster,
    sender: Arc<MessageSender>,
    dispatcher: Arc<Dispatcher>,
    history: Arc<HistoryReader>,
    conversations: Arc<Conversations>,
    counters: RoomCounters,
}

impl ChannelParts {
    pub(super) fn new(
        cluster: Cluster,
        sender: Arc<MessageSender>,
        dispatcher: Arc<Dispatcher>,
        history: Arc<HistoryReader>,
        conversations: Arc<Conversations>,
        tasks: Arc<Tasks>,
    ) -> Self {
        Self { cluster, sender, dispatcher, history, conversations, counters: RoomCounters::new(tasks) }
    }
}
