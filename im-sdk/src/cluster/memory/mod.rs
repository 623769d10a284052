//! All parts of a cluster inside this process, for development, tests and small products. Nothing
//! outlives the process.

mod acks;
mod archive_queue;
mod bus;
mod conversations;
mod last_seen;
mod log;
mod members;
mod routes;

pub use self::{
    archive_queue::MemoryArchiveQueue, bus::MemoryBus, conversations::MemoryConversations,
    last_seen::MemoryLastSeen, log::MemoryLog, members::MemoryMembers, routes::MemoryRoutes,
};
