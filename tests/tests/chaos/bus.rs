//! Back ends and the bus between them and the servers.

use std::time::Duration;

use im_tests::chaos::{Allowed, Chaos, Profile, Scenario};

/// Kills a back end while it sends, and starts another one for the rest of the time.
async fn replace_backend(chaos: &mut Chaos, index: usize, run: usize, pause: Duration) {
    chaos.deployment.backends[index].kill().await;
    chaos.go_on(pause).await;
    let seconds = chaos.left().as_secs_f64();
    let mut backend = chaos.deployment.backend(index, run, seconds).await;
    backend.go();
    let dead = std::mem::replace(&mut chaos.deployment.backends[index], backend);
    chaos.deployment.dead.push(dead);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_killed() {
    // Whoever is dead sends nothing; the others send for it.
    let mut chaos = Scenario::new("a back end killed with -9 mid-send").surplus(1.2).start().await;
    let pause = chaos.profile.either(2.0, 0.2);
    for (run, index) in (2..).zip([0, 1, 0, 1]) {
        chaos.go_on(chaos.profile.either(5.0, 0.3)).await;
        replace_backend(&mut chaos, index, run, pause).await;
    }
    let outcome = chaos.finish(Allowed::default()).await;
    assert!(outcome.verdict.untold > 0, "nothing was under way when a back end was killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_killed_and_restarted() {
    let profile = Profile::from_environment();
    let scenario = Scenario::new("NATS killed with -9 and restarted").lasts(profile.either(60.0, 3.5));
    let mut chaos = scenario.start().await;
    for _ in 0..if profile.full { 2 } else { 1 } {
        chaos.go_on(profile.either(8.0, 0.5)).await;
        chaos.deployment.nats.kill();
        chaos.go_on(profile.either(3.0, 0.5)).await;
        chaos.deployment.nats.restart().await;
    }
    let outcome = chaos.finish(Allowed::default()).await;
    assert_eq!(outcome.failed_sends, 0, "what is logged is sent, with or without a bus");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_dropped() {
    for (name, percent) in [("1% of envelopes dropped", 1), ("5% of envelopes dropped", 5)] {
        let profile = Profile::from_environment();
        if !profile.full && percent == 1 {
            continue;
        }
        let chaos = Scenario::new(name).with(|options| options.drop_percent = percent).start().await;
        let outcome = chaos.finish(Allowed::default()).await;
        assert!(outcome.hints > 0, "nothing was dropped");
        assert_eq!(outcome.failed_sends, 0);
    }
}
