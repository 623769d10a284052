//! Login policies: simultaneous connections of one user, also on different servers.

use std::sync::Arc;

use im_sdk::{
    backend::{Message, user},
    client::{Client, CloseCode, TokenRequest, device_store::MemoryStore},
    cluster::LoginPolicy,
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    stack::{ServerOptions, token},
};
use tokio::sync::mpsc;

everywhere!(
    one_device_per_terminal,
    one_device_in_all,
    any_number_of_devices,
    a_device_displaces_its_own_connection,
    who_was_displaced_does_not_come_back_by_itself,
    a_token_can_be_replaced,
);

async fn start(setup: Setup, login_policy: LoginPolicy) -> Stack {
    Stack::start_with(setup, 2, ServerOptions { login_policy, ..ServerOptions::default() }).await
}

async fn one_device_per_terminal(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::OnePerTerminal).await;
    let im = stack.backend().await;
    let mut first = stack.connect("bob", "ios/first", 0, via).await;
    let mut browser = stack.connect("bob", "web/tab", 0, via).await;
    let mut second = stack.connect("bob", "ios/second", 1, via).await;
    let (code, reason) = first.stopped().await;
    assert_eq!(code, Some(CloseCode::Replaced));
    assert!(reason.contains("ios/second") && reason.contains("login_policy"), "{reason}");
    stack.wait_online(&im, "bob", 2).await;
    im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(browser.text().await, "hi");
    assert_eq!(second.text().await, "hi");
}

async fn one_device_in_all(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::Single).await;
    let im = stack.backend().await;
    let mut phone = stack.connect("bob", "ios/phone", 0, via).await;
    let mut browser = stack.connect("bob", "web/tab", 1, via).await;
    assert_eq!(phone.stopped().await.0, Some(CloseCode::Replaced));
    let desktop = stack.connect("bob", "desktop/pc", 1, via).await;
    assert_eq!(browser.stopped().await.0, Some(CloseCode::Replaced));
    stack.wait_online(&im, "bob", 1).await;
    desktop.client().shutdown().await;
    stack.wait_online(&im, "bob", 0).await;
}

async fn any_number_of_devices(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::Unlimited).await;
    let im = stack.backend().await;
    let mut clients = Vec::new();
    for number in 0..5 {
        clients.push(stack.connect("bob", &format!("ios/{number}"), number % 2, via).await);
    }
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.pushed.len(), 5);
    for client in &mut clients {
        assert_eq!(client.text().await, "hi");
    }
}

async fn a_device_displaces_its_own_connection(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::Unlimited).await;
    let im = stack.backend().await;
    let mut old = stack.connect("bob", "ios/phone", 0, via).await;
    let mut new = stack.connect("bob", "ios/phone", 1, via).await;
    assert_eq!(old.stopped().await.0, Some(CloseCode::Replaced));
    stack.wait_online(&im, "bob", 1).await;
    im.send(Message::to(user("bob")).text("once")).await.unwrap();
    assert_eq!(new.text().await, "once");
}

async fn who_was_displaced_does_not_come_back_by_itself(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::OnePerTerminal).await;
    let im = stack.backend().await;
    let (store, endpoints) = (Arc::new(MemoryStore::new()), [stack.servers[0].endpoint(via)]);
    let (asked, mut requests) = mpsc::unbounded_channel();
    let open = |new_login| {
        let asked = asked.clone();
        let tokens = move |why: TokenRequest| {
            asked.send(why).unwrap();
            Ok(token("bob"))
        };
        let mut config = stack.client_config("ios/old", &endpoints, Arc::new(tokens));
        (config.store, config.new_login) = (store.clone(), new_login);
        let client = Client::open(config).unwrap();
        client.connect();
        TestClient::new(client)
    };
    let mut old = open(false);
    old.connected().await;
    assert_eq!(requests.recv().await, Some(TokenRequest::First));
    // The old device's application is not running when the user logs in on the new one.
    old.client().shutdown().await;
    stack.wait_online(&im, "bob", 0).await;
    let mut new = stack.connect("bob", "ios/new", 1, via).await;
    let mut old = open(false);
    assert_eq!(requests.recv().await, Some(TokenRequest::Reopened));
    assert_eq!(old.stopped().await.0, Some(CloseCode::Replaced));
    im.send(Message::to(user("bob")).text("still here")).await.unwrap();
    assert_eq!(new.text().await, "still here");
    // The user takes the place back.
    old.client().connect();
    old.connected().await;
    assert_eq!(requests.recv().await, Some(TokenRequest::First));
    assert_eq!(new.stopped().await.0, Some(CloseCode::Replaced));
    old.client().shutdown().await;
    stack.wait_online(&im, "bob", 0).await;
    // Without another device, nothing is in the way. A device that logs in takes the place.
    open(false).connected().await;
    stack.wait_online(&im, "bob", 0).await;
    let mut new = stack.connect("bob", "ios/new", 1, via).await;
    open(true).connected().await;
    assert_eq!(new.stopped().await.0, Some(CloseCode::Replaced));
}

async fn a_token_can_be_replaced(setup: Setup, via: Via) {
    let stack = start(setup, LoginPolicy::OnePerTerminal).await;
    let mut bob = {
        let config =
            stack.client_config("ios/phone", &[stack.servers[0].endpoint(via)], Arc::new("no token"));
        let client = Client::open(config).unwrap();
        client.connect();
        TestClient::new(client)
    };
    bob.stopped().await;
    bob.client().set_token(token("bob"));
    bob.client().connect();
    bob.connected().await;
}
