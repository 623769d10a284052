//! How much load, and for how long.

use std::time::Duration;

/// How much load, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Whether it is the full one.
    pub full: bool,
    /// How many devices, each of its own user.
    pub devices: usize,
    /// How many messages in a second must be reached.
    pub rate: f64,
    /// The shortest time that a scenario's load takes.
    pub seconds: f64,
    /// How long servers' leases last.
    pub lease: Duration,
    /// How often devices must send something.
    pub heartbeat: Duration,
}

impl Profile {
    /// The one that `TEST_PROFILE` names. The full one needs a release build: `tests/run.sh --full` makes one.
    pub fn from_environment() -> Self {
        let full = std::env::var("TEST_PROFILE").is_ok_and(|profile| profile == "full");
        if full && !cfg!(debug_assertions) { Self::full() } else { Self::short() }
    }

    /// 2,000 messages in a second to 200 devices, for a minute at least.
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

    /// Some seconds each, for every change.
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

    /// How long a send waits for servers: the default, or less.
    pub fn send_timeout(&self) -> Duration {
        self.either(5.0, 1.0)
    }

    /// One time in the full profile, another one in the short one.
    pub fn either(&self, full: f64, short: f64) -> Duration {
        Duration::from_secs_f64(if self.full { full } else { short })
    }
}
