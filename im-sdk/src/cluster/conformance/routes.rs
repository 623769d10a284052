//! Conformance of [`Routes`].

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};

use super::eventually;
use crate::{
    cluster::{Claim, Displaced, LoginPolicy, NodeLease, Reclaimed, Route, Routes},
    id::{ChannelId, ConnectionId, Device, DeviceId, NodeId, ServerId, Terminal, UserId},
    proto::pb::ServerInfo,
};

/// A lease that does not expire during a check.
const LONG: Duration = Duration::from_secs(600);

/// A lease whose expiry a check waits for.
const SHORT: Duration = Duration::from_millis(300);

/// The number of concurrent requests in checks with many.
const CONCURRENCY: usize = 32;

/// Checks an implementation on a store that is empty and that nothing else uses.
///
/// # Panics
/// When a rule is broken.
pub async fn check_routes(routes: &dyn Routes) {
    claims_follow_the_policy(routes).await;
    a_device_displaces_its_own_route(routes).await;
    a_repeated_claim_displaces_nothing(routes).await;
    concurrent_claims_leave_one(routes).await;
    a_lost_route_is_restored(routes).await;
    a_place_that_is_taken_is_not_restored(routes).await;
    only_the_owner_releases(routes).await;
    located_in_order(routes).await;
    channels_have_the_servers_that_joined(routes).await;
    channels_and_servers_in_numbers(routes).await;
    servers_have_one_first_lease(routes).await;
    server_leases_end_by_themselves(routes).await;
    server_leases_are_renewed(routes).await;
    nodes_are_unique(routes).await;
    numbers_with_floors_in_the_future_wait(routes).await;
    time_goes_on(routes).await;
    lives_on(routes).await;
}

/// The store has one clock: a later answer is never an earlier time.
async fn time_goes_on(routes: &dyn Routes) {
    let first = routes.time().await.expect("time");
    assert!(first > 1_600_000_000_000, "in milliseconds since the Unix epoch");
    let later = eventually("time passes", async || {
        let later = routes.time().await.expect("time");
        assert!(later >= first, "it does not go back");
        (later > first).then_some(later)
    });
    assert!(later.await < first + 600_000, "it goes on as time does");
}

/// The holder of such a number could issue nothing: ids must carry later times than the floor.
async fn numbers_with_floors_in_the_future_wait(routes: &dyn Routes) {
    let time = routes.time().await.expect("time");
    let (owner, ahead) = ("of-a-fast-clock", time + 3_600_000);
    let lease = lease_node(routes, owner, ahead).await.expect("a number");
    routes.release_node(owner, lease.node).await.expect("release");
    let leases = stream::iter(1..NodeId::COUNT).map(|number| format!("later-{number}"));
    let leases = leases.map(async |owner| {
        let lease = lease_node(routes, &owner, 10_000).await.expect("there are others");
        (owner, lease)
    });
    let leases: Vec<_> = leases.buffer_unordered(CONCURRENCY).collect().await;
    assert!(leases.iter().all(|(_, later)| later.node != lease.node && later.after_ms <= time));
    assert_eq!(lease_node(routes, "one-too-many", 1).await, None, "it is not given out yet");
    release_nodes(routes, leases).await;
}

async fn lives_on(routes: &dyn Routes) {
    let incarnation = routes.incarnation().await.expect("incarnation");
    assert_eq!(routes.incarnation().await.expect("incarnation"), incarnation);
}

async fn claims_follow_the_policy(routes: &dyn Routes) {
    let (phone, tablet, browser) = (device(Terminal::Ios, "phone"), ipad(), device(Terminal::Web, "tab"));
    for (policy, expected) in [
        (LoginPolicy::OnePerTerminal, vec![&phone]),
        (LoginPolicy::Single, vec![&phone, &browser]),
        (LoginPolicy::Unlimited, vec![]),
    ] {
        let user = user(&format!("policy-{policy:?}"));
        take(routes, &user, &phone, 1, LoginPolicy::Unlimited).await;
        take(routes, &user, &browser, 2, LoginPolicy::Unlimited).await;
        let displaced = take(routes, &user, &tablet, 3, policy).await;
        let gone: HashSet<&Device> = displaced.iter().map(|displaced| &displaced.device).collect();
        assert_eq!(gone, expected.iter().copied().collect(), "displaced under {policy:?}");
        let left = located(routes, &user).await;
        let stay: HashSet<&Device> = [&phone, &browser, &tablet].into_iter().collect();
        assert_eq!(left.iter().map(|(device, _)| device).collect::<HashSet<_>>(), &stay - &gone);
        assert!(displaced.iter().all(|displaced| !left.iter().any(|(_, route)| *route == displaced.route)));
    }
}

