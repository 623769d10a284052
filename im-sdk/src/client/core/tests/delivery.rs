//! Delivery despite failures of the network, the servers and the process. The application sees every entry of a log once and in order, or
//! an explicit reset first. After a crash, it sees entries again from its last acknowledgement. Every taken send is published once, even if
//! the device's store is replaced by a backup.

mod application;
mod backend;
mod vectors;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use self::{
    application::Application,
    backend::{Backend, left},
    world::World,
};
use super::*;

const CHANNELS: [&str; 3] = ["", "red", "blue"];

#[derive(Clone, Debug)]
enum Step {
    Append(usize, u8),
    Trim(usize, usize),
    RollBack(usize, u64),
    Leave(usize),
    Rejoin(usize),
    Deliver(usize),
    Process(u32),
    Send,
    Pass(u32),
    Hint,
    Break,
    Reading(bool),
    Crash,
    BackUp,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let log = 0..CHANNELS.len();
    prop_oneof![
        12 => (log.clone(), 1..20_u8).prop_map(|(log, count)| Step::Append(log, count)),
        1 => (log.clone(), 0..30_usize).prop_map(|(log, keep)| Step::Trim(log, keep)),
        1 => (1..CHANNELS.len()).prop_map(Step::Leave),
        2 => (1..CHANNELS.len()).prop_map(Step::Rejoin),
        1 => (log, 1..6_u64).prop_map(|(log, by)| Step::RollBack(log, by)),
        12 => (1..60_usize).prop_map(Step::Deliver),
        6 => (0..=100_u32).prop_map(Step::Process),
        4 => Just(Step::Send),
        6 => (0..2000_u32).prop_map(Step::Pass),
        1 => Just(Step::Hint),
        1 => Just(Step::Break),
        1 => any::<bool>().prop_map(Step::Reading),
        1 => Just(Step::Crash),
        1 => Just(Step::BackUp),
        1 => Just(Step::Restore),
    ]
}

fn take(world: &mut World, step: Step) {
    let now = world.test.now;
    match step {
        Step::Append(log, count) => {
            for _ in 0..count {
                world.append(CHANNELS[log]);
            }
        }
        Step::Trim(log, keep) => world.backend.trim(CHANNELS[log], keep),
        Step::RollBack(log, by) => world.roll_back(CHANNELS[log], by),
        Step::Leave(log) => world.leave(CHANNELS[log]),
        Step::Rejoin(log) => world.rejoin(CHANNELS[log]),
        Step::Deliver(count) => world.deliver(count),
        Step::Process(acknowledge) => world.process(acknowledge),
        Step::Send => world.send(),
        Step::Pass(millis) => {
            world.tell_of_rollbacks();
            world.test.pass(MS * millis);
            world.serve();
        }
        Step::Hint => {
            world.test.receive(pb::frame::Body::SyncHint(pb::SyncHint { within_ms: 500, rolled_back: false }))
        }
        Step::Break => {
            world.test.broken();
            world.wire.clear();
        }
        Step::Reading(reading) => world.test.core.handle_reading(now, reading),
        Step::Crash => world.crash(),
        Step::BackUp => world.back_up(),
        Step::Restore => world.restore(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_once_and_in_order_or_a_reset(seed: u64, steps in proptest::collection::vec(step(), 0..200)) {
        let mut world = World::new(seed);
        world.serve();
        for step in steps {
            take(&mut world, step);
        }
        world.test.core.handle_reading(world.test.now, true);
        world.heal();
        world.check();
    }
}
