//! An instant-messaging SDK: [`cluster`] joins processes, `backend` is what business code links, `client` what devices
//! link.

pub use im_proto as proto;
pub use im_proto::id;

#[cfg(feature = "backend")]
pub mod backend;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
mod content;
#[cfg(feature = "cluster")]
pub mod token;

pub use content::Content;
