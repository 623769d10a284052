//! Requests of devices to join and leave rooms, and to watch presence.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;

use super::{
    Handler,
    call::{Deadline, HandlerFailed},
    context::ServiceContext,
    reach::{Reach, ReachKind, is_refused},
    request::{RequestKind, Requests},
    requester::Requester,
    response::{RETRY_MS, answer as answer_frame, fit, refused, response, rule},
};
use crate::{
    Conversation, HistoryQuery, UserPresence,
    backend::{channels::room::in_room, history::Shows},
    cluster::ReadLimit,
    id::{ChannelId, Device, UserId},
    log_throttle::throttled,
    proto::{
        frame,
        limits::{MAX_FRAME_BYTES, MAX_RECENT, MAX_WATCHED_USERS},
        pb,
        pb::{RefusalKind, record::Effect},
    },
};

/// The bytes of a frame of presences beside the presences.
const FRAME_OVERHEAD: usize = 64;

/// A device's request to join a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomJoin {
    /// The user, from the device's token.
    pub user: UserId,
    /// The device.
    pub device: Device,
    /// The room.
    pub channel: ChannelId,
    /// Data of the application from the device.
    pub data: Bytes,
}

/// The handler's permission to join a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the handler returns it"]
pub struct RoomWelcome {
    answer: Bytes,
    recent: usize,
}

impl RoomWelcome {
    /// Lets the device in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends these bytes to the device.
    pub fn with_answer(mut self, answer: impl Into<Bytes>) -> Self {
        self.answer = answer.into();
        self
    }

    /// Sends the last messages of the room's log to the device, at most 200 and no more than fit
    /// into a frame. The log has messages with a durability other than
    /// [`Durability::Transient`](crate::backend::Durability::Transient).
    pub fn with_recent(mut self, count: usize) -> Self {
        self.recent = count;
        self
    }
}

impl<H: Handler> Requests<H> {
    pub(super) async fn join_room(
        &self,
        requester: &Requester,
        number: u64,
        join: pb::JoinRoom,
    ) -> Result<Bytes, pb::Refused> {
        let channel = parse(&join.channel)?;
        let (user, device) = (requester.user.clone(), requester.device.clone());
        let asked = RoomJoin { user, device, channel: channel.clone(), data: join.data };
        let limit = self.context.settings.handler_timeout;
        let call = Deadline::new(limit, "join_room", &requester.user).to(&channel);
        let joined = call.run(|| self.handler.join_room(asked)).await.map_err(HandlerFailed::refused)?;
        let RoomWelcome { answer, recent } = joined.map_err(rule)?;
        if !self
            .context
            .dispatcher
            .perform(&requester.server, requester.connection, Effect::Join(in_room(&channel)))
            .await
        {
            let reason = "the server could not join the connection: it is in too many rooms, or try again";
            return Err(refused(RefusalKind::Unavailable, reason.to_owned(), RETRY_MS));
        }
        // After the join, since messages that are appended from here on are pushed.
        let recent = self.recent(requester, &channel, recent, answer.len()).await?;
        let online = self.context.dispatcher.count_online(&channel).await.unwrap_or_else(|error| {
            tracing::debug!(%channel, %error, "cannot count the devices in a room");
            1
        });
        let joined_room = Some(pb::RawJoinedRoom { online, answer, recent });
        let frame = answer_frame(pb::RawResponse { number, joined_room, ..Default::default() });
        if frame.len() > MAX_FRAME_BYTES {
            throttled!(error, %channel, "the handler's answer to a join is too large");
            let reason = "the backend's answer is too large".to_owned();
            return Err(refused(RefusalKind::Internal, reason, 0));
        }
        Ok(frame)
    }

