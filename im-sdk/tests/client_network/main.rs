//! The client against servers on the loopback interface.
#![cfg(feature = "client")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "all of this is a test")]

mod connecting;
mod failing;
mod handles;
mod lifecycle;
mod logs;
mod messages;
mod server;
#[cfg(feature = "sqlite")]
mod stores;

use std::sync::{Arc, Mutex};

use im_sdk::client::{
    Client, ClientConfig, Event, TokenError, TokenRequest, Trust,
    device_store::{DeviceStore, MemoryStore},
};
use server::PATIENCE;

/// A client that has been told to connect, and why it asked for tokens.
struct Device {
    client: Client,
    asked: Arc<Mutex<Vec<TokenRequest>>>,
}

impl Device {
    fn connecting(urls: &[String], trust: Trust) -> Self {
        Self::with_store(urls, trust, Arc::new(MemoryStore::new()))
    }

    fn with_store(urls: &[String], trust: Trust, store: Arc<dyn DeviceStore>) -> Self {
        let endpoints = urls.iter().map(|url| url.parse().unwrap()).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let tokens = move |why| {
            log.lock().unwrap().push(why);
            Ok::<_, TokenError>("token".to_owned())
        };
        let mut config = ClientConfig::new(endpoints, "desktop/test".parse().unwrap(), Arc::new(tokens));
        config.trust = trust;
        config.store = store;
        let client = Client::open(config).unwrap();
        client.connect();
        Self { client, asked }
    }

    /// The next event.
    async fn event(&self) -> Event {
        let events =
            tokio::time::timeout(PATIENCE, self.client.next_events(1)).await.expect("an event in time");
        events.into_iter().next().expect("an event, not the end")
    }

    /// The first event that `choose` makes something of; those before are dropped.
    async fn until<T>(&self, choose: impl Fn(Event) -> Option<T>) -> T {
        loop {
            if let Some(chosen) = choose(self.event().await) {
                return chosen;
            }
        }
    }

    async fn connected(&self) {
        self.until(|event| matches!(event, Event::Connected { .. }).then_some(())).await;
    }
}
