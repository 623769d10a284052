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
    /// The publish number, given before it is saved for the first time and kept for all tries, also those of later processes. So it
    /// tells whether the send has arrived, even to a process that goes on from an old copy of the store.
    pub(super) number: u64,
    /// The installation that the number is of.
    pub(super) installation: u64,
    /// Whether it has become the first of its conversation: it may travel once that is saved.
    pub(super) released: bool,
    /// When to give it up. `None`: never.
    pub(super) deadline: Option<Instant>,
    /// Whether it was handed to a connection, by this process or an earlier one.
    pub(super) travelled: bool,
    /// Whether the last try has no answer yet.
    unanswered: bool,
    /// The reason for which an earlier try may have had an effect, if it may.
    doubt: Option<String>,
    /// Whether the send is from the store, so that another process may have sent it, perhaps before the store was restored from a copy.
    loaded: bool,
    /// The number of refusals for the moment.
    pub(super) refusals: u32,
    /// The number of times that its number turned out to be used.
    renumbered: u32,
    /// Whether the store has it.
    pub(super) saved: bool,
    /// The failed send in whose place it is sent.
    pub(super) replaces: Option<LocalId>,
}

/// The one who waits for an answer.
#[derive(Debug)]
pub(in crate::client::core) enum Waiter<T> {
    /// Somebody waits for the outcome.
    Outcome(T),
    /// Somebody waits until it is saved; the outcome will be an event.
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

    /// Loads the send of an earlier process; `None` if it makes no sense.
    pub(super) fn load(saved: &SavedPublish) -> Option<Self> {
        let content = pb::Content::decode(&saved.content[..]).ok()?;
        Some(Self {
            number: saved.number,
            installation: saved.installation,
            released: saved.sent,
            // It may have been.
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

    /// The send is handed to a connection.
    pub(super) fn handle_sent(&mut self) {
        if self.unanswered {
            self.doubt = Some("the answer to an earlier try was lost".to_owned());
        }
        self.travelled = true;
        self.unanswered = true;
    }

    /// The last try was refused. It may have had an effect all the same.
    pub(super) fn handle_refused(&mut self, refused: &pb::Refused) {
        self.unanswered = false;
        if !wire::kind(refused).is_certain() {
            self.doubt = Some(refused.reason.clone());
        }
    }

    /// Takes another number after the last one turned out to be used for another message. Returns `false` if the message may have arrived
    /// under the old number, or if its numbers are used again and again.
    pub(super) fn renumber(&mut self, (installation, number): (u64, u64)) -> bool {
        if self.loaded || self.doubt.is_some() || self.renumbered >= MAX_RENUMBERED {
            return false;
        }
        (self.installation, self.number) = (installation, number);
        self.renumbered += 1;
        self.travelled = false;
        true
    }

    /// Returns the outcome after its number turned out to be used and it got no other one.
    pub(super) fn number_used(&self, error: PublishError) -> PublishError {
        if self.loaded || self.doubt.is_some() { number_used() } else { error }
    }

    /// Returns the outcome after a last refusal. A refusal says nothing about the tries before, so it must not invite to another one.
    pub(super) fn refused(&self, error: PublishError) -> PublishError {
        match &self.doubt {
            Some(reason) if error.is_retryable() => PublishError::Unconfirmed { reason: reason.clone() },
            _ => error,
        }
    }

    /// Returns the outcome after it was given up.
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

/// How many numbers a message gets. The second one is of an installation that nobody has used, so this is for a server that errs.
const MAX_RENUMBERED: u32 = 3;

/// A send that has failed for good and that the application has not discarded.
#[derive(Debug)]
pub(super) struct FailedSend {
    pub(super) to: Recipient,
    pub(super) content: pb::Content,
    pub(super) error: PublishError,
    /// The installation and the number under which it is sent anew, if it is; 0: none, from an earlier version.
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
