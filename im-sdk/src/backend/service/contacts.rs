//! The users whom a user's devices have written to.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    budget::RecentMap,
    reach::Permitted,
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

/// How many pairs of users are remembered who have written to each other, at some 100 bytes each: more than are active at a time
/// on one back end. Others cost a look-up.
const MAX_REMEMBERED: usize = 65_536;

/// After this time a contact is noted again, so that the store keeps those that are in use.
const NOTE_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Why a store did not say what is asked of several.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pairs of users of which the first has written to the second, as this process knows.
#[derive(Debug)]
pub(in crate::backend) struct Contacts {
    cluster: Cluster,
    dispatcher: Arc<Dispatcher>,
    /// With the time at which it was noted last. `None`: it is not known.
    known: Mutex<RecentMap<(UserId, UserId), Option<Instant>>>,
    /// Whether the handler refused the last that the user wanted to say there.
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

    /// Whether it is known, and need not be noted again.
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

    /// Notes what the handler said to what a user wanted to say somewhere.
    pub(super) fn note_decision(&self, from: &UserId, to: &Recipient, is_refused: bool) {
        let pair = (from.clone(), to.clone());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // What is accepted, which is nearly everything, takes no place.
        if is_refused || refused.get(&pair).is_some() {
            *refused.entry(&pair) = is_refused;
        }
    }

    /// Whether the handler refused the last that a user wanted to say there.
    pub(super) fn was_refused(&self, from: &UserId, to: &Recipient) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&(from.clone(), to.clone())).is_some_and(|refused| *refused)
    }

    fn lock(&self) -> MutexGuard<'_, RecentMap<(UserId, UserId), Option<Instant>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one is new to the other, and whether the deployment has never seen the other.
    pub(super) async fn acquaintance(&self, from: &UserId, to: &UserId) -> Result<(bool, bool), pb::Refused> {
        let look = async {
            let store = self.cluster.conversations();
            // Who answers has not chosen whom to write to.
            if store.has_contact(from, to).await? || store.has_contact(to, from).await? {
                return Ok::<_, Failure>((false, false));
            }
            Ok((true, !self.was_ever_seen(to).await?))
        };
        look.await.map_err(|error| {
            throttled!(warn, %from, %to, %error, "cannot tell whether a user may write to another");
            let reason = "it could not be looked up whether the user may write to the other".to_owned();
            refused(RefusalKind::Unavailable, reason, RETRY_MS)
        })
    }

    /// Whether a user is connected, has been, or has messages.
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

    /// Whether one has written to another before.
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
                throttled!(warn, %user, %to, %error, "cannot tell whether a user has written to another");
                false
            }
        }
    }

    /// Notes that a user has written to another: before the publish is answered, so that whoever hears of that may go by it.
    pub(super) async fn note_written(&self, from: &UserId, permitted: Permitted) {
        let Some(to) = permitted.contact else { return };
        if self.is_known(from, &to) {
            return;
        }
        match self.cluster.conversations().note_contact(from, &to).await {
            Ok(()) => self.remember(from, &to),
            Err(error) => {
                throttled!(warn, %from, %to, %error, "it could not be noted that a user wrote to another");
            }
        }
    }
}
