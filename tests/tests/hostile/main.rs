//! Hostile users, wrong clocks and full stores: each is refused or bounded, and nobody else notices. Each attack runs against
//! processes with the settings that they have by default, beside a [bystander](im_tests::Bystander) whose latencies and losses are
//! measured, as is the memory of the processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step of a test is a panic"
)]

mod acks;
mod arena;
mod budgets;
mod clocks;
mod eviction;
mod fence;
mod full_store;
mod ghosts;
mod log_lines;
mod presence;
mod reading;
mod search;
mod signals;
mod strangers;
mod syncs;
mod words;
