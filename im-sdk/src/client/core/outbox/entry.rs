//! One send that is not settled.

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
    /// The publish number, given when it becomes the first of its conversation, and kept for all tries.
    pub(super) number: Option<u64>,
    /// When to give it up. `None`: never.
    pub(super) deadline: Option<Instant>,
    /// Whether it was handed to a connection, by this process or an earlier one.
    pub(super) travelled: bool,
    /// Whether the last try has no answer yet.
    unanswered: bool,
    /// Why an earlier try may have had an effect, if it may.
    doubt: Option<String>,
    /// How often it was refused for the moment.
    pub(super) refusals: u32,
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
    /// Nobody waits; the outcome will be an event.
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
            number: None,
            deadline,
            travelled: false,
            unanswered: false,
            doubt: None,
            refusals: 0,
            saved: false,
            replaces: None,
        }
    }

    /// Loads the send of an earlier process; `None` if it makes no sense.
    pub(super) fn load(saved: &SavedPublish) -> Option<Self> {
        let number = (saved.number > 0).then_some(saved.number);
        let content = pb::Content::decode(&saved.content[..]).ok()?;
        Some(Self {
            number,
            // It may have been.
            travelled: number.is_some(),
            unanswered: number.is_some(),
            saved: true,
            ..Self::new(Waiter::Nobody, saved.recipient()?, content, None)
        })
    }

    pub(super) fn save(&self, local_id: LocalId) -> SavedPublish {
        SavedPublish {
            local_id: local_id.as_u64(),
            number: self.number.unwrap_or_default(),
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

/// A send that has failed for good and that the application has not discarded.
#[derive(Debug)]
pub(super) struct FailedSend {
    pub(super) to: Recipient,
    pub(super) content: pb::Content,
    pub(super) error: PublishError,
}

impl FailedSend {
    pub(super) fn load(saved: &SavedPublish) -> Option<Self> {
        Some(Self {
            to: saved.recipient()?,
            content: pb::Content::decode(&saved.content[..]).ok()?,
            error: wire::decode_failure(&saved.failure),
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
            number: 0,
            content: self.content.encode_to_vec(),
            failure: wire::encode_failure(&self.error),
            ..SavedPublish::to(&self.to)
        }
    }
}