async fn a_device_displaces_its_own_route(routes: &dyn Routes) {
    for policy in [LoginPolicy::OnePerTerminal, LoginPolicy::Single, LoginPolicy::Unlimited] {
        let user = user(&format!("same-device-{policy:?}"));
        take(routes, &user, &ipad(), 1, policy).await;
        let displaced = take(routes, &user, &ipad(), 2, policy).await;
        assert_eq!(displaced, [Displaced { device: ipad(), route: route(1) }], "under {policy:?}");
        assert_eq!(located(routes, &user).await, [(ipad(), route(2))], "under {policy:?}");
    }
}

/// A repeated claim has no effect, so that a claim whose answer was lost can be repeated.
async fn a_repeated_claim_displaces_nothing(routes: &dyn Routes) {
    let user = user("repeated");
    for _ in 0..2 {
        assert_eq!(take(routes, &user, &ipad(), 1, LoginPolicy::Single).await, []);
    }
    assert_eq!(located(routes, &user).await, [(ipad(), route(1))]);
}

async fn concurrent_claims_leave_one(routes: &dyn Routes) {
    let (one, other) = (device(Terminal::Ios, "one"), device(Terminal::Web, "other"));
    for round in 0..20 {
        let user = user(&format!("concurrent-{round}"));
        let (first, second) = tokio::join!(
            take(routes, &user, &one, 1, LoginPolicy::Single),
            take(routes, &user, &other, 2, LoginPolicy::Single),
        );
        let left = located(routes, &user).await;
        assert_eq!(left.len(), 1, "of two concurrent claims of the only place one is left");
        let displaced = [first, second].concat();
        assert_eq!(displaced.len(), 1, "the loser is displaced once");
        assert_ne!(displaced[0].device, left[0].0);
    }
}

async fn a_lost_route_is_restored(routes: &dyn Routes) {
    let user = user("lost");
    let claim = |number| Claim {
        user: user.clone(),
        device: ipad(),
        route: route(number),
        policy: LoginPolicy::OnePerTerminal,
    };
    assert_eq!(routes.reclaim(&claim(1)).await.expect("reclaim"), Reclaimed::Restored);
    assert_eq!(routes.reclaim(&claim(1)).await.expect("reclaim"), Reclaimed::Held);
    let browser = device(Terminal::Web, "tab");
    take(routes, &user, &browser, 2, LoginPolicy::OnePerTerminal).await;
    assert!(release(routes, &user, &ipad(), 1).await);
    assert_eq!(
        routes.reclaim(&claim(1)).await.expect("reclaim"),
        Reclaimed::Restored,
        "a browser does not mind"
    );
    assert_eq!(located(routes, &user).await.into_iter().collect::<HashSet<_>>().len(), 2);
}

async fn a_place_that_is_taken_is_not_restored(routes: &dyn Routes) {
    let (phone, browser) = (device(Terminal::Ios, "phone"), device(Terminal::Web, "tab"));
    for (policy, taken) in [
        (LoginPolicy::OnePerTerminal, vec![&phone]),
        (LoginPolicy::Single, vec![&phone, &browser]),
        (LoginPolicy::Unlimited, vec![]),
    ] {
        let user = user(&format!("taken-{policy:?}"));
        take(routes, &user, &phone, 1, LoginPolicy::Unlimited).await;
        take(routes, &user, &browser, 2, LoginPolicy::Unlimited).await;
        let claim = Claim { user: user.clone(), device: ipad(), route: route(3), policy };
        let reclaimed = routes.reclaim(&claim).await.expect("reclaim");
        if let Reclaimed::Taken(found) = &reclaimed {
            let found: HashSet<&Device> = found.iter().map(|found| &found.device).collect();
            assert_eq!(found, taken.iter().copied().collect(), "under {policy:?}");
            assert_eq!(located(routes, &user).await.len(), 2, "nothing has changed");
        }
        assert_eq!(reclaimed == Reclaimed::Restored, taken.is_empty(), "under {policy:?}: {reclaimed:?}");
        // Displaces its own earlier connection.
        take(routes, &user, &ipad(), 4, policy).await;
        let reclaimed = routes.reclaim(&claim).await.expect("reclaim");
        let newer = Displaced { device: ipad(), route: route(4) };
        assert!(matches!(&reclaimed, Reclaimed::Taken(found) if found.contains(&newer)), "{reclaimed:?}");
    }
}

