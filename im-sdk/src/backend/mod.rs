//! What business code links: [`Im`] sends to users wherever they are, and serves what their devices publish.
//!
//! ```no_run
//! use im_sdk::{backend::{Im, Message, user}, cluster::ClusterConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let im = Im::connect(ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"])).await?;
//! let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
//! println!("message {} reached {} devices", receipt.message_id, receipt.pushed.len());
//! # Ok(())
//! # }
//! ```

mod acks;
mod append;
mod directory;
mod ids;
mod im;
mod message;
mod presence;
mod publisher;
mod receipt;
mod send;
mod service;

pub use acks::{AckError, AckOutcome, AckReport, DeviceState};
pub use ids::IdError;
pub use im::{Im, ImConfig, StartError};
pub use message::{Durability, Message, Target, user, users};
pub use presence::{Endpoint, KickError, OnlineDevice, PresenceError};
pub use receipt::{Receipt, UserDevice};
pub use send::SendError;
pub use service::{Acceptance, Handler, Incoming, Refusal, ServeError, Service};

pub use crate::cluster::{DeviceAck, LogId};
pub use crate::token::{SigningKey, TokenMinter};
