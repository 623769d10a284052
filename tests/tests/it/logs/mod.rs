//! The logs behind every conversation: cursors, resets, archiving, and faults of their stores.

mod archive;
mod cursors_and_resets;
mod faults;
