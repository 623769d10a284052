//! Presence: online users, times last seen, and permission to watch.

use std::time::{Duration, Instant, SystemTime};

use im_proto::{limits::MAX_WATCHED_USERS, pb, pb::frame::Body};
use im_sdk::{
    UserPresence,
    backend::Im,
    client::RequestError,
    id::{ChannelId, Terminal, UserId},
};
use im_tests::{
    Setup, Stack, Via,
    channels::events_before_marker,
    everywhere,
    permissive_handler::{PermissiveHandler, device, presence},
    raw::{Heard, Raw},
    stack::{PATIENCE, SLACK, ServerOptions},
    wait_until,
};

/// Default interval at which a back end reads the list of live servers.
const DIRECTORY_REFRESH: Duration = Duration::from_secs(1);

everywhere!(
    those_who_watch_are_told,
    last_seen_is_told_per_terminal,
    a_watch_survives_a_reconnect,
    a_new_connection_of_a_device_is_no_absence,
    a_link_that_flaps_is_told_of_a_few_times,
    nobody_sees_who_is_hidden,
    watches_that_make_no_sense_are_refused,
    the_devices_of_a_server_that_died_are_offline,
    a_server_that_leaves_says_who_goes,
);

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

async fn of(im: &Im, name: &str) -> UserPresence {
    im.presence(&[user(name)]).await.unwrap().remove(0)
}

fn online(presence: &UserPresence) -> Vec<(Terminal, bool)> {
    presence.terminals.iter().map(|of| (of.terminal, of.online)).collect()
}

async fn those_who_watch_are_told(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let host = PermissiveHandler::default();
    let _services = [host.serve(&im).await, host.serve(&other).await];
    let mut phone = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut tab = device(&stack, "alice", "web/tab", 1, via).await;
    for client in [&phone, &tab] {
        let first = client.client().watch([user("bob"), user("carol"), user("bob")]).await.unwrap();
        assert_eq!(first.len(), 2, "each once");
        assert!(first.iter().all(|presence| !presence.is_online() && presence.terminals.is_empty()));
    }
    let bob = device(&stack, "bob", "web/tab", 0, via).await;
    for client in [&mut phone, &mut tab] {
        let told = presence(client, "bob", UserPresence::is_online).await;
        assert_eq!(online(&told), [(Terminal::Web, true)]);
    }
    let desktop = device(&stack, "bob", "desktop/pc", 1, via).await;
    presence(&mut phone, "bob", |told| told.terminals.len() == 2).await;
    bob.client().shutdown().await;
    let told = presence(&mut phone, "bob", |told| !told.terminals[0].online).await;
    assert_eq!(online(&told), [(Terminal::Web, false), (Terminal::Desktop, true)]);
    assert!(told.is_online() && told.terminals[0].last_seen.is_some());
    desktop.client().shutdown().await;
    let told = presence(&mut tab, "bob", |told| !told.is_online() && told.terminals.len() == 2).await;
    assert!(told.last_seen().unwrap() <= SystemTime::now() + Duration::from_secs(1));
    // The handler is notified of each change, on one of the back ends.
    wait_until("both came and went", PATIENCE, async || {
        (host.count("bob", true), host.count("bob", false)) == (2, 2)
    })
    .await;
    // After watching others, nothing of bob arrives any more.
    let now = phone.client().watch([user("carol"), user("alice")]).await.unwrap();
    assert_eq!(now.iter().filter(|presence| presence.is_online()).count(), 1, "oneself, and both devices");
    events_before_marker(&im, &mut phone, "alice").await;
    let _bob = device(&stack, "bob", "web/tab", 0, via).await;
    presence(&mut tab, "bob", UserPresence::is_online).await;
    let before = events_before_marker(&im, &mut phone, "alice").await;
    assert!(!before.iter().any(|event| format!("{event:?}").contains("bob")), "{before:?}");
}

