//! Signals: delivered at once to the right devices or not at all, and limited per sender.

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    CallStep, Signal,
    client::Event,
    id::{Device, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{events_before_marker, group},
    everywhere,
    permissive_handler::{PermissiveHandler, device, signal},
    raw::Raw,
};

everywhere!(
    typing_reaches_all_devices,
    signals_go_to_rooms_and_groups,
    a_call_rings_everywhere_and_is_answered_once,
    a_call_that_is_not_taken_stops_ringing_everywhere,
    nobody_signals_where_they_may_not,
    a_flood_is_cut,
);

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn signals(events: &[Event]) -> Vec<Signal> {
    let signal = |event: &Event| match event {
        Event::Signal(signal) => Some(signal.signal.clone()),
        _ => None,
    };
    events.iter().filter_map(signal).collect()
}

async fn typing_reaches_all_devices(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    // The default handler of a closure passes on signals to users who have written to the sender.
    let _service = im_tests::channels::serve(&im).await;
    let mut phone = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut tab = device(&stack, "alice", "web/tab", 1, via).await;
    let mut bob = device(&stack, "bob", "web/tab", 1, via).await;
    phone.publish("bob", "hi").await.unwrap();
    assert!(bob.client().signal(user("alice"), Signal::typing()).await);
    for client in [&mut phone, &mut tab] {
        let heard = signal(client).await;
        assert_eq!((heard.from, heard.device.to_string().as_str()), (user("bob"), "web/tab"));
        assert_eq!((heard.channel, heard.signal), (None, Signal::Typing { stopped: false }));
    }
    // To one of the devices alone, and to the sender's other devices.
    let custom = Signal::custom("cursor.moved", "12");
    let phones: Device = "ios/phone".parse().unwrap();
    assert!(bob.client().signal_device(user("alice"), phones, custom.clone()).await);
    assert_eq!(signal(&mut phone).await.signal, custom);
    assert!(phone.client().signal(user("alice"), custom.clone()).await);
    let heard = signal(&mut tab).await;
    assert_eq!((heard.from, heard.signal), (user("alice"), custom));
    for (client, name) in [(&mut phone, "alice"), (&mut tab, "alice"), (&mut bob, "bob")] {
        assert_eq!(signals(&events_before_marker(&im, client, name).await), [], "{name} has heard all of it");
    }
    bob.client().disconnect();
    stack.wait_online(&im, "bob", 0).await;
    assert!(!bob.client().signal(user("alice"), Signal::typing()).await, "it is for the moment");
}

async fn signals_go_to_rooms_and_groups(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut phone = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut tab = device(&stack, "alice", "web/tab", 1, via).await;
    let mut bob = device(&stack, "bob", "web/tab", 1, via).await;
    let mut carol = device(&stack, "carol", "web/tab", 0, via).await;
    for client in [&bob, &carol] {
        client.client().join_room(group("lobby"), "").await.unwrap();
    }
    phone.client().signal(group("team"), Signal::typing()).await;
    for client in [&mut tab, &mut bob] {
        let heard = signal(client).await;
        assert_eq!((heard.from, heard.channel), (user("alice"), Some(group("team"))));
    }
    carol.client().signal(group("lobby"), Signal::Typing { stopped: true }).await;
    let heard = signal(&mut bob).await;
    assert_eq!((heard.from, heard.signal), (user("carol"), Signal::Typing { stopped: true }));
    for (client, name) in
        [(&mut phone, "alice"), (&mut tab, "alice"), (&mut bob, "bob"), (&mut carol, "carol")]
    {
        assert_eq!(
            signals(&events_before_marker(&im, client, name).await),
            [],
            "{name} hears nothing of its own"
        );
    }
}

async fn a_call_rings_everywhere_and_is_answered_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut caller = device(&stack, "alice", "ios/phone", 0, via).await;
    let mut other = device(&stack, "alice", "web/tab", 1, via).await;
    let mut phone = device(&stack, "bob", "ios/phone", 1, via).await;
    let mut tab = device(&stack, "bob", "web/tab", 0, via).await;
    for (id, last) in [("c-1", CallStep::Answer), ("c-2", CallStep::Busy)] {
        let step = |step, data: &'static str| Signal::call(id, step, data);
        caller.client().signal(user("bob"), step(CallStep::Ring, "")).await;
        for client in [&mut phone, &mut tab] {
            assert_eq!(signal(client).await.signal, step(CallStep::Ring, ""));
        }
        caller.client().signal(user("bob"), step(CallStep::Offer, "sdp")).await;
        let (offer, _) = (signal(&mut phone).await, signal(&mut tab).await);
        // From here on the two devices signal each other alone.
        phone.client().signal_device(user("alice"), offer.device, step(last, "sdp")).await;
        let answer = signal(&mut caller).await;
        assert_eq!((&answer.from, &answer.signal), (&user("bob"), &step(last, "sdp")));
        let elsewhere = signal(&mut tab).await;
        assert_eq!((elsewhere.from, elsewhere.signal), (user("bob"), step(CallStep::AnsweredElsewhere, "")));
        caller.client().signal_device(user("bob"), answer.device, step(CallStep::Candidate, "udp")).await;
        assert_eq!(signal(&mut phone).await.signal, step(CallStep::Candidate, "udp"));
    }
    phone.client().signal(user("alice"), Signal::call("c-2", CallStep::Hangup, "")).await;
    for client in [&mut caller, &mut other] {
        assert_eq!(signal(client).await.signal, Signal::call("c-2", CallStep::Hangup, ""));
    }
    for (client, name) in
        [(&mut caller, "alice"), (&mut other, "alice"), (&mut phone, "bob"), (&mut tab, "bob")]
    {
        assert_eq!(
            signals(&events_before_marker(&im, client, name).await),
            [],
            "nothing else rang at {name}"
        );
    }
}

