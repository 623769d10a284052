//! Channels: groups with members, and rooms that devices join by themselves.

pub(super) mod channel;
pub(super) mod room;
pub(super) mod room_counters;
