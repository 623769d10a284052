//! Servers at their connection limit.

use im_sdk::client::{CloseCode, Event};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};

everywhere!(who_finds_no_place_is_told_so_and_goes_elsewhere);

async fn who_finds_no_place_is_told_so_and_goes_elsewhere(setup: Setup, via: Via) {
    let options = ServerOptions { max_connections: 2, ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 1, options).await;
    let im = stack.backend().await;
    let mut inside = Vec::new();
    for user in ["first", "second"] {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in(user).await;
        inside.push(raw);
    }
    let mut outside = Raw::connect(&stack, 0, via).await;
    outside.hello(token("third")).await;
    assert_eq!(outside.heard().await, Heard::Closed(CloseCode::Overloaded));
    stack.wait_online(&im, "third", 0).await;

    // The code means that this server is full. A client tries the next server.
    stack.add_server(&ServerOptions::default()).await;
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let mut client = stack.open("third", "web/tab", &endpoints);
    let refused = |event: &Event| match event {
        Event::Disconnected { code, retry_in, .. } => Some((*code, retry_in.is_some())),
        _ => None,
    };
    assert_eq!(client.next("refused", refused).await, (Some(CloseCode::Overloaded), true));
    assert_eq!(client.connected().await, endpoints[1]);

    drop(inside.pop());
    wait_until("a place is free", PATIENCE, async || {
        let mut next = Raw::connect(&stack, 0, via).await;
        next.hello(token("next")).await;
        matches!(next.heard().await, Heard::Frame(_))
    })
    .await;
}
