//! Which users a user's devices may reach: the handler decides, and where it does not, rules that are safe.

use std::{
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Handler, Refusal,
    budget::{Exhausted, RecentMap, Resource},
    call::{Deadline, HandlerFailed},
    response::{RETRY_MS, refused, rule},
};
use crate::{
    Recipient,
    backend::{im::Im, send::Freshness},
    cluster::LogId,
    id::{Device, UserId},
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
};

/// How many pairs of users are remembered who have written to each other, at some 100 bytes each: more than are active at a time
/// on one back end. Others cost a look-up.
const MAX_REMEMBERED: usize = 65_536;

/// After this time a contact is noted again, so that the store keeps those that are in use.
const NOTE_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// A user's device wants to reach another user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// The user whose device it is, as its token says.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The user that it wants to reach. Never `from`, and never a channel: of these, members decide.
    pub to: UserId,
    /// The kind of contact.
    pub what: ReachKind,
}

/// The ways in which a user reaches another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReachKind {
    /// A message to the user.
    Message,
    /// A change of a message of the conversation between the two: a recall, an edit, a reaction, a pin.
    Change,
    /// A signal, such as a typing notice or a call.
    Signal,
    /// The user is shown how far `from` has read the conversation between the two.
    Receipt,
    /// `from` sees when the user comes and goes. Asked of those whom [`Handler::may_watch`](super::Handler::may_watch) names.
    Presence,
}

/// The answer of a [handler](super::Handler::may_reach) that does not refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReachRights {
    /// The handler does not know. The rules of [`Handler::may_reach`](super::Handler::may_reach) decide.
    #[default]
    Undecided,
    /// `from` may reach `to`. None of the built-in rules applies.
    Granted,
}

/// Why a store did not say what is asked of several.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Said once: that the application leaves it to the built-in rules who may reach whom.
static WARNED: Once = Once::new();

/// Pairs of users of which the first has written to the second, as this process knows.
#[derive(Debug)]
pub(in crate::backend) struct Contacts {
    /// With the time at which it was noted last. `None`: it is not known.
    known: Mutex<RecentMap<(UserId, UserId), Option<Instant>>>,
    /// Whether the handler refused the last that the user wanted to say there.
    refused: Mutex<RecentMap<(UserId, Recipient), bool>>,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            known: Mutex::new(RecentMap::new(MAX_REMEMBERED)),
            refused: Mutex::new(RecentMap::new(MAX_REMEMBERED)),
        }
    }
}