async fn last_seen_is_told_per_terminal(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let before = SystemTime::now() - Duration::from_secs(1);
    let phone = device(&stack, "bob", "ios/phone", 0, via).await;
    let _tab = device(&stack, "bob", "web/tab", 0, via).await;
    assert_eq!(online(&of(&im, "bob").await), [(Terminal::Web, true), (Terminal::Ios, true)]);
    phone.client().shutdown().await;
    wait_until("it is stored", PATIENCE, async || {
        of(&im, "bob").await.terminals.iter().any(|of| !of.online && of.last_seen.is_some())
    })
    .await;
    let presence = of(&im, "bob").await;
    let seen = presence.terminals[1].last_seen.unwrap();
    assert_eq!(online(&presence), [(Terminal::Web, true), (Terminal::Ios, false)]);
    assert!(before <= seen && seen <= SystemTime::now() + Duration::from_secs(1));
    assert_eq!(of(&im, "nobody").await.terminals, []);
    assert_eq!(im.presence::<&str>([]).await.unwrap(), []);
}

async fn a_watch_survives_a_reconnect(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    alice.client().watch([user("bob")]).await.unwrap();
    alice.client().disconnect();
    stack.wait_online(&im, "alice", 0).await;
    let bob = device(&stack, "bob", "web/tab", 0, via).await;
    alice.client().connect();
    // Changes during the absence and after it arrive.
    presence(&mut alice, "bob", UserPresence::is_online).await;
    bob.client().shutdown().await;
    presence(&mut alice, "bob", |told| !told.is_online()).await;
    // Without watchers, no state is left.
    alice.client().watch::<UserId>([]).await.unwrap();
    let channel = ChannelId::presence_of(&user("bob"));
    wait_until("the route is gone", PATIENCE, async || {
        stack.cluster().routes().channel_servers(&channel).await.unwrap().is_empty()
    })
    .await;
}

async fn a_new_connection_of_a_device_is_no_absence(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let host = PermissiveHandler::default();
    let _service = host.serve(&im).await;
    let _old = device(&stack, "bob", "web/tab", 0, via).await;
    let newer = device(&stack, "bob", "web/tab", 1, via).await;
    wait_until("it came twice", PATIENCE, async || host.count("bob", true) == 2).await;
    // Another device of this terminal, however, displaces the first one.
    let last = device(&stack, "bob", "web/other", 0, via).await;
    wait_until("the first one is offline", PATIENCE, async || host.count("bob", false) == 1).await;
    drop(newer);
    last.client().shutdown().await;
    wait_until("and the last one", PATIENCE, async || host.count("bob", false) == 2).await;
    assert_eq!(host.count("bob", true), 3);
}

async fn a_link_that_flaps_is_told_of_a_few_times(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let host = PermissiveHandler::default();
    let _service = host.serve(&im).await;
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    alice.client().watch([user("bob")]).await.unwrap();
    let mut first = Raw::connect(&stack, 0, via).await;
    first.log_in("bob").await;
    presence(&mut alice, "bob", UserPresence::is_online).await;
    drop(first);
    for _ in 0..20 {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in("bob").await;
        drop(raw);
    }
    presence(&mut alice, "bob", |told| !told.is_online()).await;
    wait_until("it is told that bob has gone", PATIENCE, async || host.count("bob", false) > 0).await;
    stack.wait_online(&im, "bob", 0).await;
    let (came, went) = (host.count("bob", true), host.count("bob", false));
    assert!(came <= 2 && went <= 2, "came {came} times, went {went} times");
    let told = of(&im, "bob").await;
    assert!(!told.is_online() && told.last_seen().is_some());
    let _bob = device(&stack, "bob", "web/raw", 0, via).await;
    presence(&mut alice, "bob", UserPresence::is_online).await;
}

