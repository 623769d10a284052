//! Where devices are sent: the list of servers that back ends hand out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::Raw,
    stack::{PATIENCE, ServerOptions},
    wait_until,
};

everywhere!(a_draining_server_is_left_out_while_its_lease_runs);

async fn a_draining_server_is_left_out_while_its_lease_runs(setup: Setup, via: Via) {
    // Longer than all of this takes.
    let options = ServerOptions { drain_grace: Duration::from_secs(60), ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    wait_until("both are listed", PATIENCE, async || im.endpoints().len() == 2).await;
    // One that does not leave when it is asked to.
    let mut stubborn = Raw::connect(&stack, 0, via).await;
    stubborn.log_in("stubborn").await;
    let leaving = stack.servers.remove(0);
    let (id, stays) = (stack.server_id(&leaving).await, stack.server_id(&stack.servers[0]).await);
    let looking = async {
        wait_until("it is left out", PATIENCE, async || im.endpoints().len() == 1).await;
        assert_eq!(im.endpoints()[0].server, stays);
        let live = stack.cluster().routes().live_servers().await.unwrap();
        assert!(live.iter().any(|server| server.id == id && server.info.draining), "its lease runs");
        stack.wait_online(&im, "stubborn", 1).await;
    };
    tokio::select! {
        () = leaving.shutdown() => panic!("it waits for who is there"),
        () = looking => {}
    }
}
