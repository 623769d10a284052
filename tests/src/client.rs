//! A client whose events a test waits for.

use im_sdk::{
    client::{Client, CloseCode, Event, PublishError, Published, ReceivedMessage},
    content::Content,
    id::UserId,
};
use tokio::time::timeout;

use crate::stack::PATIENCE;

/// A client, with the events that it has reported and the test has not consumed.
#[derive(Debug)]
pub struct TestClient {
    client: Client,
    /// Events that were reported and not consumed yet.
    waiting: Vec<Event>,
}

impl TestClient {
    /// Wraps an open client.
    pub fn new(client: Client) -> Self {
        Self { client, waiting: Vec::new() }
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the client, and drops the events that were not consumed.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// Waits for the first event for which `wanted` returns a value, and drops the events before it.
    ///
    /// # Panics
    /// Panics if none arrives within [`PATIENCE`].
    pub async fn next<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let looking = async {
            loop {
                while !self.waiting.is_empty() {
                    if let Some(found) = wanted(&self.waiting.remove(0)) {
                        return found;
                    }
                }
                self.waiting = self.client.next_events(100).await;
                assert!(!self.waiting.is_empty(), "the client closed while waiting for: {what}");
            }
        };
        timeout(PATIENCE, looking)
            .await
            .unwrap_or_else(|_| panic!("timed out after {PATIENCE:?} waiting for: {what}"))
    }

    /// Waits until it is connected, and returns the endpoint.
    pub async fn connected(&mut self) -> String {
        self.next("connected", |event| match event {
            Event::Connected { endpoint, .. } => Some(endpoint.to_string().trim_end_matches('/').to_owned()),
            Event::Stopped { code, reason, .. } => panic!("stopped rather than connected: {code:?} {reason}"),
            _ => None,
        })
        .await
    }

    /// Waits until it has received everything that was logged when it connected. Until then, the cursors of a new
    /// device are not final.
    pub async fn up_to_date(&mut self) {
        self.next("up to date", |event| matches!(event, Event::UpToDate).then_some(())).await;
    }

    /// Waits for the next message.
    pub async fn message(&mut self) -> ReceivedMessage {
        self.next("a message", |event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the next message and returns its text.
    pub async fn text(&mut self) -> String {
        self.message().await.content.as_text().expect("a text").to_owned()
    }

    /// Waits until the client stops reconnecting, and returns why.
    pub async fn stopped(&mut self) -> (Option<CloseCode>, String) {
        self.next("stopped", |event| match event {
            Event::Stopped { code, reason, .. } => Some((*code, reason.clone())),
            _ => None,
        })
        .await
    }

    /// Publishes a text.
    ///
    /// # Errors
    /// Returns the client's error.
    pub async fn publish(&self, to: &str, text: &str) -> Result<Published, PublishError> {
        self.client.send(UserId::parse(to).expect("a user"), Content::text(text)).outcome().await
    }
}
