//! Requests to rooms that the device is not in, and for the presence of too many users.

use im_proto::{limits::MAX_WATCHED_USERS, pb, pb::request::Question};
use im_sdk::{
    backend::Message,
    client::{Event, PublishError, RefusalKind, RequestError},
    content::Content,
};
use im_tests::{
    Setup, Stack, TestClient, Via,
    channels::{events_before_marker, group},
    everywhere,
    permissive_handler::{PermissiveHandler, device, presence, room_left, signal},
};

use super::{ask, id, invalid, raw};

everywhere!(rooms_that_one_is_not_in, watching_too_many);

async fn rooms_that_one_is_not_in(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let lobby = group("lobby");
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 1, via).await,
    ];
    let mut mallory = [
        device(&stack, "mallory", "ios/phone", 1, via).await,
        device(&stack, "mallory", "web/tab", 0, via).await,
    ];
    for client in alice.iter().chain(&mallory) {
        client.client().join_room(lobby.clone(), "").await.unwrap();
    }
    let says = async |client: &TestClient, room: &str| {
        let refused = client.client().send(group(room), Content::text("spam")).outcome().await.unwrap_err();
        let PublishError::Refused { kind, retry_after, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((kind, retry_after), (RefusalKind::Rule, None), "{room}");
        assert!(client.client().signal(group(room), im_sdk::Signal::typing()).await, "which nobody hears");
    };
    // Rooms that it never joined, cannot join, or was removed from.
    let closed = mallory[0].client().join_room(group("closed-1"), "").await.unwrap_err();
    assert!(matches!(closed, RequestError::Refused { kind: RefusalKind::Rule, .. }), "{closed:?}");
    mallory[0].client().leave_room(group("closed-1")).await.unwrap();
    im.room("lobby").kick("mallory", "out").await.unwrap();
    for client in &mut mallory {
        room_left(client, &lobby).await;
        for room in ["attic", "closed-1", "lobby"] {
            says(client, room).await;
        }
    }
    im.room("lobby").send(Message::new().text("now")).await.unwrap();
    for client in &mut alice {
        assert_eq!(client.text().await, "now", "nothing came before it");
    }
    // A closed room is empty, and devices send nothing there before they join again.
    im.room("lobby").close("").await.unwrap();
    for client in &mut alice {
        room_left(client, &lobby).await;
        says(client, "lobby").await;
    }
    alice[0].client().join_room(lobby.clone(), "").await.unwrap();
    alice[0].client().send(lobby.clone(), Content::text("again")).outcome().await.unwrap();
    assert_eq!(alice[0].text().await, "again");
    for (client, user) in [(&mut alice[1], "alice"), (&mut mallory[0], "mallory")] {
        let before = events_before_marker(&im, client, user).await;
        let heard = before.iter().find(|event| matches!(event, Event::Message(_) | Event::Signal(_)));
        assert_eq!(heard, None);
    }
    // By now the back end has received all of these signals; the next one arrives.
    mallory[1].client().signal(id("alice"), im_sdk::Signal::custom("last", "")).await;
    let heard = signal(&mut alice[0]).await;
    assert_eq!((heard.channel, heard.signal), (None, im_sdk::Signal::custom("last", "")));
}

async fn watching_too_many(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = PermissiveHandler::default().serve(&im).await;
    let mut alice = [
        device(&stack, "alice", "ios/phone", 0, via).await,
        device(&stack, "alice", "web/tab", 0, via).await,
    ];
    let crowd = |count: usize| (0..count).map(|number| id(&format!("user-{number}")));
    for client in &alice {
        client.client().watch([id("bob")]).await.unwrap();
        // This many do not fit into a frame; the server would close the connection for good.
        let refused = client.client().watch(crowd(10_000)).await.unwrap_err();
        assert!(matches!(refused, RequestError::TooLarge { limit: 65536, .. }), "{refused:?}");
        let refused = client.client().watch(crowd(MAX_WATCHED_USERS + 1)).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { kind: RefusalKind::Invalid, .. }), "{refused:?}");
        let large = client.client().join_room(group("lobby"), vec![0; 70_000]).await.unwrap_err();
        assert_eq!(large.code(), "too_large");
    }
    let mut mallory = raw(&stack, "mallory", via).await;
    let users: Vec<String> = (0..10_000).map(|number| format!("{number:x}")).collect();
    let refused = ask(&mut mallory, 1, Question::Watch(pb::Watch { users })).await;
    assert!(invalid(&refused), "{refused:?}");
    // The earlier watch continues.
    let _bob = device(&stack, "bob", "web/tab", 0, via).await;
    for client in &mut alice {
        presence(client, "bob", im_sdk::UserPresence::is_online).await;
    }
}