    /// Reads the end of the room's log.
    async fn recent(
        &self,
        requester: &Requester,
        channel: &ChannelId,
        count: usize,
        taken: usize,
    ) -> Result<Vec<pb::RawPush>, pb::Refused> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let conversation = Conversation::Channel(channel.clone());
        let newest = HistoryQuery::newest();
        let limit = ReadLimit::new(count.min(MAX_RECENT)).with_bytes(MAX_FRAME_BYTES);
        let read = self.context.history.read_conversation(
            &requester.user,
            &conversation,
            &newest,
            limit,
            Shows::Messages,
        );
        let page = read.await;
        let page = page.map_err(|error| {
            throttled!(warn, %channel, %error, "cannot read the last messages of a room");
            let reason = "what was said last could not be read".to_owned();
            refused(RefusalKind::Unavailable, reason, RETRY_MS)
        })?;
        Ok(fit(page, &conversation, false, FRAME_OVERHEAD + taken).entries)
    }

    pub(super) async fn leave_room(
        &self,
        requester: &Requester,
        number: u64,
        leave: pb::LeaveRoom,
    ) -> Result<Bytes, pb::Refused> {
        let channel = parse(&leave.channel)?;
        if !self
            .context
            .dispatcher
            .perform(&requester.server, requester.connection, Effect::Leave(in_room(&channel)))
            .await
        {
            let reason = "the server did not answer in time".to_owned();
            return Err(refused(RefusalKind::Unavailable, reason, RETRY_MS));
        }
        Ok(response(number, pb::response::Outcome::Done(pb::Done {})))
    }

    pub(super) async fn watch(
        &self,
        requester: &Requester,
        number: u64,
        watch: pb::Watch,
    ) -> Result<Bytes, pb::Refused> {
        if watch.users.len() > MAX_WATCHED_USERS {
            let reason = format!("more than {MAX_WATCHED_USERS} users cannot be watched");
            return Err(refused(RefusalKind::Invalid, reason, 0));
        }
        let users: Result<Vec<UserId>, _> = watch.users.iter().map(|user| UserId::parse(user)).collect();
        let mut users = users.map_err(|error| refused(RefusalKind::Invalid, error.to_string(), 0))?;
        let mut seen = HashSet::new();
        users.retain(|user| seen.insert(user.clone()));
        self.permit(requester, RequestKind::Watch(users.clone())).await?;
        let users = visible(&self.context, &*self.handler, &requester.user, &requester.device, users)
            .await
            .map_err(HandlerFailed::refused)?;
        let channels = users.iter().map(|user| ChannelId::presence_of(user).to_string()).collect();
        let watched = pb::Channels { channels, kind: pb::JoinKind::Watch.into(), only: true, pass: 0 };
        if !self
            .context
            .dispatcher
            .perform(&requester.server, requester.connection, Effect::Join(watched))
            .await
        {
            let reason = "the server did not answer in time".to_owned();
            return Err(refused(RefusalKind::Unavailable, reason, RETRY_MS));
        }
        // After the join, since changes from here on are pushed.
        let presences = self.context.devices.presence(&users).await.map_err(|error| {
            throttled!(warn, user = %requester.user, %error, "cannot read presence");
            refused(RefusalKind::Unavailable, "cannot read presence".to_owned(), RETRY_MS)
        })?;
        Ok(presences_frames(number, presences))
    }
}

/// The number of handlers that are asked at once whether a user may see another one.
const PARALLEL: usize = 16;

/// Returns the users that a user may watch: itself, and those that the handler names and lets it
/// reach.
pub(in crate::backend) async fn visible<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    watcher: &UserId,
    device: &Device,
    users: Vec<UserId>,
) -> Result<Vec<UserId>, HandlerFailed> {
    let own = users.contains(watcher).then(|| watcher.clone());
    let others: Vec<UserId> = users.into_iter().filter(|user| user != watcher).collect();
    let asked: HashSet<UserId> = others.iter().cloned().collect();
    let mut visible = if others.is_empty() {
        Vec::new()
    } else {
        let call = Deadline::new(context.settings.handler_timeout, "may_watch", watcher);
        call.run(|| handler.may_watch(watcher.clone(), others)).await?
    };
    let mut told = HashSet::new();
    visible.retain(|user| asked.contains(user) && told.insert(user.clone()));
    let reached = stream::iter(visible).map(async |to| {
        let (from, device) = (watcher.clone(), device.clone());
        let reach = Reach { from, device, to, what: ReachKind::Presence };
        is_refused(context, handler, &reach).await.map(|refused| (!refused).then_some(reach.to))
    });
    let reached: Vec<Option<UserId>> = reached.buffered(PARALLEL).try_collect().await?;
    Ok(reached.into_iter().flatten().chain(own).collect())
}

/// Encodes the response with as many presences as fit, and a frame before it for each of the
/// others.
fn presences_frames(number: u64, presences: Vec<UserPresence>) -> Bytes {
    let mut frames = Vec::new();
    let (mut fitting, mut bytes) = (Vec::new(), FRAME_OVERHEAD);
    for presence in presences.into_iter().map(pb::Presence::from) {
        bytes += presence.encoded_len() + 4;
        if bytes <= MAX_FRAME_BYTES {
            fitting.push(presence);
        } else {
            frames.extend_from_slice(&frame::encode(pb::frame::Body::Presence(presence)));
        }
    }
    let presences = pb::Presences { presences: fitting };
    frames.extend_from_slice(&response(number, pb::response::Outcome::Presences(presences)));
    frames.into()
}

fn parse(channel: &str) -> Result<ChannelId, pb::Refused> {
    ChannelId::parse(channel).map_err(|error| refused(RefusalKind::Invalid, error.to_string(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Terminal;

    #[test]
    fn presences_that_do_not_fit_come_one_by_one() {
        let times: Vec<(Terminal, u64)> =
            Terminal::ALL.iter().map(|terminal| (*terminal, u64::MAX >> 20)).collect();
        let presence = |number: usize| {
            let user = UserId::parse(&format!("{number:064}")).unwrap();
            UserPresence::new(user, &Terminal::ALL, &times)
        };
        for count in [0, 1, MAX_WATCHED_USERS] {
            let frames = presences_frames(u64::MAX, (0..count).map(presence).collect());
            let mut users = 0;
            for frame in frame::split(frames, MAX_FRAME_BYTES) {
                match frame::decode(frame.unwrap()).unwrap().unwrap() {
                    pb::frame::Body::Presence(_) => users += 1,
                    pb::frame::Body::Response(pb::Response {
                        outcome: Some(pb::response::Outcome::Presences(presences)),
                        ..
                    }) => users += presences.presences.len(),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(users, count);
        }
    }
}
