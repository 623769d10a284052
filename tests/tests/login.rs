//! Who may be connected at the same time, also on different servers.
#![allow(clippy::unwrap_used)]

use im_sdk::{
    backend::{Message, user},
    client::CloseCode,
    cluster::LoginPolicy,
};
use im_tests::{Setup, Stack, Via, everywhere, stack::ServerOptions};

everywhere!(
    one_device_per_terminal,
    one_device_in_all,
    any_number_of_devices,
    a_device_displaces_its_own_connection,
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
    assert_eq!(first.stopped().await.0, Some(CloseCode::Replaced));
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
    desktop.client().close().await;
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
