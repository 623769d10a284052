//! What can be measured.

mod delivery;
mod idle;
mod storm;

pub(crate) use self::{delivery::Delivery, idle::Idle, storm::Storm};
