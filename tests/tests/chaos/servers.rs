//! Servers that are killed, drained and frozen.

use std::time::Duration;

use im_tests::chaos::{Allowed, Profile, Scenario};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_killed() {
    let mut chaos = Scenario::new("each im-server killed with -9").start().await;
    let pause = chaos.profile.either(6.0, 0.4);
    for server in 0..3 {
        chaos.go_on(pause).await;
        chaos.deployment.servers[server].kill();
        chaos.go_on(pause).await;
        chaos.deployment.servers[server].restart().await;
    }
    chaos.finish(Allowed::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_drained() {
    let profile = Profile::from_environment();
    let scenario = Scenario::new("each im-server drained").lasts(profile.either(60.0, 5.0));
    let grace = profile.either(5.0, 0.7).as_millis().to_string();
    let grace = ("IM_SERVER_DRAIN_GRACE_MS".to_owned(), grace);
    let mut chaos = scenario.with(|options| options.server_variables.push(grace)).start().await;
    for server in 0..3 {
        chaos.go_on(chaos.profile.either(5.0, 0.3)).await;
        chaos.deployment.servers[server].drain().await;
        chaos.deployment.servers[server].restart().await;
    }
    let outcome = chaos.finish(Allowed::default()).await;
    assert_eq!((outcome.failed_sends, outcome.failed_publishes), (0, 0), "a rolling deploy fails no send");
}

async fn frozen(name: &'static str, full: f64, short: f64) {
    let profile = Profile::from_environment();
    let time = profile.either(full, short);
    let before = profile.either(3.0, 0.5);
    let scenario = Scenario::new(name).lasts(before + time + profile.either(15.0, 1.5));
    let chaos = scenario.start().await;
    chaos.go_on(before).await;
    chaos.deployment.servers[1].stop();
    chaos.go_on(time).await;
    chaos.deployment.servers[1].resume();
    chaos.go_on(Duration::from_millis(500)).await;
    chaos.finish(Allowed::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_for_less_than_its_lease() {
    frozen("im-server stopped for 5 s", 5.0, 0.7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_for_longer_than_its_lease() {
    frozen("im-server stopped for 40 s", 40.0, 2.5).await;
}