async fn a_call_that_is_not_taken_stops_ringing_everywhere(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut callers = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 1, via).await,
    ];
    let mut called =
        [device(&stack, "bob", "ios/phone", 1, via).await, device(&stack, "bob", "web/tab", 0, via).await];
    for step in [CallStep::Ring, CallStep::Offer, CallStep::Candidate, CallStep::Cancel] {
        let signal_of_step = Signal::call("c-1", step, "sdp");
        callers[0].client().signal(user("bob"), signal_of_step.clone()).await;
        for client in &mut called {
            let heard = signal(client).await;
            assert_eq!((heard.from, heard.device.to_string().as_str()), (user("alice"), "ios/phone"));
            assert_eq!(heard.signal, signal_of_step);
        }
    }
    // One of them answers too late; the caller's device knows that the call is over.
    called[1]
        .client()
        .signal_device(user("alice"), "ios/phone".parse().unwrap(), Signal::call("c-1", CallStep::Answer, ""))
        .await;
    assert_eq!(signal(&mut callers[0]).await.signal, Signal::call("c-1", CallStep::Answer, ""));
    assert_eq!(signal(&mut called[0]).await.signal, Signal::call("c-1", CallStep::AnsweredElsewhere, ""));
    for (client, name) in callers.iter_mut().zip(["alice"; 2]).chain(called.iter_mut().zip(["bob"; 2])) {
        assert_eq!(signals(&events_before_marker(&im, client, name).await), [], "nothing else at {name}");
    }
}

async fn nobody_signals_where_they_may_not(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    im.channel("team").add_members(["alice"]).await.unwrap();
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    let mut hidden = device(&stack, "hidden", "web/tab", 0, via).await;
    alice.client().join_room(group("lobby"), "").await.unwrap();
    let mallory = device(&stack, "mallory", "web/tab", 0, via).await;
    mallory.client().signal(user("hidden"), Signal::typing()).await;
    mallory.client().signal(group("team"), Signal::typing()).await;
    mallory.client().signal(group("lobby"), Signal::typing()).await;
    // Only the back end may send this step.
    mallory.client().signal(user("alice"), Signal::call("c", CallStep::AnsweredElsewhere, "")).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("nonsense").await;
    let typing = Some(pb::signal::Body::Typing(pb::Typing::default()));
    let wrong = [
        pb::Signal::default(),
        pb::Signal { to: "alice".into(), ..Default::default() },
        pb::Signal { to: "no user".into(), body: typing.clone(), ..Default::default() },
        pb::Signal { to: "alice".into(), channel: "team".into(), body: typing.clone(), ..Default::default() },
        pb::Signal { channel: " alice".into(), body: typing.clone(), ..Default::default() },
        pb::Signal {
            to: "alice".into(),
            device: Some(pb::Device::default()),
            body: typing,
            ..Default::default()
        },
    ];
    for signal in wrong {
        raw.send_frame(Body::Signal(signal)).await;
    }
    // A permitted signal after all of these arrives.
    raw.send_frame(typing_to("alice")).await;
    let heard = signal(&mut alice).await;
    assert_eq!(heard.from, user("nonsense"), "{heard:?}");
    mallory.client().signal(user("alice"), Signal::typing()).await;
    assert_eq!(signal(&mut alice).await.from, user("mallory"));
    assert_eq!(signals(&events_before_marker(&im, &mut hidden, "hidden").await), []);
}

fn typing_to(name: &str) -> Body {
    let body = Some(pb::signal::Body::Typing(pb::Typing::default()));
    Body::Signal(pb::Signal { to: name.into(), body, ..Default::default() })
}

async fn a_flood_is_cut(setup: Setup, via: Via) {
    const SENT: usize = 2000;
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut alice = device(&stack, "alice", "web/tab", 0, via).await;
    let mut flood = Raw::connect(&stack, 0, via).await;
    flood.log_in("mallory").await;
    for _ in 0..SENT {
        flood.send_frame(typing_to("alice")).await;
    }
    // The connection stays open, and so do all others.
    flood.send_frame(Body::Ping(pb::Ping { echo: 7 })).await;
    until_pong(&mut flood).await;
    let bob = device(&stack, "bob", "web/tab", 0, via).await;
    bob.client().signal(user("alice"), Signal::typing()).await;
    let heard = until_from(&mut alice, "bob").await;
    assert!((1..SENT / 2).contains(&heard), "{heard} of {SENT}");
}

async fn until_pong(raw: &mut Raw) {
    while raw.heard().await != im_tests::raw::Heard::Frame(Body::Pong(pb::Pong { echo: 7 })) {}
}

/// Returns the number of signals before the first one from this user.
async fn until_from(client: &mut TestClient, name: &str) -> usize {
    let mut before = 0;
    while signal(client).await.from.as_str() != name {
        before += 1;
    }
    before
}
