//! Attacks, wrong clocks and full stores: each is refused or bounded, and nobody else notices.
//!
//! Each attack runs against processes with default settings, beside a [bystander](im_tests::Bystander) whose latencies
//! and losses are measured. So is the memory of the processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step of a test is a panic"
)]

mod arena;
mod expensive_reads;
mod expensive_searches;
mod foreign_acks;
mod forged_quotes;
mod full_redis;
mod log_eviction;
mod log_lines;
mod presence_flapping;
mod publish_floods;
mod removed_members;
mod signal_floods;
mod skewed_clocks;
mod sync_floods;
mod unauthenticated;
mod unknown_users;
