//! Golden bytes of everything on the wire.
//!
//! The lists in [`list`] define the messages; `vectors/frames.json` has their bytes, for clients in
//! every language (PROTOCOL.md, "Test vectors", describes the file). A change of the wire format
//! shows as a difference of that file. To update it after an intended change:
//!
//! ```sh
//! UPDATE_VECTORS=1 cargo test -p im-proto --test frames
//! ```
//!
//! | to | see |
//! | --- | --- |
//! | add a frame, or another message | [`list`]; [`sizes`] for the size of a frame |
//! | read how an example is made | [`session`], [`said`], [`asked`], [`conversations`], [`cluster`], [`kinds`] |
//! | know what fails when something was forgotten | [`completeness`] |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod asked;
mod cluster;
mod completeness;
mod conversations;
mod golden;
mod kinds;
mod lenient;
mod list;
#[path = "../pool/mod.rs"]
mod pool;
mod said;
mod server;
mod session;
mod sizes;
mod unknown_fields;
