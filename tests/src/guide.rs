//! The pages of `im_sdk::guide` are compiled and run here, since this crate alone has both halves of the SDK and a server. The
//! hidden lines of their examples begin with [`run`].

use std::{error::Error, sync::Arc};

use im_sdk::{
    backend::Im,
    client::{Client, ClientConfig, Event},
};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    Setup, Stack, Via, group,
    stack::{PATIENCE, token},
    wait_until,
};

/// Runs an example in a deployment of its own, which is all in this process.
///
/// # Panics
/// When it fails, or takes too long.
pub fn run(example: impl AsyncFnOnce(&Demo) -> Result<(), Box<dyn Error>>) {
    let running = async {
        let stack = Stack::start(Setup::Embedded, 1).await;
        let demo = Demo { im: stack.backend().await, stack };
        timeout(PATIENCE, example(&demo)).await
    };
    let outcome = Runtime::new().expect("a runtime").block_on(running);
    outcome.expect("the example comes to its end").expect("the example works");
}

/// What an example stands on.
#[derive(Debug)]
pub struct Demo {
    /// A back end that does not serve yet.
    pub im: Im,
    stack: Stack,
}

impl Demo {
    /// The back end, which accepts what devices publish.
    pub async fn serve(&self) -> Im {
        let service = group::serve(&self.im).await;
        // Until the example ends, and its runtime with it.
        tokio::spawn(async move {
            let _service = service;
            std::future::pending::<()>().await;
        });
        self.im.clone()
    }

    /// How a device of a user connects.
    pub fn config(&self, user: &str) -> ClientConfig {
        let endpoint = self.stack.servers[0].endpoint(Via::WebSocket).parse().expect("an endpoint");
        let device = "desktop/laptop-1".parse().expect("a device");
        let mut config = ClientConfig::new(vec![endpoint], device, Arc::new(token(user)));
        config.trust = self.stack.certificate.trust();
        config
    }

    /// A device that is up to date. A back end has to serve.
    pub async fn device(&self, user: &str) -> Client {
        let client = Client::open(self.config(user)).expect("the client opens");
        client.connect();
        while !client.next_events(1).await.contains(&Event::UpToDate) {}
        client
    }

    /// One whose application deals with whatever comes.
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
            self.im.channel(name).online().await.expect("it works") > 0
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
