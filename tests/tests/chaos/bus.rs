//! Faults of back ends and of the bus.

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
    // A dead back end sends nothing; the others make up for it.
    let mut chaos = Scenario::new("a back end killed with -9 mid-send").surplus(1.2).start().await;
    let pause = chaos.profile.either(2.0, 0.2);
    for (run, index) in (2..).zip([0, 1, 0, 1]) {
        chaos.go_on(chaos.profile.either(5.0, 0.3)).await;
        replace_backend(&mut chaos, index, run, pause).await;
    }
    let profile = chaos.profile;
    let outcome = chaos.finish(Allowed::default()).await;
    // Under little load, that is possible.
    assert!(!profile.full || outcome.verdict.untold > 0, "nothing was under way when a back end was killed");
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
    let profile = Profile::from_environment();
    let shares: &[(&str, u32)] = if profile.full {
        &[("1% of envelopes dropped", 1), ("5% of envelopes dropped", 5)]
    } else {
        &[("2% of envelopes dropped", 2)]
    };
    for &(name, percent) in shares {
        // A send whose envelope is lost waits for an answer that never comes, and so does a device whose answer is
        // lost. They must not wait long, and other conversations continue meanwhile.
        let timeout =
            ("IM_SERVER_PUBLISH_TIMEOUT_MS".to_owned(), profile.either(2.0, 1.0).as_millis().to_string());
        let scenario = Scenario::new(name).with(|options| {
            options.drop_percent = percent;
            (options.lanes, options.send_timeout) = (400, Some(Duration::from_secs(1)));
            options.server_variables.push(timeout);
        });
        let chaos = scenario.start().await;
        let outcome = chaos.finish(Allowed::default()).await;
        assert!(outcome.hints > 0, "nothing was dropped");
        assert_eq!(outcome.failed_sends, 0);
    }
}