async fn nobody_sees_who_is_hidden(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let service = PermissiveHandler::default().serve(&im).await;
    let _hidden = device(&stack, "hidden", "web/tab", 0, via).await;
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    let told = alice.client().watch([user("hidden"), user("bob")]).await.unwrap();
    assert_eq!(told.iter().map(|presence| presence.user.as_str()).collect::<Vec<_>>(), ["bob"]);
    let _phone = device(&stack, "hidden", "ios/phone", 0, via).await;
    let _bob = device(&stack, "bob", "web/tab", 0, via).await;
    presence(&mut alice, "bob", UserPresence::is_online).await;
    let before = events_before_marker(&im, &mut alice, "alice").await;
    assert!(!before.iter().any(|event| format!("{event:?}").contains("hidden")), "{before:?}");
    service.shutdown().await;
    // By default, a user sees only their own presence.
    let _service = im_tests::channels::serve(&im).await;
    let told = alice.client().watch([user("alice"), user("bob")]).await.unwrap();
    assert_eq!(told.iter().map(|presence| presence.user.as_str()).collect::<Vec<_>>(), ["alice"]);
}

async fn watches_that_make_no_sense_are_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let alice = device(&stack, "alice", "web/tab", 0, via).await;
    let crowd = |count: usize| (0..count).map(|number| user(&format!("user-{number}")));
    let told = alice.client().watch(crowd(MAX_WATCHED_USERS)).await.unwrap();
    assert_eq!(told.len(), MAX_WATCHED_USERS);
    let refused = alice.client().watch(crowd(MAX_WATCHED_USERS + 1)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused { .. }), "{refused}");
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    let question = pb::request::Question::Watch(pb::Watch { users: vec!["no user".into()] });
    raw.send_frame(Body::Request(pb::Request { number: 1, question: Some(question) })).await;
    let refused = loop {
        match raw.heard().await {
            Heard::Frame(Body::Response(response)) => break response.outcome,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("{code}"),
        }
    };
    let Some(pb::response::Outcome::Refused(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.kind(), pb::RefusalKind::Invalid);
}

async fn the_devices_of_a_server_that_died_are_offline(setup: Setup, via: Via) {
    let lease = Duration::from_secs(2);
    let options = ServerOptions { lease, ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let host = PermissiveHandler::default();
    let _service = host.serve(&im).await;
    let mut alice = device(&stack, "alice", "web/tab", 1, via).await;
    // It knows no other server to connect to.
    let _bob = device(&stack, "bob", "web/tab", 0, via).await;
    alice.client().watch([user("bob")]).await.unwrap();
    stack.servers.remove(0).kill();
    let killed = Instant::now();
    let left = stack.cluster().routes().locate(&[user("bob")]).await.unwrap();
    assert_eq!(left[0].len(), 1, "a server that dies releases nothing");
    // A lookup of one of its devices after its lease has expired finds that out, and all are notified.
    wait_until("bob is offline", PATIENCE, async || !of(&im, "bob").await.is_online()).await;
    let promised = lease + DIRECTORY_REFRESH;
    assert!(killed.elapsed() < promised + SLACK, "it took {:?}, not {promised:?}", killed.elapsed());
    let told = presence(&mut alice, "bob", |told| !told.is_online() && told.last_seen().is_some()).await;
    assert_eq!(online(&told), [(Terminal::Web, false)]);
    wait_until("the handler hears of it", PATIENCE, async || host.count("bob", false) == 1).await;
}

async fn a_server_that_leaves_says_who_goes(setup: Setup, via: Via) {
    let options = ServerOptions { drain_grace: Duration::from_millis(200), ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let host = PermissiveHandler::default();
    let _service = host.serve(&im).await;
    let mut raws = Vec::new();
    for number in 0..20 {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in(&format!("user-{number}")).await;
        raws.push(raw);
    }
    let gone = async |online| (0..20).all(|number| host.count(&format!("user-{number}"), online) == 1);
    wait_until("all have come", PATIENCE, async || gone(true).await).await;
    stack.servers.remove(0).shutdown().await;
    wait_until("all have gone", PATIENCE, async || gone(false).await).await;
}
