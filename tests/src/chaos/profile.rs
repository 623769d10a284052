//! Amount and duration of the load.

use std::time::Duration;

/// Amount and duration of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Set for the full profile.
    pub full: bool,
    /// Number of devices, each of its own user.
    pub devices: usize,
    /// Required number of messages per second.
    pub rate: f64,
    /// Minimum duration of a scenario's load.
    pub seconds: f64,
    /// Lease of the servers.
    pub lease: Duration,
    /// Heartbeat of devices.
    pub heartbeat: Duration,
}

impl Profile {
    /// Returns the profile in `TEST_PROFILE`. The full one needs a release build, as `tests/run.sh --full` makes it.
    pub fn from_environment() -> Self {
        let full = std::env::var("TEST_PROFILE").is_ok_and(|profile| profile == "full");
        if full && !cfg!(debug_assertions) { Self::full() } else { Self::short() }
    }

    /// Returns the full profile: 2,000 messages per second to 200 devices for at least a minute.
    pub fn full() -> Self {
        Self {
            full: true,
            devices: 200,
            rate: 2000.0,
            seconds: 60.0,
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
        }
    }

    /// Returns the short profile: some seconds per scenario, for every change.
    pub fn short() -> Self {
        Self {
            full: false,
            devices: 30,
            rate: 200.0,
            seconds: 2.5,
            lease: Duration::from_secs(1),
            heartbeat: Duration::from_millis(500),
        }
    }

    /// Returns the time that a send waits for servers: the default, or less.
    pub fn send_timeout(&self) -> Duration {
        self.either(5.0, 1.0)
    }

    /// Returns one time in the full profile, another one in the short one.
    pub fn either(&self, full: f64, short: f64) -> Duration {
        Duration::from_secs_f64(if self.full { full } else { short })
    }
}