impl Contacts {
    /// Whether it is known, and need not be noted again.
    fn is_known(&self, user: &UserId, contact: &UserId) -> bool {
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
}

/// What a permission to write cost. It is given back if nothing comes of it.
#[derive(Debug, Default)]
#[must_use = "what is not used is given back"]
pub(super) struct Permitted {
    /// The recipient, where it is to be noted that the user has written to it.
    contact: Option<UserId>,
    new: bool,
    unknown: bool,
}

impl Permitted {
    /// The budgets that it cost, with amounts.
    fn cost(&self) -> [(Resource, u64); 2] {
        [(Resource::NewContacts, self.new.into()), (Resource::UnknownContacts, self.unknown.into())]
    }
}

/// Asks the handler whether one may reach another.
async fn rights<H: Handler>(im: &Im, handler: &H, reach: &Reach) -> Result<ReachRights, pb::Refused> {
    asked(im, handler, reach).await.map_err(HandlerFailed::refused)?.map_err(rule)
}

async fn asked<H: Handler>(
    im: &Im,
    handler: &H,
    reach: &Reach,
) -> Result<Result<ReachRights, Refusal>, HandlerFailed> {
    let limit = im.inner.config.handler_timeout;
    Deadline::new(limit, "may_reach", &reach.from).to(&reach.to).run(|| handler.may_reach(reach)).await
}

/// Whether the handler says that one may not reach the other.
pub(super) async fn is_refused<H: Handler>(
    im: &Im,
    handler: &H,
    reach: &Reach,
) -> Result<bool, HandlerFailed> {
    Ok(asked(im, handler, reach).await?.is_err())
}

/// Whether a message of a device may go to a user.
pub(super) async fn check_message<H: Handler>(
    im: &Im,
    handler: &H,
    from: &UserId,
    device: &Device,
    to: &UserId,
) -> Result<Permitted, pb::Refused> {
    if from == to {
        return Ok(Permitted::default());
    }
    let (from, device, to) = (from.clone(), device.clone(), to.clone());
    let reach = Reach { from, device, to, what: ReachKind::Message };
    let contact = Some(reach.to.clone());
    if rights(im, handler, &reach).await? == ReachRights::Granted {
        return Ok(Permitted { contact, ..Permitted::default() });
    }
    warn_once();
    let Reach { from, to, .. } = &reach;
    if im.inner.contacts.is_known(from, to) {
        return Ok(Permitted::default());
    }
    let (new, unknown) = im.acquaintance(from, to).await?;
    let permitted = Permitted { contact, new, unknown };
    im.inner.budgets.take(from, permitted.cost()).map_err(|exhausted| {
        throttled!(info, user = %from, "a user writes to more new users than its budget has");
        too_many("the user has written to too many others for the first time", exhausted)
    })?;
    Ok(permitted)
}

/// Whether a change of a message that the two have may go to the other user.
pub(super) async fn check_change<H: Handler>(
    im: &Im,
    handler: &H,
    from: &UserId,
    device: &Device,
    to: &UserId,
) -> Result<(), pb::Refused> {
    if from == to {
        return Ok(());
    }
    let (from, device, to) = (from.clone(), device.clone(), to.clone());
    let reach = Reach { from, device, to, what: ReachKind::Change };
    // Undecided: the message is there, so that they know each other.
    rights(im, handler, &reach).await.map(drop)
}

/// Whether something for the moment may be shown to a user: a signal, or how far another one has read. `is_known`: it is known
/// already that the user has written to the other one.
pub(super) async fn may_show<H: Handler>(im: &Im, handler: &H, reach: &Reach, is_known: bool) -> bool {
    if reach.from == reach.to {
        return true;
    }
    match rights(im, handler, reach).await {
        Ok(ReachRights::Granted) => true,
        Ok(ReachRights::Undecided) => {
            warn_once();
            let to = Recipient::User(reach.to.clone());
            !im.inner.contacts.was_refused(&reach.from, &to)
                && (is_known || im.has_written(&reach.to, &reach.from).await)
        }
        Err(_) => false,
    }
}

impl Im {
    /// Whether one is new to the other, and whether the deployment has never seen the other.
    async fn acquaintance(&self, from: &UserId, to: &UserId) -> Result<(bool, bool), pb::Refused> {
        let look = async {
            let store = self.inner.cluster.conversations();
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
        if !self.locate(users, Freshness::Cached, |_| true).await?.is_empty() {
            return Ok(true);
        }
        if self.inner.cluster.last_seen().last_seen(users).await?.iter().any(|times| !times.is_empty()) {
            return Ok(true);
        }
        let ends = self.inner.cluster.log().ends(&[LogId::Inbox(user.clone())]).await?;
        Ok(ends.iter().any(|ends| ends.last > 0))
    }

    /// Whether one has written to another before.
    async fn has_written(&self, user: &UserId, to: &UserId) -> bool {
        if self.inner.contacts.is_known(user, to) {
            return true;
        }
        match self.inner.cluster.conversations().has_contact(user, to).await {
            Ok(has) => {
                if has {
                    self.inner.contacts.remember(user, to);
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
        if self.inner.contacts.is_known(from, &to) {
            return;
        }
        match self.inner.cluster.conversations().note_contact(from, &to).await {
            Ok(()) => self.inner.contacts.remember(from, &to),
            Err(error) => {
                throttled!(warn, %from, %to, %error, "it could not be noted that a user wrote to another");
            }
        }
    }

    /// Nothing was written.
    pub(super) fn give_back(&self, from: &UserId, permitted: &Permitted) {
        self.inner.budgets.give_back(from, permitted.cost());
    }
}

/// A refusal that says when to come back.
pub(super) fn too_many(reason: &str, exhausted: Exhausted) -> pb::Refused {
    refused(RefusalKind::TooMany, reason.to_owned(), exhausted.retry_after_ms())
}

fn warn_once() {
    WARNED.call_once(|| {
        tracing::warn!(
            "Handler::may_reach decides nothing, so that strangers may write to each other within \
             ImBuilder::user_budgets, and signals reach only users who have written to their sender: \
             implement it with the application's own rules"
        );
    });
}
