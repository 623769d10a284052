//! A handler with a separate rule for contacts.

use super::{
    Acceptance, DeviceRequest, Handler, Incoming, IncomingSignal, LoggedPublish, PresenceEvent, Reach,
    ReachRights, Refusal, Relay, RoomJoin, RoomWelcome,
};
use crate::{
    backend::{ChangeRights, IncomingChange, Marked},
    cluster::DeviceAck,
    id::UserId,
};

/// A handler, mostly a closure, with a rule that is its [`Handler::may_reach`]. All other methods
/// are the handler's own.
///
/// ```no_run
/// # async fn are_friends(a: &im_sdk::id::UserId, b: &im_sdk::id::UserId) -> bool { true }
/// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
/// use im_sdk::backend::{Incoming, Reach, ReachRights, ReachRule, Refusal};
///
/// let said = |incoming: Incoming| async move { Ok(incoming.accept()) };
/// let reached = |reach: Reach| async move {
///     match are_friends(&reach.from, &reach.to).await {
///         true => Ok(ReachRights::Granted),
///         false => Err(Refusal::new("you are not friends").with_code(3)),
///     }
/// };
/// let service = im.serve(ReachRule::new(said, reached)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReachRule<H, R> {
    handler: H,
    rule: R,
}

impl<H, R, F> ReachRule<H, R>
where
    H: Handler,
    R: Fn(Reach) -> F + Send + Sync + 'static,
    F: Future<Output = Result<ReachRights, Refusal>> + Send,
{
    /// Combines a handler and a rule.
    pub fn new(handler: H, rule: R) -> Self {
        Self { handler, rule }
    }
}

impl<H, R, F> Handler for ReachRule<H, R>
where
    H: Handler,
    R: Fn(Reach) -> F + Send + Sync + 'static,
    F: Future<Output = Result<ReachRights, Refusal>> + Send,
{
    fn publish(&self, incoming: Incoming) -> impl Future<Output = Result<Acceptance, Refusal>> + Send {
        self.handler.publish(incoming)
    }

    fn join_room(&self, join: RoomJoin) -> impl Future<Output = Result<RoomWelcome, Refusal>> + Send {
        self.handler.join_room(join)
    }

    fn may_reach(&self, reach: &Reach) -> impl Future<Output = Result<ReachRights, Refusal>> + Send {
        (self.rule)(reach.clone())
    }

    fn signal(&self, signal: IncomingSignal) -> impl Future<Output = Option<Relay>> + Send {
        self.handler.signal(signal)
    }

    fn presence(&self, event: PresenceEvent) -> impl Future<Output = ()> + Send {
        self.handler.presence(event)
    }

    fn may_watch(&self, watcher: UserId, users: Vec<UserId>) -> impl Future<Output = Vec<UserId>> + Send {
        self.handler.may_watch(watcher, users)
    }

    fn change(
        &self,
        incoming: &IncomingChange,
    ) -> impl Future<Output = Result<ChangeRights, Refusal>> + Send {
        self.handler.change(incoming)
    }

    fn may_request(&self, request: &DeviceRequest) -> impl Future<Output = Result<(), Refusal>> + Send {
        self.handler.may_request(request)
    }

    fn logged(&self, message: LoggedPublish) -> impl Future<Output = ()> + Send {
        self.handler.logged(message)
    }

    fn acked(&self, ack: DeviceAck) -> impl Future<Output = ()> + Send {
        self.handler.acked(ack)
    }

    fn marked(&self, marked: Marked) -> impl Future<Output = ()> + Send {
        self.handler.marked(marked)
    }
}
