//! Messages to everybody who is online: one record for each server, no look-up of users.

use super::{
    SendError, check_size,
    message::{Durability, Message, Target, push_frame},
    publisher::Outcome,
};
use crate::{
    backend::im::Im,
    id::{MessageId, ServerId},
    proto::pb,
};

/// What a broadcast came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReceipt {
    /// The id that the message got.
    pub message_id: MessageId,
    /// Servers that hand it to their connections, one after the other.
    pub servers: Vec<ServerId>,
    /// How many connections that are.
    pub connections: u64,
    /// Servers on which too many broadcasts wait already: nobody there gets this one.
    pub refused: Vec<ServerId>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<ServerId>,
}

impl Im {
    /// Sends a message to everybody who is online now. It is made by [`Message::new`]; one for another target is
    /// [`InvalidMessage::OtherTarget`](crate::backend::InvalidMessage::OtherTarget). It is [`Durability::Transient`]: who is not connected
    /// does not get it, and neither does who connects while it goes round. Each server hands it to its connections
    /// spread over a moment, 200,000 in a second. The receipt comes before that: with a [`Priority`](crate::backend::Priority) other than
    /// `Must` it may then be left out for those that read too slowly, of which the receipt does not speak.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::backend::Message;
    /// let receipt = im.broadcast(Message::new().text("maintenance begins in ten minutes")).await?;
    /// println!("{} devices", receipt.connections);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn broadcast(&self, message: Message) -> Result<BroadcastReceipt, SendError> {
        let message = message.or_durability(Durability::Transient).retarget(Target::everyone())?;
        let prepared = message.prepare()?;
        let id = self.inner.ids.next().await?;
        let frame = push_frame(prepared.encode(id), 0);
        check_size(frame.len())?;
        let record = pb::Record {
            everyone: true,
            priority: pb::Priority::from(prepared.priority).into(),
            effect: Some(pb::record::Effect::Frames(frame)),
            ..pb::Record::default()
        };
        // One that has just started may not be known yet.
        self.inner.directory.refresh().await?;
        let live = self.inner.directory.live();
        let mut receipt = BroadcastReceipt {
            message_id: id,
            servers: Vec::new(),
            connections: 0,
            refused: Vec::new(),
            unconfirmed: Vec::new(),
        };
        for (server, delivery) in self.dispatch_to_all(live.keys(), &record).await {
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
