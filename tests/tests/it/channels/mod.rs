//! Groups and rooms: joining, leaving, sending, catching up.

mod cursors;
mod fan_out;
mod group_lifecycle;
mod joins;
mod rooms;
mod sends;
mod sync_order;
