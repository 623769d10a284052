//! Rooms of the backend. `cli-chat` itself shows none: they are for other clients of this server, and for the tests of the
//! bindings.

use im_sdk::{
    backend::{Acceptance, Durability, Im, Incoming, Message, Refusal, RoomJoin, RoomWelcome},
    content::Body,
};

use crate::serve::failed;

/// The rooms have names that begin so.
const PREFIX: &str = "room-";

/// The number of earlier messages that come with a join.
const RECENT: usize = 20;

/// The code of the refusal of a join.
const NO_ROOM: i32 = 4;

/// A message of this kind counts as a like. The sums are messages of the same kind.
const LIKE: &str = "cli-chat.like";

/// A message of this kind removes a user from the room. Its data is the user's id.
const KICK: &str = "cli-chat.kick";

/// Lets all users into all rooms. A product would check whether they may enter.
///
/// # Errors
/// [`Refusal`] if the name is not that of a room.
pub(crate) fn join(join: &RoomJoin) -> Result<RoomWelcome, Refusal> {
    if join.channel.as_str().starts_with(PREFIX) {
        Ok(RoomWelcome::new().with_answer("be kind").with_recent(RECENT))
    } else {
        Err(Refusal::new(format!("{} is no room: names of rooms begin with {PREFIX}", join.channel))
            .with_code(NO_ROOM))
    }
}

/// Handles a message to a room. Likes are counted, and everything else is logged for those who join later.
///
/// # Errors
/// [`Refusal`] if the message cannot be handled.
pub(crate) async fn publish(im: &Im, incoming: Incoming) -> Result<Acceptance, Refusal> {
    let room = incoming.to.as_channel().map(|channel| im.room(channel));
    match (&incoming.content.body, room) {
        (Body::Custom(custom), Some(room)) if custom.kind == LIKE => {
            room.count(LIKE, 1).map_err(failed)?;
            Ok(Acceptance::handled())
        }
        // A product would check whether the sender may do this.
        (Body::Custom(custom), Some(room)) if custom.kind == KICK => {
            let user = String::from_utf8_lossy(&custom.data);
            room.kick(&*user, &format!("{} has removed you", incoming.from)).await.map_err(failed)?;
            Ok(Acceptance::handled())
        }
        _ => {
            let message = Message::to(incoming.to).from(&incoming.from).content(incoming.content);
            Ok(Acceptance::send(message.durability(Durability::Logged)))
        }
    }
}
