//! Links that break for one process only, and a Redis that answers without obeying.

use std::time::{Duration, Instant};

use im_tests::{
    TcpProxy,
    chaos::{Allowed, Chaos, Deployment, Profile, Scenario, lines::print, load_user},
    stack::SLACK,
    wait_until,
};

/// Maximum lag of a device that is served, in entries. Each device receives some twenty per second.
const MAX_LAG: u64 = 100;

/// Interval between two checks of all devices.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Ways in which a link breaks.
type Break = fn(&TcpProxy);

/// Silently loses everything in both directions.
const SILENT: Break = TcpProxy::hold;

/// Loses what the process sends.
const MUTE: Break = TcpProxy::hold_up;

/// Loses what the process would receive.
const DEAF: Break = TcpProxy::hold_down;

/// Closes connections, and accepts new ones without ever answering.
fn never_answers(link: &TcpProxy) {
    link.hold();
    link.drop_connections();
}

/// The link to break.
type Link = fn(&Deployment) -> &TcpProxy;

fn server_to_redis(deployment: &Deployment) -> &TcpProxy {
    &deployment.server_links[1].redis
}

fn server_to_nats(deployment: &Deployment) -> &TcpProxy {
    &deployment.server_links[1].nats
}

fn backend_to_redis(deployment: &Deployment) -> &TcpProxy {
    &deployment.backend_links[1].redis
}

fn backend_to_nats(deployment: &Deployment) -> &TcpProxy {
    &deployment.backend_links[1].nats
}

/// Time limit after a break for every device to be served, if need be by other servers: a server that alone is cut off
/// notices within some 25 s and lets its devices go.
const SERVED: Duration = Duration::from_secs(35);

async fn start(name: &'static str, lasts: Duration) -> Chaos {
    let grace = Profile::from_environment().either(5.0, 0.7).as_millis().to_string();
    let grace = ("IM_SERVER_DRAIN_GRACE_MS".to_owned(), grace);
    let scenario = Scenario::new(name).surplus(1.2).lasts(lasts).with(|options| {
        options.linked = true;
        options.server_variables.push(grace);
    });
    scenario.start().await
}

/// Breaks a server's link under load, and checks that every device is served before the link is repaired.
async fn broken(name: &'static str, link: Link, how: Break) {
    let profile = Profile::from_environment();
    let (before, time) = (profile.either(5.0, 0.5), profile.either(40.0, 4.0));
    let chaos = start(name, before + time).await;
    chaos.go_on(before).await;
    let broke = Instant::now();
    how(link(&chaos.deployment));
    chaos.go_on(chaos.left().max(time)).await;
    served(&chaos, name, SERVED.saturating_sub(broke.elapsed())).await;
    let took = broke.elapsed().as_secs_f64();
    print(format_args!("chaos: {name}: everybody is served {took:.1} s after the break"));
    link(&chaos.deployment).repair();
    chaos.finish_at_any_rate(Allowed::default()).await;
}

/// Breaks a back end's link under load, and checks that the other back end continues. Messages that the first one
/// appends and cannot push arrive with the next push, or when the link is repaired.
async fn backend_broken(name: &'static str, link: Link, how: Break) {
    let profile = Profile::from_environment();
    let (before, time) = (profile.either(5.0, 0.5), profile.either(20.0, 4.0));
    let chaos = start(name, before + time + profile.either(15.0, 1.0)).await;
    chaos.go_on(before).await;
    how(link(&chaos.deployment));
    let sent = chaos.acknowledged();
    chaos.go_on(time).await;
    let went_on = (chaos.acknowledged() - sent) as f64 / time.as_secs_f64();
    assert!(went_on > profile.rate / 4.0, "{name}: {went_on:.0} messages a second were sent by others");
    link(&chaos.deployment).repair();
    chaos.finish_at_any_rate(Allowed::default()).await;
}