async fn only_the_owner_releases(routes: &dyn Routes) {
    let user = user("release");
    take(routes, &user, &ipad(), 1, LoginPolicy::Single).await;
    take(routes, &user, &ipad(), 2, LoginPolicy::Single).await;
    assert!(
        !release(routes, &user, &ipad(), 1).await,
        "a route that was displaced is not there to be released"
    );
    assert!(!release(routes, &user, &device(Terminal::Web, "tab"), 2).await, "nor is another device's");
    assert_eq!(located(routes, &user).await, [(ipad(), route(2))]);
    assert!(release(routes, &user, &ipad(), 2).await);
    assert!(!release(routes, &user, &ipad(), 2).await, "a route is released once");
    assert_eq!(located(routes, &user).await, []);
}

async fn channels_have_the_servers_that_joined(routes: &dyn Routes) {
    let (one, other) = (server("one"), server("other"));
    let (red, blue) = (channel("red"), channel("blue"));
    assert_eq!(servers_of(routes, &red).await, HashSet::new());
    for _ in 0..2 {
        // Repeating changes nothing.
        routes.join_channels(&one, &[red.clone(), blue.clone()]).await.expect("join");
    }
    routes.join_channels(&other, std::slice::from_ref(&red)).await.expect("join");
    routes.join_channels(&other, &[]).await.expect("join nothing");
    assert_eq!(servers_of(routes, &red).await, HashSet::from([one.clone(), other.clone()]));
    assert_eq!(servers_of(routes, &blue).await, HashSet::from([one.clone()]));
    for _ in 0..2 {
        routes.leave_channels(&one, std::slice::from_ref(&red)).await.expect("leave");
        assert_eq!(servers_of(routes, &red).await, HashSet::from([other.clone()]));
        assert_eq!(servers_of(routes, &blue).await, HashSet::from([one.clone()]), "the others stay");
    }
    routes.leave_channels(&one, &[red.clone(), blue.clone()]).await.expect("leave");
    routes.leave_channels(&other, &[red.clone(), blue.clone()]).await.expect("leave");
    assert_eq!(servers_of(routes, &red).await, HashSet::new());
    routes.join_channels(&one, std::slice::from_ref(&red)).await.expect("join again");
    assert_eq!(servers_of(routes, &red).await, HashSet::from([one.clone()]));
    routes.leave_channels(&one, &[red]).await.expect("leave");
}

async fn channels_and_servers_in_numbers(routes: &dyn Routes) {
    let channels: Vec<ChannelId> = (0..3_000).map(|number| channel(&format!("many-{number}"))).collect();
    let servers: Vec<ServerId> = (0..20).map(|number| server(&format!("many-{number}"))).collect();
    let joins = stream::iter(&servers).map(async |server| {
        routes.join_channels(server, &channels[..1]).await.expect("join");
    });
    joins.buffer_unordered(CONCURRENCY).collect::<()>().await;
    assert_eq!(servers_of(routes, &channels[0]).await, servers.iter().cloned().collect(), "none is lost");
    routes.join_channels(&servers[0], &channels).await.expect("join");
    for index in [1, 1_500, 2_999] {
        assert_eq!(servers_of(routes, &channels[index]).await, HashSet::from([servers[0].clone()]));
    }
    routes.leave_channels(&servers[0], &channels).await.expect("leave");
    assert_eq!(servers_of(routes, &channels[2_999]).await, HashSet::new());
}

async fn servers_of(routes: &dyn Routes, channel: &ChannelId) -> HashSet<ServerId> {
    let listed = routes.channel_servers(channel).await.expect("locate a channel");
    let set: HashSet<ServerId> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "each once");
    set
}

