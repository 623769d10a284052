//! The list of servers that back ends hand out, and devices that outlive every server they knew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use im_sdk::{
    Endpoint,
    backend::Im,
    client::{Client, NoEndpoints, TokenError, TokenProvider, TokenRequest},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::Raw,
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};

everywhere!(
    a_draining_server_is_left_out_while_its_lease_runs,
    a_provider_tells_of_new_servers,
    an_application_tells_of_new_servers,
);

/// Returns options with a short heartbeat: over QUIC, a killed process is noticed by silence alone.
fn options() -> ServerOptions {
    ServerOptions { heartbeat: Duration::from_secs(1), ..ServerOptions::default() }
}

/// Provides the token and the endpoints that an application's back end gives to devices.
struct Account {
    im: Im,
    via: Via,
    asked: Arc<AtomicUsize>,
}

impl TokenProvider for Account {
    fn token(&self, _: TokenRequest) -> Result<String, TokenError> {
        Ok(token("alice"))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let addresses = self.im.endpoints().into_iter().flat_map(|server| server.addresses);
        let wanted = addresses.filter(|address| address.starts_with("quic") == (self.via == Via::Quic));
        wanted.map(|address| address.parse().unwrap()).collect()
    }
}

fn open(stack: &Stack, via: Via, tokens: Arc<dyn TokenProvider>) -> TestClient {
    let endpoints: Vec<String> = stack.servers.iter().map(|server| server.endpoint(via)).collect();
    let mut config = stack.client_config("web/tab", &endpoints, tokens);
    // A closed UDP port is not reported.
    config.connect_timeout = Duration::from_secs(1);
    let client = Client::open(config).unwrap();
    client.connect();
    TestClient::new(client)
}

/// Adds a server, kills one of those that devices know and drains the other. Returns the endpoint of the new one.
async fn replace_all(stack: &mut Stack, im: &Im, via: Via) -> String {
    stack.add_server(&options()).await;
    let new = stack.server_id(&stack.servers[2]).await;
    wait_until("the new server is listed", PATIENCE, async || {
        im.endpoints().iter().any(|server| server.server == new)
    })
    .await;
    stack.servers.remove(0).kill();
    stack.servers.remove(0).shutdown().await;
    stack.servers[0].endpoint(via)
}

async fn a_provider_tells_of_new_servers(setup: Setup, via: Via) {
    let mut stack = Stack::start_with(setup, 2, options()).await;
    let im = stack.backend().await;
    let asked = Arc::<AtomicUsize>::default();
    let mut alice = open(&stack, via, Arc::new(Account { im: im.clone(), via, asked: Arc::clone(&asked) }));
    alice.connected().await;
    assert_eq!(asked.load(Ordering::Relaxed), 0, "it knows some");
    let new = replace_all(&mut stack, &im, via).await;
    while alice.connected().await != new {}
    let times = asked.load(Ordering::Relaxed);
    assert!((1..20).contains(&times), "once for each round of attempts, not {times} times");
}

async fn an_application_tells_of_new_servers(setup: Setup, via: Via) {
    let mut stack = Stack::start_with(setup, 2, options()).await;
    let im = stack.backend().await;
    let mut alice = open(&stack, via, Arc::new(token("alice")));
    let first = alice.connected().await;
    assert_eq!(alice.client().set_endpoints(vec![]), Err(NoEndpoints));
    let new = replace_all(&mut stack, &im, via).await;
    assert_ne!(first, new);
    alice.client().set_endpoints(vec![new.parse().unwrap()]).unwrap();
    while alice.connected().await != new {}
}

async fn a_draining_server_is_left_out_while_its_lease_runs(setup: Setup, via: Via) {
    // Longer than this test takes.
    let options = ServerOptions { drain_grace: Duration::from_secs(60), ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    wait_until("both are listed", PATIENCE, async || im.endpoints().len() == 2).await;
    // A device that does not leave when it is asked to.
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
