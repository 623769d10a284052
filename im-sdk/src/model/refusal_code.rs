//! Codes of refusals that the SDK itself decides.
//!
//! They are negative; codes of an application are 0 or more, so that the two are never confused. A
//! client finds them in the `code` of a refusal of the kind `Rule`.
//!
//! ```
//! use im_sdk::refusal_code;
//! assert!(refusal_code::NOT_A_MEMBER < 0);
//! ```

/// The user is not a member of the channel, and the device not in the room.
pub const NOT_A_MEMBER: i32 = -1;

/// The backends' `ChangePolicy` does not allow the change: the message is too old or another
/// user's, or such changes are switched off.
pub const CHANGE_NOT_ALLOWED: i32 = -2;

/// The user has the maximum number of reactions to the message.
pub const TOO_MANY_REACTIONS: i32 = -3;

/// The backend has no rooms: its handler has no `join_room`.
pub const NO_SUCH_ROOM: i32 = -4;