async fn located_in_order(routes: &dyn Routes) {
    let users: Vec<UserId> = (0..200).map(|number| user(&format!("order-{number}"))).collect();
    for (number, user) in (0..).zip(&users).step_by(2) {
        take(routes, user, &ipad(), number, LoginPolicy::Single).await;
    }
    let asked = [&users[..], &users[..3]].concat();
    let found = routes.locate(&asked).await.expect("locate");
    assert_eq!(
        found.len(),
        asked.len(),
        "one entry for each user that was asked for, also if asked for twice"
    );
    for (number, devices) in (0..200).chain(0..3).zip(found) {
        let expected = if number % 2 == 0 { vec![(ipad(), route(number))] } else { vec![] };
        assert_eq!(devices, expected, "user {number}");
    }
    assert_eq!(routes.locate(&[]).await.expect("locate nobody"), Vec::<Vec<(Device, Route)>>::new());
}

async fn servers_have_one_first_lease(routes: &dyn Routes) {
    let server = server("first");
    assert!(!lease(routes, &server, 0, LONG, false).await, "a renewal of what was never leased is refused");
    assert!(lease(routes, &server, 1, LONG, true).await);
    assert!(!lease(routes, &server, 2, LONG, true).await, "the id of a live server is refused");
    assert_eq!(connections(routes, &server).await, Some(1), "and nothing is changed");
    routes.end_server_lease(&server).await.expect("end a lease");
    assert_eq!(connections(routes, &server).await, None, "an ended lease is gone at once");
    assert!(!lease(routes, &server, 3, LONG, false).await, "and cannot be renewed");
    routes.end_server_lease(&server).await.expect("end a lease that is not there");
}

async fn server_leases_end_by_themselves(routes: &dyn Routes) {
    let server = server("expiring");
    assert!(lease(routes, &server, 1, SHORT, true).await);
    eventually("the server vanishes", async || connections(routes, &server).await.is_none().then_some(()))
        .await;
    assert!(!lease(routes, &server, 2, LONG, false).await, "a renewal after the end is refused");
    assert_eq!(connections(routes, &server).await, None, "and nothing is changed");
}

async fn server_leases_are_renewed(routes: &dyn Routes) {
    let (server, control) = (server("renewed"), server("control"));
    // The control's lease is taken last, so when it has expired, so would the other one's.
    assert!(lease(routes, &server, 1, SHORT * 3, true).await);
    assert!(lease(routes, &server, 2, LONG, false).await, "a running lease is renewed");
    assert!(lease(routes, &control, 0, SHORT * 3, true).await);
    eventually("the control vanishes", async || connections(routes, &control).await.is_none().then_some(()))
        .await;
    assert_eq!(connections(routes, &server).await, Some(2), "with what the renewal said");
    routes.end_server_lease(&server).await.expect("end a lease");
}

/// Takes every number, so that it is known which one comes next.
async fn nodes_are_unique(routes: &dyn Routes) {
    let leases = lease_every_node(routes).await;
    assert!(leases.iter().all(|(_, lease)| lease.after_ms == 0), "numbers start without a floor");
    assert_eq!(lease_node(routes, "late", 1).await, None, "all are taken");
    let (owner, lease) = &leases[0];
    node_floors_survive_release(routes, owner, lease.node).await;
    let (owner, lease) = &leases[1];
    node_floors_survive_expiry(routes, owner, lease.node).await;
    release_nodes(routes, leases).await;
}

async fn lease_every_node(routes: &dyn Routes) -> Vec<(String, NodeLease)> {
    let owners = stream::iter(0..NodeId::COUNT).map(|number| format!("owner-{number}"));
    let leases = owners.map(async |owner| {
        let lease = lease_node(routes, &owner, 1_000).await.expect("there is a number for everyone");
        (owner, lease)
    });
    let leases: Vec<_> = leases.buffer_unordered(CONCURRENCY).collect().await;
    let nodes: HashSet<NodeId> = leases.iter().map(|(_, lease)| lease.node).collect();
    assert_eq!(nodes.len(), usize::from(NodeId::COUNT), "every number is leased once");
    leases
}

