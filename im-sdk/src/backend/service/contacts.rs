//! The users whom a user's devices have written to.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    budget::{RecentMap, Resource},
    response::{RETRY_MS, refused},
};
use crate::{
    Recipient,
    backend::send::dispatch::{Dispatcher, Freshness},
    cluster::{Cluster, LogId},
    id::UserId,
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
};

/// The number of remembered pairs, at some 100 bytes each. Fewer are active at a time on one
/// backend; others cost a look-up.
const MAX_REMEMBERED: usize = 65_536;

/// The time after which a contact is noted again, so that the store keeps contacts in use.
const NOTE_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// An error of one of several stores.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The cost of a permission to write, which is given back if the publish fails.
#[derive(Debug, Default)]
#[must_use = "what is not used is given back"]
pub(super) struct Permitted {
    /// The recipient, if the contact is to be noted.
    pub(super) contact: Option<UserId>,
    /// The user has not written to them before.
    pub(super) new: bool,
    /// The deployment has never seen them.
    pub(super) unknown: bool,
}

impl Permitted {
    /// Returns the budgets that it cost, with amounts.
    pub(super) fn cost(&self) -> [(Resource, u64); 2] {
        [(Resource::NewContacts, self.new.into()), (Resource::UnknownContacts, self.unknown.into())]
    }
}

/// Pairs of users of which the first has written to the second, as far as this process knows.
#[derive(Debug)]
pub(in crate::backend) struct Contacts {
    cluster: Cluster,
    dispatcher: Arc<Dispatcher>,
    /// The time of the last note, or `None` if unknown.
    known: Mutex<RecentMap<(UserId, UserId), Option<Instant>>>,
    /// `true` if the handler refused the user's last message to the recipient.
    refused: Mutex<RecentMap<(UserId, Recipient), bool>>,
}

impl Contacts {
    pub(super) fn new(cluster: Cluster, dispatcher: Arc<Dispatcher>) -> Self {
        Self {
            cluster,
            dispatcher,
            known: Mutex::new(RecentMap::new(MAX_REMEMBERED)),
            refused: Mutex::new(RecentMap::new(MAX_REMEMBERED)),
        }
    }

    /// Returns `true` if the contact is known, and need not be noted again.
    pub(super) fn is_known(&self, user: &UserId, contact: &UserId) -> bool {
        let pair = (user.clone(), contact.clone());
        let mut known = self.lock();
        let is_fresh =
            known.get(&pair).is_some_and(|noted| noted.is_some_and(|noted| noted.elapsed() < NOTE_AGAIN));
        if is_fresh {
            // Counts as used.
            known.entry(&pair);
        }
        is_fresh
    }

    fn remember(&self, user: &UserId, contact: &UserId) {
        *self.lock().entry(&(user.clone(), contact.clone())) = Some(Instant::now());
    }

    /// Notes the handler's decision about a user's message.
    pub(super) fn note_decision(&self, from: &UserId, to: &Recipient, is_refused: bool) {
        let pair = (from.clone(), to.clone());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // Accepted messages, which are nearly all, take no place.
        if is_refused || refused.get(&pair).is_some() {
            *refused.entry(&pair) = is_refused;
        }
    }

    /// Returns `true` if the handler refused the user's last message to the recipient.
    pub(super) fn was_refused(&self, from: &UserId, to: &Recipient) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&(from.clone(), to.clone())).is_some_and(|refused| *refused)
    }

    fn lock(&self) -> MutexGuard<'_, RecentMap<(UserId, UserId), Option<Instant>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the contact is new, and whether the deployment has never seen the other
    /// user.
    pub(super) async fn acquaintance(&self, from: &UserId, to: &UserId) -> Result<(bool, bool), pb::Refused> {
        let look = async {
            let store = self.cluster.conversations();
            // A user who answers has not chosen the contact.
            if store.has_contact(from, to).await? || store.has_contact(to, from).await? {
                return Ok::<_, Failure>((false, false));
            }
            Ok((true, !self.was_ever_seen(to).await?))
        };
        look.await.map_err(|error| {
            throttled!(warn, %from, %to, %error, "cannot look up whether a user may write to another");
            let reason = "it could not be looked up whether the user may write to the other".to_owned();
            refused(RefusalKind::Unavailable, reason, RETRY_MS)
        })
    }

    /// Returns `true` if a user is or was connected, or has messages.
    async fn was_ever_seen(&self, user: &UserId) -> Result<bool, Failure> {
        let users = std::slice::from_ref(user);
        if !self.dispatcher.locate(users, Freshness::Cached, |_| true).await?.is_empty() {
            return Ok(true);
        }
        if self.cluster.last_seen().last_seen(users).await?.iter().any(|times| !times.is_empty()) {
            return Ok(true);
        }
        let ends = self.cluster.log().ends(&[LogId::Inbox(user.clone())]).await?;
        Ok(ends.iter().any(|ends| ends.last > 0))
    }

    /// Returns `true` if a user has written to another before.
    pub(super) async fn has_written(&self, user: &UserId, to: &UserId) -> bool {
        if self.is_known(user, to) {
            return true;
        }
        match self.cluster.conversations().has_contact(user, to).await {
            Ok(has) => {
                if has {
                    self.remember(user, to);
                }
                has
            }
            Err(error) => {
                throttled!(warn, %user, %to, %error, "cannot look up whether a user has written to another");
                false
            }
        }
    }

    /// Notes that a user has written to another, before the publish is answered, so that the
    /// recipient may rely on it.
    pub(super) async fn note_written(&self, from: &UserId, permitted: Permitted) {
        let Some(to) = permitted.contact else { return };
        if self.is_known(from, &to) {
            return;
        }
        match self.cluster.conversations().note_contact(from, &to).await {
            Ok(()) => self.remember(from, &to),
            Err(error) => {
                throttled!(warn, %from, %to, %error, "cannot note a contact of a user");
            }
        }
    }
}
