//! Asks devices to leave, one after another, so that the other servers receive them gradually.

use std::time::{Duration, Instant};

use bytes::Bytes;
use im_proto::{frame, pb};
use tokio::time::sleep_until;

use crate::registry::Registry;

/// The share of the grace period over which `GoAway` is spread. The rest is for the last devices to leave.
const SPREAD: f64 = 0.8;

/// The minimum time that each device has to leave. It leaves at a random moment, or later if results of its publishes are in
/// flight. The time is shorter if the rest of the grace period is not twice as long.
const LEAST_WINDOW: Duration = Duration::from_secs(1);

/// Sends `GoAway` to all connections, spread evenly.
pub(super) async fn ask_to_leave(registry: &Registry, grace: Duration) {
    let started = Instant::now();
    let connections = registry.all();
    let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
    let plan = Plan::new(grace, count);
    let go_away = plan.go_away();
    for (index, connection) in (0..count).zip(connections) {
        sleep_until((started + plan.step * index).into()).await;
        connection.outbox.try_push(go_away.clone());
    }
}

/// The schedule of a drain.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The time between two devices.
    step: Duration,
    /// The time that each device has.
    window: Duration,
}

impl Plan {
    fn new(grace: Duration, connections: u32) -> Self {
        let spread = grace.mul_f64(SPREAD);
        let step = spread / connections.max(1);
        let rest = grace.saturating_sub(spread);
        Self { step, window: step.max(LEAST_WINDOW.min(rest / 2)) }
    }

    fn go_away(&self) -> Bytes {
        let within = u32::try_from(self.window.as_millis()).unwrap_or(u32::MAX);
        frame::encode(pb::frame::Body::GoAway(pb::GoAway { reconnect_within_ms: within }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_left_by_the_end() {
        let plan = |grace, connections| {
            let Plan { step, window } = Plan::new(Duration::from_millis(grace), connections);
            (step.as_millis(), window.as_millis())
        };
        assert_eq!(plan(20_000, 1), (16_000, 16_000));
        assert_eq!(plan(20_000, 10), (1600, 1600));
        assert_eq!(plan(20_000, 100_000), (0, 1000), "time for what is on its way");
        assert_eq!(plan(5000, 100), (40, 500), "and none for who is asked last to be closed instead");
        assert_eq!(plan(0, 10), (0, 0));
        assert_eq!(plan(20_000, 0), (16_000, 16_000));
    }
}
