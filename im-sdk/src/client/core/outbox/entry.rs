//! A send that is not settled.

use std::time::Instant;

use prost::Message as _;

use super::{Unsettled, wire};
use crate::{
    Recipient,
    client::{LocalId, PublishError, SendState, device_store::SavedPublish},
    proto::pb,
};

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) waiter: Waiter<T>,
    pub(super) to: Recipient,
    pub(super) content: pb::Content,
    /// The publish number. It is assigned before the first save and kept for all tries, including those of later processes. By it a
    /// back end recognises the send, even from a process that continues from an old copy of the store.
    pub(super) number: u64,
    /// The installation that the number belongs to.
    pub(super) installation: u64,
    /// Set once the send is the first of its conversation. It may be sent as soon as that is saved.
    pub(super) released: bool,
    /// The time at which to give up, if any.
    pub(super) deadline: Option<Instant>,
    /// Set once the send was handed to a connection, by this process or an earlier one.
    pub(super) travelled: bool,
    /// Set while the last try has no answer.
    unanswered: bool,
    /// The reason why an earlier try may have had an effect. `None` if it certainly had none.
    doubt: Option<String>,
    /// Set if the send was loaded from the store. Another process may have sent it, perhaps before the store was restored from a copy.
    loaded: bool,
    /// The number of temporary refusals.
    pub(super) refusals: u32,
    /// The number of times that its number turned out to be used.
    renumbered: u32,
    /// Set once the store has it.
    pub(super) saved: bool,
    /// The failed send that it replaces.
    pub(super) replaces: Option<LocalId>,
}

/// The caller that waits for an answer, if any.
#[derive(Debug)]
pub(in crate::client::core) enum Waiter<T> {
    /// A caller waits for the outcome.
    Outcome(T),
    /// A caller waits until it is saved; the outcome will be an event.
    Taken(T),
    /// No caller waits; the outcome will be an event.
    Nobody,
}

impl<T> Entry<T> {
    pub(super) fn new(
        waiter: Waiter<T>,
        to: Recipient,
        content: pb::Content,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            waiter,
            to,
            content,
            number: 0,
            installation: 0,
            released: false,
            deadline,
            travelled: false,
            unanswered: false,
            doubt: None,
            loaded: false,
            refusals: 0,
            renumbered: 0,
            saved: false,
            replaces: None,
        }
    }

    /// Loads the send of an earlier process. Returns `None` if it cannot be decoded.
    pub(super) fn load(saved: &SavedPublish) -> Option<Self> {
        let content = pb::Content::decode(&saved.content[..]).ok()?;
        Some(Self {
            number: saved.number,
            installation: saved.installation,
            released: saved.sent,
            // The earlier process may have sent it.
            travelled: saved.sent,
            unanswered: true,
            loaded: true,
            saved: true,
            ..Self::new(Waiter::Nobody, saved.recipient()?, content, None)
        })
    }

    pub(super) fn save(&self, local_id: LocalId) -> SavedPublish {
        SavedPublish {
            local_id: local_id.as_u64(),
            number: self.number,
            installation: self.installation,
            sent: self.released,
            content: self.content.encode_to_vec(),
            failure: Vec::new(),
            ..SavedPublish::to(&self.to)
        }
    }

    pub(super) fn unsettled(&self, local_id: LocalId) -> Unsettled {
        Unsettled {
            local_id,
            to: self.to.clone(),
            content: self.content.clone().into(),
            state: if self.travelled { SendState::Sent } else { SendState::Pending },
            error: None,
        }
    }

    /// Notes that the send is handed to a connection.
    pub(super) fn handle_sent(&mut self) {
        if self.unanswered {
            self.doubt = Some("the answer to an earlier try was lost".to_owned());
        }
        self.travelled = true;
        self.unanswered = true;
    }

    /// Notes that the last try was refused. Some refusals leave open whether it had an effect.
    pub(super) fn handle_refused(&mut self, refused: &pb::Refused) {
        self.unanswered = false;
        if !wire::kind(refused).is_certain() {
            self.doubt = Some(refused.reason.clone());
        }
    }

    /// Takes another number after the last one turned out to be used for another message. Returns `false` if the message may have
    /// arrived under the old number, or if too many numbers were used.
    pub(super) fn renumber(&mut self, (installation, number): (u64, u64)) -> bool {
        if self.loaded || self.doubt.is_some() || self.renumbered >= MAX_RENUMBERED {
            return false;
        }
        (self.installation, self.number) = (installation, number);
        self.renumbered += 1;
        self.travelled = false;
        true
    }

    /// Returns the outcome of a send whose number turned out to be used and that got no other number.
    pub(super) fn number_used(&self, error: PublishError) -> PublishError {
        if self.loaded || self.doubt.is_some() { number_used() } else { error }
    }

    /// Returns the outcome after the last refusal. A refusal says nothing about earlier tries, so the error must not be retryable if one
    /// of them may have had an effect.
    pub(super) fn refused(&self, error: PublishError) -> PublishError {
        match &self.doubt {
            Some(reason) if error.is_retryable() => PublishError::Unconfirmed { reason: reason.clone() },
            _ => error,
        }
    }

    /// Returns the outcome of a send that was given up.
    pub(super) fn given_up(&self, error: &PublishError) -> PublishError {
        match &self.doubt {
            Some(reason) => PublishError::Unconfirmed { reason: reason.clone() },
            None if self.unanswered => {
                PublishError::Unconfirmed { reason: "no answer had come when it was given up".to_owned() }
            }
            None => error.clone(),
        }
    }
}

fn number_used() -> PublishError {
    let reason =
        "its number was used since, as after a restore from a backup: it may have been sent before that";
    PublishError::Unconfirmed { reason: reason.to_owned() }
}

/// The most new numbers that a message gets. The first of them already belongs to an unused installation, so more are only needed
/// if a server is wrong.
const MAX_RENUMBERED: u32 = 3;

/// A send that has failed for good and that the application has not discarded.
#[derive(Debug)]
pub(super) struct FailedSend {
    pub(super) to: Recipient,
    pub(super) content: pb::Content,
    pub(super) error: PublishError,
    /// The installation and the number for a retry. 0 means none: an earlier version saved it.
    pub(super) retry: (u64, u64),
}

impl FailedSend {
    pub(super) fn load(saved: &SavedPublish) -> Option<Self> {
        Some(Self {
            to: saved.recipient()?,
            content: pb::Content::decode(&saved.content[..]).ok()?,
            error: wire::decode_failure(&saved.failure),
            retry: (saved.installation, saved.number),
        })
    }

    pub(super) fn unsettled(&self, local_id: LocalId) -> Unsettled {
        Unsettled {
            local_id,
            to: self.to.clone(),
            content: self.content.clone().into(),
            state: SendState::Failed,
            error: Some(self.error.clone()),
        }
    }

    pub(super) fn save(&self, local_id: LocalId) -> SavedPublish {
        SavedPublish {
            local_id: local_id.as_u64(),
            number: self.retry.1,
            installation: self.retry.0,
            content: self.content.encode_to_vec(),
            failure: wire::encode_failure(&self.error),
            ..SavedPublish::to(&self.to)
        }
    }
}