/// Breaks that differ little from one that is always tested.
async fn in_the_full_profile(breaks: &[(&'static str, Link, Break)]) {
    if Profile::from_environment().full {
        for &(name, link, how) in breaks {
            broken(name, link, how).await;
        }
    }
}

/// Waits until every device is online and has everything in its logs.
async fn served(chaos: &Chaos, name: &str, within: Duration) {
    let users: Vec<_> = (0..chaos.profile.devices).map(load_user).collect();
    let deadline = Instant::now() + within + SLACK;
    loop {
        let routes = chaos.deployment.cluster.routes().locate(&users).await.unwrap();
        let offline = routes.iter().filter(|routes| routes.is_empty()).count();
        let lag = chaos.lag(|_| true).await;
        // During the load, some are always a little behind.
        let allowed = if chaos.left().is_zero() { MAX_LAG / 10 } else { MAX_LAG };
        if offline == 0 && lag <= allowed {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{name}: {offline} devices are offline, and one is {lag} entries behind"
        );
        chaos.go_on(LOOK_INTERVAL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_cut_off_from_redis() {
    broken("one im-server cut off from Redis", server_to_redis, SILENT).await;
    in_the_full_profile(&[
        ("one im-server that Redis refuses", server_to_redis, TcpProxy::refuse),
        ("one im-server whose Redis never answers", server_to_redis, never_answers),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_cut_off_from_nats() {
    broken("one im-server cut off from NATS", server_to_nats, SILENT).await;
    in_the_full_profile(&[
        ("one im-server that NATS does not hear", server_to_nats, MUTE),
        ("one im-server that does not hear NATS", server_to_nats, DEAF),
        ("one im-server whose NATS never answers", server_to_nats, never_answers),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_cut_off_from_redis() {
    backend_broken("one back end cut off from Redis", backend_to_redis, SILENT).await;
    backend_broken("one back end whose Redis never answers", backend_to_redis, never_answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_cut_off_from_nats() {
    backend_broken("one back end cut off from NATS", backend_to_nats, SILENT).await;
    backend_broken("one back end that NATS does not hear", backend_to_nats, MUTE).await;
    backend_broken("one back end that does not hear NATS", backend_to_nats, DEAF).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_its_replica_change_places() {
    let profile = Profile::from_environment();
    let scenario = Scenario::new("Redis and its replica change places").surplus(1.2);
    let scenario = scenario.lasts(profile.either(60.0, 8.0));
    let mut chaos = scenario.with(|options| (options.linked, options.replica) = (true, true)).start().await;
    // To the replica and back.
    for _ in 0..2 {
        chaos.go_on(profile.either(10.0, 0.7)).await;
        chaos.deployment.change_masters().await;
        let before = chaos.acknowledged();
        wait_until("messages are sent again", profile.lease + SLACK, async || {
            chaos.acknowledged() > before + chaos.profile.rate as u64
        })
        .await;
    }
    served(&chaos, "changed places", SLACK).await;
    chaos.finish_at_any_rate(Allowed::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_full_for_a_while() {
    let profile = Profile::from_environment();
    let full = profile.either(30.0, 4.0);
    let scenario = Scenario::new("Redis full for a while").surplus(1.2);
    let chaos = scenario.lasts(full + profile.either(30.0, 3.0)).start().await;
    chaos.go_on(profile.either(5.0, 0.7)).await;
    let connected = chaos.disconnects();
    chaos.deployment.redis.fill(true).await;
    // Longer than any lease.
    assert!(full > 2 * profile.lease);
    // Some reconnect meanwhile.
    chaos.go_on(full / 2).await;
    assert_eq!(chaos.disconnects(), connected, "nobody is sent away because logs are full");
    let flapping = (0..profile.devices).filter(|device| device % 5 == 0);
    chaos.fleet.wish(flapping.clone(), |wish| wish.flaps += 1);
    let users: Vec<_> = flapping.map(load_user).collect();
    chaos.go_on(full / 2).await;
    wait_until("those who connect anew are online", SLACK, async || {
        let routes = chaos.deployment.cluster.routes().locate(&users).await.unwrap();
        routes.iter().all(|routes| !routes.is_empty())
    })
    .await;
    chaos.deployment.redis.fill(false).await;
    let outcome = chaos.finish_at_any_rate(Allowed::default()).await;
    assert!(outcome.failed_sends > 0, "Redis was not full");
}
