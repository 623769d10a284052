//! The route audit restores lost routes and closes displaced connections.

use std::time::Duration;

use im_proto::close::CloseCode;
use im_sdk::{
    backend::{Incoming, Message, user},
    cluster::{Claim, LoginPolicy, Route},
    id::{ConnectionId, Device, ServerId, UserId},
};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::Raw,
    stack::{PATIENCE, ServerOptions},
    wait_until,
};

everywhere!(
    a_lost_route_is_restored,
    who_was_displaced_goes_though_the_kick_was_lost,
    a_connection_that_its_device_left_goes,
    a_route_that_leads_nowhere_displaces_nobody,
);

async fn start(setup: Setup, servers: usize) -> Stack {
    let route_audit = Duration::from_millis(500);
    Stack::start_with(setup, servers, ServerOptions { route_audit, ..ServerOptions::default() }).await
}

fn bob() -> UserId {
    "bob".parse().unwrap()
}

async fn routes(stack: &Stack) -> Vec<(Device, Route)> {
    stack.cluster().routes().locate(&[bob()]).await.unwrap().remove(0)
}

/// Registers a route like a login whose kick gets lost.
async fn take(stack: &Stack, device: &str, server: ServerId, connection: u64) {
    let route = Route { server, connection: ConnectionId(connection) };
    let device = device.parse().unwrap();
    let claim = Claim { user: bob(), device, route, policy: LoginPolicy::OnePerTerminal };
    stack.cluster().routes().claim(&claim).await.unwrap();
}

async fn a_lost_route_is_restored(setup: Setup, via: Via) {
    let stack = start(setup, 1).await;
    let im = stack.backend().await;
    let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) });
    let _service = service.await.unwrap();
    let mut client = stack.connect("bob", "web/tab", 0, via).await;
    client.up_to_date().await;
    let before = routes(&stack).await;
    // A Redis that failed over may have lost the route.
    let [(device, route)] = before.as_slice() else { panic!("{before:?}") };
    assert!(stack.cluster().routes().release(&bob(), device, route).await.unwrap());
    let lost = im.send(Message::to(user("bob")).text("lost")).await.unwrap();
    assert_eq!(lost.pushed, []);
    wait_until("the route is there again", PATIENCE, async || routes(&stack).await == before).await;
    assert_eq!(client.text().await, "lost", "it asks for what was not pushed");
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.pushed.len(), 1);
    assert_eq!(client.text().await, "hi");
}

async fn who_was_displaced_goes_though_the_kick_was_lost(setup: Setup, via: Via) {
    let stack = start(setup, 2).await;
    let mut old = Raw::connect(&stack, 0, via).await;
    old.log_in("bob").await;
    // The other browser is on the other server.
    take(&stack, "web/other", stack.server_id(&stack.servers[1]).await, 1).await;
    assert_eq!(old.closed().await, CloseCode::Replaced);
    assert_eq!(routes(&stack).await.len(), 1);
}

async fn a_connection_that_its_device_left_goes(setup: Setup, via: Via) {
    let stack = start(setup, 2).await;
    let mut old = Raw::connect(&stack, 0, via).await;
    old.log_in("bob").await;
    take(&stack, "web/raw", stack.server_id(&stack.servers[1]).await, 1).await;
    // The close code lets the device reconnect, in case it is still there.
    assert_eq!(old.closed().await, CloseCode::Internal);
}

async fn a_route_that_leads_nowhere_displaces_nobody(setup: Setup, via: Via) {
    let stack = start(setup, 1).await;
    let mut raw = Raw::connect(&stack, 0, via).await;
    let welcome = raw.log_in("bob").await;
    let before = routes(&stack).await;
    // Routes without a connection: of a claim that counted as failed, and of a dead server.
    let here = stack.server_id(&stack.servers[0]).await;
    for server in [here, "dead-1".parse().unwrap()] {
        take(&stack, "web/other", server, welcome.connection.wrapping_add(1000)).await;
        assert_ne!(routes(&stack).await, before);
        wait_until("the route is there again", PATIENCE, async || routes(&stack).await == before).await;
    }
}
