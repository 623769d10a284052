//! Checks whom a user's devices may reach. The handler decides, or safe rules if it does not.

use std::sync::Once;

use super::{
    Handler, Refusal,
    budget::Exhausted,
    call::{Deadline, HandlerFailed},
    contacts::Permitted,
    context::ServiceContext,
    response::{refused, rule},
};
use crate::{
    Recipient,
    id::{Device, UserId},
    log_throttle::throttled,
    proto::{pb, pb::RefusalKind},
};

/// A request of a user's device to reach another user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// The user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The other user. Never `from`, and never a channel, whose members are checked instead.
    pub to: UserId,
    /// The kind of contact.
    pub what: ReachKind,
}

/// The kinds of contact between users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReachKind {
    /// A message to the user.
    Message,
    /// A change of a message of the conversation between the two: a recall, an edit, a reaction, a pin.
    Change,
    /// A signal, such as a typing notice or a call.
    Signal,
    /// The user is shown how far `from` has read their conversation.
    Receipt,
    /// `from` sees the presence of the user. Asked for users that
    /// [`Handler::may_watch`](super::Handler::may_watch) names.
    Presence,
}

/// The answer of a [handler](super::Handler::may_reach) that does not refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReachRights {
    /// Undecided: the rules of [`Handler::may_reach`](super::Handler::may_reach) apply.
    #[default]
    Undecided,
    /// `from` may reach `to`. None of the built-in rules applies.
    Granted,
}

/// Logs once that the application leaves the decision to the built-in rules.
static WARNED: Once = Once::new();

/// Asks the handler whether one user may reach another.
async fn rights<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    reach: &Reach,
) -> Result<ReachRights, pb::Refused> {
    asked(context, handler, reach).await.map_err(HandlerFailed::refused)?.map_err(rule)
}

async fn asked<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    reach: &Reach,
) -> Result<Result<ReachRights, Refusal>, HandlerFailed> {
    let limit = context.settings.handler_timeout;
    Deadline::new(limit, "may_reach", &reach.from).to(&reach.to).run(|| handler.may_reach(reach)).await
}

/// Returns `true` if the handler refuses.
pub(super) async fn is_refused<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    reach: &Reach,
) -> Result<bool, HandlerFailed> {
    Ok(asked(context, handler, reach).await?.is_err())
}

/// Checks whether a message of a device may go to a user.
pub(super) async fn check_message<H: Handler>(
    context: &ServiceContext,
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
    if rights(context, handler, &reach).await? == ReachRights::Granted {
        return Ok(Permitted { contact, ..Permitted::default() });
    }
    warn_once();
    let Reach { from, to, .. } = &reach;
    if context.contacts.is_known(from, to) {
        return Ok(Permitted::default());
    }
    let (new, unknown) = context.contacts.acquaintance(from, to).await?;
    let permitted = Permitted { contact, new, unknown };
    context.budgets.take(from, permitted.cost()).map_err(|exhausted| {
        throttled!(info, user = %from, "a user writes to more new users than its budget has");
        too_many("the user has written to too many others for the first time", exhausted)
    })?;
    Ok(permitted)
}

/// Checks whether a change of their message may go to the other user.
pub(super) async fn check_change<H: Handler>(
    context: &ServiceContext,
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
    // Undecided is enough: the message exists, so they know each other.
    rights(context, handler, &reach).await.map(drop)
}

/// Checks whether a signal or a read mark may be shown to a user. With `is_known`, the user is
/// known to have written to the other one.
pub(super) async fn may_show<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    reach: &Reach,
    is_known: bool,
) -> bool {
    if reach.from == reach.to {
        return true;
    }
    match rights(context, handler, reach).await {
        Ok(ReachRights::Granted) => true,
        Ok(ReachRights::Undecided) => {
            warn_once();
            let to = Recipient::User(reach.to.clone());
            !context.contacts.was_refused(&reach.from, &to)
                && (is_known || context.contacts.has_written(&reach.to, &reach.from).await)
        }
        Err(_) => false,
    }
}

/// Builds a refusal with the time of the next attempt.
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
