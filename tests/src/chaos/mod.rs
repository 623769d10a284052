//! Load on a real deployment during faults, and the check that nothing is lost, duplicated or reordered.
//!
//! ```text
//!  back ends (processes) --- lanes, and what devices publish ---+
//!  im-servers (processes), Redis, NATS                          |      every report of every source
//!  devices (real clients, here or in processes) ----------------+--> Checker --> Verdict
//!  logs, read at the end ---------------------------------------+
//! ```
//!
//! The scenarios are in `tests/chaos/`.

mod backend;
mod checker;
mod deployment;
mod device;
mod dropping;
mod fleet;
pub mod lines;
mod load;
mod outcome;
mod process;
mod profile;
mod run;
mod stamp;
mod state;
mod tail;

pub use backend::{Backend, BackendSetup};
pub use checker::{Allowed, Checker, Seen, Told, Verdict, Violation};
pub use deployment::{Deployment, DeploymentOptions, Links, log_bounds};
pub use device::{DeviceSetup, Wish, device_logs, device_stamp};
pub use dropping::DroppingBus;
pub use fleet::Fleet;
pub use load::{Lane, Share, load_group, load_user};
pub use outcome::Outcome;
pub use process::{DEVICES_PER_PROCESS, DeviceArgument, DeviceProcess, ProcessSetup};
pub use profile::Profile;
pub use run::{Chaos, Scenario};
pub use stamp::{NoStamp, Stamp};
pub use state::DeviceState;
