//! The application as browsers, other devices and attackers see it: the program itself, over HTTP and the SDK.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

mod cluster;
mod files;
mod groups;
mod harness;
mod people;
mod sessions;
