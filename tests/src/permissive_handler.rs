//! A back end that allows nearly everything, and waits for signals, presence and rooms.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use im_sdk::{
    UserPresence,
    backend::{
        Acceptance, Handler, Im, Incoming, IncomingSignal, PresenceEvent, Reach, ReachRights, Refusal, Relay,
        RoomJoin, RoomWelcome, Service,
    },
    client::{Event, ReceivedSignal, RoomLeftCause},
    id::{ChannelId, UserId},
};

use crate::{Stack, TestClient, Via};

/// A handler that allows everything, except rooms whose names begin with `closed` and users whose names
/// begin with `hidden`.
#[derive(Clone, Debug, Default)]
pub struct PermissiveHandler {
    /// Refuses every join from now on.
    pub shut: Arc<AtomicBool>,
    /// Users who came online (`true`) or went offline (`false`), in order.
    pub events: Arc<Mutex<Vec<(UserId, bool)>>>,
    /// Number of recent messages that a join returns.
    pub recent: usize,
}

impl PermissiveHandler {
    /// Serves with this handler.
    pub async fn serve(&self, im: &Im) -> Service {
        im.serve(self.clone()).await.expect("the service starts")
    }

    /// Returns how often a user came online, or went offline.
    pub fn count(&self, user: &str, online: bool) -> usize {
        let events = self.events.lock().expect("no thread panicked");
        events.iter().filter(|(name, came)| name.as_str() == user && *came == online).count()
    }
}

impl Handler for PermissiveHandler {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn join_room(&self, join: RoomJoin) -> Result<RoomWelcome, Refusal> {
        if join.channel.as_str().starts_with("closed") || self.shut.load(Ordering::Relaxed) {
            return Err(Refusal::new("the room is closed").with_code(7));
        }
        let answer = format!("{}/{} {}", join.user, join.device, String::from_utf8_lossy(&join.data));
        Ok(RoomWelcome::new().with_answer(answer.into_bytes()).with_recent(self.recent))
    }

    async fn may_reach(&self, _: &Reach) -> Result<ReachRights, Refusal> {
        Ok(ReachRights::Granted)
    }

    async fn signal(&self, signal: IncomingSignal) -> Option<Relay> {
        let hidden = signal.to.as_user().is_some_and(|user| user.as_str().starts_with("hidden"));
        (!hidden).then(|| signal.relay())
    }

    async fn presence(&self, event: PresenceEvent) {
        self.events.lock().expect("no thread panicked").push((event.user, event.online));
    }

    async fn may_watch(&self, _: UserId, users: Vec<UserId>) -> Vec<UserId> {
        users.into_iter().filter(|user| !user.as_str().starts_with("hidden")).collect()
    }
}

/// Connects a device and waits until it is up to date.
pub async fn device(stack: &Stack, user: &str, device: &str, server: usize, via: Via) -> TestClient {
    let mut client = stack.connect(user, device, server, via).await;
    client.up_to_date().await;
    client
}

/// Waits for the next signal.
pub async fn signal(client: &mut TestClient) -> ReceivedSignal {
    client
        .next("a signal", |event| match event {
            Event::Signal(signal) => Some(signal.clone()),
            _ => None,
        })
        .await
}

/// Waits until a user's presence is as wanted, and returns it.
pub async fn presence(
    client: &mut TestClient,
    user: &str,
    wanted: impl Fn(&UserPresence) -> bool,
) -> UserPresence {
    let what = format!("a presence of {user}");
    client
        .next(&what, |event| match event {
            Event::Presence(presence) if presence.user.as_str() == user && wanted(presence) => {
                Some(presence.clone())
            }
            _ => None,
        })
        .await
}

/// Waits until the device has left a room, and returns why.
pub async fn room_left(client: &mut TestClient, room: &ChannelId) -> (RoomLeftCause, String) {
    client
        .next("out of a room", |event| match event {
            Event::RoomLeft { channel, cause, reason, .. } if channel == room => {
                Some((*cause, reason.clone()))
            }
            _ => None,
        })
        .await
}
