//! Redis that is killed, restarted, frozen, and replaced by a replica that lags.

use std::time::Duration;

use im_sdk::{
    backend::{Im, Message, user},
    cluster::{Cluster, ClusterConfig},
};
use im_tests::chaos::{Allowed, Chaos, Outcome, Profile, Scenario};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_restarted() {
    let mut chaos = Scenario::new("Redis killed with -9 and restarted with AOF").surplus(1.2).start().await;
    for _ in 0..if chaos.profile.full { 3 } else { 1 } {
        chaos.go_on(chaos.profile.either(8.0, 0.7)).await;
        chaos.deployment.redis.kill();
        chaos.go_on(chaos.profile.either(1.5, 0.3)).await;
        chaos.deployment.redis.restart().await;
    }
    let profile = chaos.profile;
    let outcome = chaos.finish(Allowed::default()).await;
    // Under little load, that is possible.
    assert!(!profile.full || outcome.failed_sends > 0, "nothing was sent while Redis was away");
}

/// The primary runs without its replica for a while, then it is lost and the replica takes its address.
async fn fail_over(name: &'static str, min_replicas: usize, allowed: Allowed) -> Outcome {
    let profile = Profile::from_environment();
    let scenario = Scenario::new(name).surplus(1.2).with(|options| {
        (options.replica, options.min_replicas) = (true, min_replicas);
    });
    let mut chaos = scenario.start().await;
    chaos.go_on(profile.either(15.0, 0.8)).await;
    let replica = chaos.deployment.replica.take().unwrap();
    replica.detach().await;
    // Some connect meanwhile: the replica knows neither their missed entries nor their routes.
    flap_some(&chaos);
    chaos.go_on(profile.either(3.0, 0.5)).await;
    chaos.deployment.lose_redis_to(replica).await;
    chaos.finish(allowed).await
}

fn flap_some(chaos: &Chaos) {
    chaos.fleet.wish((0..chaos.profile.devices).filter(|device| device % 5 == 0), |wish| wish.flaps += 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_writes_is_promoted() {
    let allowed = Allowed { lost_tail: true, resets: true };
    let outcome = fail_over("Redis lost to a replica that missed writes", 0, allowed).await;
    assert!(outcome.verdict.rolled_back > 0, "the replica missed nothing");
    let devices = outcome.verdict.resets;
    assert!(devices > 0, "nobody was reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_writes_is_promoted_and_replicas_confirm() {
    // Devices may have seen messages that were never accepted.
    let allowed = Allowed { lost_tail: false, resets: true };
    let outcome = fail_over("the same with min_replicas = 1", 1, allowed).await;
    assert!(outcome.failed_sends > 0, "something was told Ok that no replica had");
    assert_eq!(outcome.verdict.rolled_back, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_redis_is_stopped() {
    let request_timeout = Profile::from_environment().either(2.0, 0.5);
    let scenario =
        Scenario::new("Redis stopped").with(|options| options.request_timeout = Some(request_timeout));
    let mut chaos = scenario.start().await;
    chaos.go_on(chaos.profile.either(5.0, 0.5)).await;
    let mut config =
        ClusterConfig::new([chaos.deployment.redis.address()], [chaos.deployment.nats.address()]);
    config.request_timeout = request_timeout;
    let deadline = request_timeout + Duration::from_secs(1);
    let im = Im::with_cluster(Cluster::connect(config).await.unwrap()).await.unwrap();
    for killed in [false, true] {
        if killed {
            chaos.deployment.redis.kill();
        } else {
            chaos.deployment.redis.stop();
        }
        // Sends that were appended before may succeed until they have given up looking for routes.
        chaos.go_on(deadline).await;
        let before = chaos.acknowledged();
        let sends = (0..50).map(|number| im.send(Message::to(user(format!("nobody-{number}"))).text("hi")));
        let results = timeout(deadline, futures_util::future::join_all(sends)).await;
        for result in results.expect("every send ends within its deadline") {
            assert!(result.is_err(), "{result:?}");
        }
        assert_eq!(chaos.acknowledged(), before, "nothing says Ok");
        if killed {
            chaos.deployment.redis.restart().await;
        } else {
            chaos.deployment.redis.resume();
        }
        chaos.go_on(chaos.profile.either(5.0, 0.3)).await;
    }
    chaos.finish_at_any_rate(Allowed::default()).await;
}
