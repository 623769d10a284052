//! Compiles and runs the examples of `im_sdk::guide`: this crate alone has both halves of the SDK and a server. Their
//! hidden lines begin with [`run`].

use std::{error::Error, sync::Arc};

use im_sdk::{
    backend::Im,
    client::{Client, ClientConfig, Event},
};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    Setup, Stack, Via, channels,
    stack::{PATIENCE, token},
    wait_until,
};

/// Runs an example in an embedded deployment of its own.
///
/// # Panics
/// Panics if the example fails or takes too long.
pub fn run(example: impl AsyncFnOnce(&Demo) -> Result<(), Box<dyn Error>>) {
    let running = async {
        let stack = Stack::start(Setup::Embedded, 1).await;
        let demo = Demo { im: stack.backend().await, stack };
        timeout(PATIENCE, example(&demo)).await
    };
    let outcome = Runtime::new().expect("a runtime").block_on(running);
    outcome.expect("the example comes to its end").expect("the example works");
}

/// The deployment of an example.
#[derive(Debug)]
pub struct Demo {
    /// A back end that does not serve yet.
    pub im: Im,
    stack: Stack,
}

impl Demo {
    /// Serves with a handler that accepts every publish, and returns the back end.
    pub async fn serve(&self) -> Im {
        let service = channels::serve(&self.im).await;
        // The service lasts until the example ends, and its runtime with it.
        tokio::spawn(async move {
            let _service = service;
            std::future::pending::<()>().await;
        });
        self.im.clone()
    }

    /// Returns the configuration of a device.
    pub fn config(&self, user: &str) -> ClientConfig {
        let endpoint = self.stack.servers[0].endpoint(Via::WebSocket).parse().expect("an endpoint");
        let device = "desktop/laptop-1".parse().expect("a device");
        let mut config = ClientConfig::new(vec![endpoint], device, Arc::new(token(user)));
        config.trust = self.stack.certificate.trust();
        config
    }

    /// Connects a device and waits until it is up to date. A back end has to serve.
    pub async fn device(&self, user: &str) -> Client {
        let client = Client::open(self.config(user)).expect("the client opens");
        client.connect();
        while !client.next_events(1).await.contains(&Event::UpToDate) {}
        client
    }

    /// Connects a device that acknowledges every message.
    pub async fn reading_device(&self, user: &str) {
        let client = self.device(user).await;
        tokio::spawn(async move {
            loop {
                for event in client.next_events(100).await {
                    let Event::Message(message) = event else { continue };
                    message.position.iter().for_each(|position| client.ack(position));
                }
            }
        });
    }

    /// Waits until a device follows a channel.
    pub async fn follows(&self, client: &Client, name: &str) {
        let is_reset =
            |event: &Event| matches!(event, Event::Reset { position, .. } if position.log.as_str() == name);
        while !client.next_events(1).await.iter().any(is_reset) {}
        wait_until("the server has joined the device", PATIENCE, async || {
            self.im.channel(name).online().await.expect("the route store answers") > 0
        })
        .await;
    }
}

#[cfg(doctest)]
macro_rules! pages {
    ($($page:ident = $text:literal)+) => {
        $(#[doc = include_str!(concat!("../../im-sdk/src/guide/", $text, ".md"))] pub struct $page;)+
    };
}

#[cfg(doctest)]
pages! {
    Start = "start"
    Sending = "sending"
    Handlers = "handlers"
    Channels = "channels"
    Rooms = "rooms"
    Kinds = "kinds"
    Changes = "changes"
    Conversations = "conversations"
    Signals = "signals"
    History = "history"
    Devices = "devices"
    Operating = "operating"
}