async fn node_floors_survive_release(routes: &dyn Routes, owner: &str, node: NodeId) {
    assert!(!renew_node(routes, "stranger", node, LONG, 9_000).await, "a stranger does not renew");
    routes.release_node("stranger", node).await.expect("release by a stranger");
    assert!(renew_node(routes, owner, node, LONG, 3_000).await, "nor does it release");
    assert!(renew_node(routes, owner, node, LONG, 2_000).await);
    routes.release_node(owner, node).await.expect("release");
    assert!(!renew_node(routes, owner, node, LONG, 9_000).await, "what was given back is not renewed");
    let again = lease_node(routes, "heir", 1_500).await;
    assert_eq!(again, Some(NodeLease { node, after_ms: 3_000 }), "the highest floor ever set stays");
    routes.release_node("heir", node).await.expect("release");
    let again = lease_node(routes, owner, 1_500).await;
    assert_eq!(again, Some(NodeLease { node, after_ms: 3_000 }), "also when a later holder's was lower");
}

async fn node_floors_survive_expiry(routes: &dyn Routes, owner: &str, node: NodeId) {
    assert!(renew_node(routes, owner, node, SHORT, 5_000).await);
    let again = eventually("the number is free", async || lease_node(routes, "heir", 6_000).await).await;
    assert_eq!(again, NodeLease { node, after_ms: 5_000 });
    assert!(!renew_node(routes, owner, node, LONG, 9_000).await, "the earlier holder does not renew");
    routes.release_node(owner, node).await.expect("release by the earlier holder");
    assert!(renew_node(routes, "heir", node, SHORT, 6_000).await, "nor does it release");
    let last = eventually("the number is free", async || lease_node(routes, owner, 1).await).await;
    assert_eq!(last.after_ms, 6_000);
}

async fn release_nodes(routes: &dyn Routes, leases: Vec<(String, NodeLease)>) {
    let releases = stream::iter(leases).map(async |(owner, lease)| {
        routes.release_node(&owner, lease.node).await.expect("release");
    });
    releases.buffer_unordered(CONCURRENCY).collect::<()>().await;
    let again = lease_node(routes, "after", 1).await.expect("what was given back can be leased");
    routes.release_node("after", again.node).await.expect("release");
}

async fn take(
    routes: &dyn Routes,
    user: &UserId,
    device: &Device,
    connection: u64,
    policy: LoginPolicy,
) -> Vec<Displaced> {
    let claim = Claim { user: user.clone(), device: device.clone(), route: route(connection), policy };
    routes.claim(&claim).await.expect("claim")
}

async fn release(routes: &dyn Routes, user: &UserId, device: &Device, connection: u64) -> bool {
    routes.release(user, device, &route(connection)).await.expect("release")
}

async fn located(routes: &dyn Routes, user: &UserId) -> Vec<(Device, Route)> {
    routes.locate(std::slice::from_ref(user)).await.expect("locate").remove(0)
}

async fn lease(routes: &dyn Routes, server: &ServerId, connections: u32, ttl: Duration, first: bool) -> bool {
    let endpoints = vec!["quic://im1.example.com:7801".to_owned()];
    let info = ServerInfo { endpoints, connections, draining: false, deaf: false };
    routes.lease_server(server, &info, ttl, first).await.expect("lease a server")
}

/// Returns the described number of connections of a live server; `None` if it is not live.
async fn connections(routes: &dyn Routes, server: &ServerId) -> Option<u32> {
    let servers = routes.live_servers().await.expect("list servers");
    let found = servers.into_iter().find(|registered| registered.id == *server)?;
    assert_eq!(found.info.endpoints, ["quic://im1.example.com:7801"]);
    Some(found.info.connections)
}

async fn lease_node(routes: &dyn Routes, owner: &str, floor_ms: u64) -> Option<NodeLease> {
    routes.lease_node(owner, LONG, floor_ms).await.expect("lease a node number")
}

async fn renew_node(routes: &dyn Routes, owner: &str, node: NodeId, ttl: Duration, floor_ms: u64) -> bool {
    routes.renew_node(owner, node, ttl, floor_ms).await.expect("renew a node number")
}

fn ipad() -> Device {
    device(Terminal::Ios, "tablet")
}

fn device(terminal: Terminal, id: &str) -> Device {
    Device::new(terminal, DeviceId::parse(id).expect("a device id"))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}

fn channel(name: &str) -> ChannelId {
    ChannelId::parse(name).expect("a channel id")
}

fn server(name: &str) -> ServerId {
    ServerId::parse(name).expect("a server id")
}

fn route(connection: u64) -> Route {
    Route { server: server("edge-1_7f3a"), connection: ConnectionId(connection) }
}
