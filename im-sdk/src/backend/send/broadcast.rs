//! Messages to everybody who is online: one record for each server, no look-up of users.

use std::sync::Arc;

use super::{
    check_size,
    dispatch::Dispatcher,
    error::SendError,
    message::{Durability, Message, Target, transient_push_frame},
    message_ids::Ids,
    publisher::Outcome,
};
use crate::{
    id::{MessageId, ServerId},
    proto::pb,
};

/// The result of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReceipt {
    /// The id that the message got.
    pub message_id: MessageId,
    /// Servers that hand the message to their connections, one after the other.
    pub servers: Vec<ServerId>,
    /// The number of these connections.
    pub connections: u64,
    /// Servers with too many pending broadcasts: nobody there gets this one.
    pub refused: Vec<ServerId>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<ServerId>,
}

/// Sends messages to everybody who is online.
#[derive(Debug)]
pub(in crate::backend) struct Broadcaster {
    ids: Arc<Ids>,
    dispatcher: Arc<Dispatcher>,
}

impl Broadcaster {
    pub(in crate::backend) fn new(ids: Arc<Ids>, dispatcher: Arc<Dispatcher>) -> Self {
        Self { ids, dispatcher }
    }

    /// Sends a message to everybody. See [`Im::broadcast`](crate::backend::Im::broadcast).
    pub(in crate::backend) async fn broadcast(
        &self,
        message: Message,
    ) -> Result<BroadcastReceipt, SendError> {
        let message = message.or_durability(Durability::Transient).retarget(Target::everyone())?;
        let prepared = message.prepare()?;
        let id = self.ids.next().await?;
        let frame = transient_push_frame(prepared.encode(id));
        check_size(frame.len())?;
        let record = pb::Record {
            everyone: true,
            priority: pb::Priority::from(prepared.priority).into(),
            effect: Some(pb::record::Effect::Frames(frame)),
            ..pb::Record::default()
        };
        // A server that has just started may not be known yet.
        let directory = self.dispatcher.directory();
        directory.refresh().await?;
        let live = directory.live();
        let mut receipt = BroadcastReceipt {
            message_id: id,
            servers: Vec::new(),
            connections: 0,
            refused: Vec::new(),
            unconfirmed: Vec::new(),
        };
        for (server, delivery) in self.dispatcher.dispatch_to_all(live.keys(), &record).await {
            match delivery.await {
                Outcome::Done { reached: Some(reached), .. } => {
                    receipt.connections += u64::from(reached.connections);
                    receipt.servers.push(server);
                }
                Outcome::Done { reached: None, .. } => receipt.refused.push(server),
                Outcome::ServerGone => {}
                Outcome::Unknown => receipt.unconfirmed.push(server),
            }
        }
        Ok(receipt)
    }
}
