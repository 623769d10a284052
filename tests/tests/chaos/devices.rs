//! Devices that do not read, that reconnect, and whose processes are killed.

use std::time::Duration;

use im_tests::{
    chaos::{Allowed, DEVICES_PER_PROCESS, Profile, Scenario, load_user},
    stack::PATIENCE,
    wait_until,
};

/// Maximum lag of any device, in entries. Each device receives some twenty per second.
const MAX_LAG: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_do_not_read() {
    let profile = Profile::from_environment();
    let unread = (profile.devices / 100).max(1);
    let scenario = Scenario::new("1% of devices not reading").lasts(profile.either(60.0, 6.0));
    // A small queue per connection, so that it fills quickly.
    let outbox = ("IM_LIMITS_OUTBOX_BYTES".to_owned(), (256 * 1024).to_string());
    let scenario = scenario.with(|options| {
        options.unread = unread;
        options.server_variables.push(outbox);
    });
    let chaos = scenario.start().await;
    let reads = profile.devices - unread;
    chaos.fleet.wish(reads..profile.devices, |wish| wish.pause_reading = true);
    for device in reads..profile.devices {
        let user = [load_user(device)];
        wait_until("a device that does not read is closed", PATIENCE, async || {
            let lag = chaos.lag(|device| device < reads).await;
            assert!(lag <= MAX_LAG, "a device that reads is {lag} entries behind");
            chaos.deployment.cluster.routes().locate(&user).await.unwrap()[0].is_empty()
        })
        .await;
    }
    chaos.fleet.wish(reads..profile.devices, |wish| wish.pause_reading = false);
    let outcome = chaos.finish(Allowed::default()).await;
    assert!(outcome.verdict.resets == 0, "they go on from their cursors");
    assert!(outcome.slow_consumers > 0, "nobody was told to be too slow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_flap() {
    let chaos = Scenario::new("devices flapping between servers and transports").start().await;
    let mut round = 0;
    while chaos.left() > Duration::from_secs(1) {
        // Another third of them each time.
        let devices = (0..chaos.profile.devices).filter(|device| device % 3 == round % 3);
        chaos.fleet.wish(devices, |wish| wish.flaps += 1);
        round += 1;
        chaos.go_on(chaos.profile.either(1.0, 0.3)).await;
    }
    let outcome = chaos.finish(Allowed::default()).await;
    assert_eq!(outcome.failed_publishes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_processes_killed() {
    let profile = Profile::from_environment();
    let processes = if profile.full { 10 } else { 2 };
    let scenario = Scenario::new("client processes killed with -9 at random points");
    let mut chaos = scenario.with(|options| options.processes = processes).start().await;
    assert!(processes * DEVICES_PER_PROCESS <= profile.devices);
    while chaos.left() > Duration::from_secs(1) {
        let pause = profile.either(0.6, 0.5).mul_f64(rand::random());
        chaos.go_on(pause).await;
        let process = rand::random_range(0..processes);
        chaos.fleet.processes[process].kill_and_restart().await;
    }
    chaos.finish(Allowed::default()).await;
}
